//! The binary and a real API server: rows, pages, permissions, scope, and a server that crashes.

mod fixtures;
mod harness;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use fixtures::api::Api;
use fixtures::distributions as distro;
use fixtures::images::{Built, Format, ImageSpec, Platform};
use fixtures::indexes::ImageIndex;
use fixtures::layers::Layer;
use fixtures::nodes::Node;
use fixtures::pods::{Container, Phase, Pod, SECRET_VALUE, Status, Workload};
use harness::control_plane::{Access, ControlPlane};
use harness::proxy::{Fault, Proxy};
use harness::registry::Registry;
use harness::{Result, Row, crane, files_below, get, program, rows, stderr};

/// What a row must say, by column.
type Expected = BTreeMap<&'static str, String>;

/// Nodes and their architectures.
const NODES: [(&str, &str); 3] = [
    ("node-a", "amd64"),
    ("node-b", "amd64"),
    ("node-c", "arm64"),
];
const FLEET_NAMESPACES: usize = 20;
const FLEET_PODS: usize = 500;

/// An image in the registry, and what it is on each architecture.
struct Image {
    name: &'static str,
    built: Built,
    /// Architecture, distribution and its version, for amd64 and arm64.
    truth: [(&'static str, &'static str, &'static str); 2],
}

fn spec(platform: Platform, layer: Layer) -> ImageSpec {
    ImageSpec::new(platform)
        .layer(layer)
        .layer(distro::application("app", "1"))
}

fn index(format: Format, attested: bool, layers: [Layer; 2]) -> Built {
    let platforms = ["amd64", "arm64"].map(Platform::linux);
    let images = platforms.into_iter().zip(layers);
    ImageIndex {
        format,
        images: images
            .map(|(platform, layer)| spec(platform, layer).format(format))
            .collect(),
        attested,
    }
    .build()
}

fn images() -> Vec<Image> {
    let amd64 = |layer| spec(Platform::linux("amd64"), layer).build();
    let same = |architecture, id, version| [(architecture, id, version); 2];
    vec![
        // A row that took the wrong child would show another distribution.
        Image {
            name: "web/frontend:3.1.0",
            built: index(
                Format::Oci,
                true,
                [distro::debian_12(), distro::alpine("3.24.1")],
            ),
            truth: [("amd64", "debian", "12"), ("arm64", "alpine", "3.24.1")],
        },
        Image {
            name: "system/proxy:1.36.3",
            built: index(
                Format::Docker,
                false,
                [distro::ubuntu_22_04(), distro::ubuntu_24_04()],
            ),
            truth: [("amd64", "ubuntu", "22.04"), ("arm64", "ubuntu", "24.04")],
        },
        Image {
            name: "system/exporter:1.10.2",
            built: index(
                Format::Oci,
                false,
                ["amd64", "arm64"]
                    .map(|name| Layer::new("COPY exporter /bin/").file("bin/exporter", name)),
            ),
            truth: [("amd64", "", ""), ("arm64", "", "")],
        },
        // Single images are what they are, wherever they run.
        Image {
            name: "shop/cart:1.14.2",
            built: amd64(distro::alpine("3.19.9")),
            truth: same("amd64", "alpine", "3.19.9"),
        },
        Image {
            name: "shop/api:7.2.0",
            built: amd64(distro::ubi_9()),
            truth: same("amd64", "rhel", "9.8"),
        },
        Image {
            name: "shop/static:1",
            built: amd64(distro::distroless_debian_12()),
            truth: same("amd64", "debian", "12"),
        },
        Image {
            name: "edge/sensor:4",
            built: spec(Platform::linux("arm64"), distro::amazon_linux_2023()).build(),
            truth: same("arm64", "amzn", "2023"),
        },
    ]
}

/// A cluster of pods of every kind of workload, whose every row is known.
struct Fleet {
    plane: ControlPlane,
    api: Api,
    registry: Registry,
    images: Vec<Image>,
    pods: Vec<Pod>,
}

/// The tests that only read share one; the last of them ends it.
fn fleet() -> Result<Arc<Fleet>> {
    static SHARED: Mutex<Weak<Fleet>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(fleet) = shared.upgrade() {
        return Ok(fleet);
    }
    let fleet = Arc::new(Fleet::start()?);
    *shared = Arc::downgrade(&fleet);
    Ok(fleet)
}

impl Fleet {
    fn start() -> Result<Self> {
        let registry = Registry::start()?;
        let images = images();
        for image in &images {
            let reference = format!("{}/{}", registry.address, image.name);
            fixtures::registry::push(&image.built, &crane()?, &reference)?;
        }
        let plane = ControlPlane::start()?;
        let api = Api::connect(&plane.kubeconfig())?;
        api.add_nodes(&nodes())?;
        let mut fleet = Self {
            plane,
            api,
            registry,
            images,
            pods: Vec::new(),
        };
        let names: Vec<String> = (0..FLEET_NAMESPACES).map(team).collect();
        fleet.api.add_namespaces(names.iter().map(String::as_str))?;
        fleet.pods = (0..FLEET_PODS).map(|number| fleet.pod(number)).collect();
        fleet.api.add_pods(fleet.pods.iter().cloned())?;
        Ok(fleet)
    }

    /// A pod whose every property follows from its number, each with a period of its own.
    fn pod(&self, number: usize) -> Pod {
        let ordinal = number / FLEET_NAMESPACES;
        let name = format!("service-{ordinal:02}");
        let workload = match ordinal % 9 {
            0 => Workload::stateful_set(&name),
            1 => Workload::daemon_set(&name),
            2 => Workload::job(&name),
            3 => Workload::cron_job(&name, minutes_of_now() - 90),
            4 => Workload::bare(&name),
            5 => Workload::static_pod(&name),
            6 => Workload::other("example.com/v1", "Database", &name),
            7 => Workload::Rollout { name, revision: 2 },
            _ => Workload::deployment(&name, 1),
        };
        let (node, architecture) = NODES[number % NODES.len()];
        let app = if number % 9 < 4 { "x" } else { "y" };
        let mut pod = Pod::new(&team(number % FLEET_NAMESPACES), workload, ordinal)
            .label("app", app)
            .label("team", &format!("owners-{}", number % 7));
        let image = &self.images[number % self.images.len()];
        let other = &self.images[(number + 3) % self.images.len()];
        let container = Container::new("app", &self.reference(image));
        let is_static = matches!(pod.workload, Workload::Static { .. });
        match number % 13 {
            // Not bound to a node yet.
            5 if !is_static => {
                pod = pod.phase(Phase::Pending).container(container);
                if number % 2 == 0 {
                    pod = pod.node_selector("kubernetes.io/arch", "arm64");
                }
                return pod;
            }
            6 => {
                return pod
                    .node(node)
                    .phase(Phase::Pending)
                    .container(container.waiting("ImagePullBackOff"));
            }
            7 => pod = pod.phase(Phase::Succeeded),
            8 => {
                return pod.node(node).phase(Phase::Failed).container(container);
            }
            _ => {}
        }
        let digest = image.built.digest().to_owned();
        let child = image.built.platform("linux", architecture);
        pod = pod.node(node).container(match number % 11 {
            1 => container.running(child.digest()),
            2 => container.running_on_docker(&digest),
            3 => container.image_id(child.config_digest()),
            _ => container.running(&digest),
        });
        let other =
            |name| Container::new(name, &self.reference(other)).running(other.built.digest());
        if number % 4 == 1 {
            pod = pod.init_container(other("prepare"));
        }
        if number % 17 == 3 && !is_static {
            pod = pod.ephemeral_container(other("debugger-7xk2p"));
        }
        pod
    }

    fn reference(&self, image: &Image) -> String {
        format!("{}/{}", self.registry.address, image.name)
    }

    fn image(&self, reference: &str) -> Result<&Image> {
        let image = self
            .images
            .iter()
            .find(|image| self.reference(image) == reference);
        Ok(image.ok_or_else(|| format!("no image {reference}"))?)
    }

    /// The rows of some of its pods, in the order of a report.
    fn expected(
        &self,
        nodes_are_known: bool,
        wanted: impl Fn(&Pod) -> bool,
    ) -> Result<Vec<Expected>> {
        let mut expected = Vec::new();
        for pod in self.pods.iter().filter(|pod| wanted(pod)) {
            for (kind, containers) in [
                ("container", &pod.containers),
                ("init", &pod.init_containers),
                ("ephemeral", &pod.ephemeral_containers),
            ] {
                for container in containers {
                    expected.push(self.row(pod, kind, container, nodes_are_known)?);
                }
            }
        }
        let key = |row: &Expected| {
            [
                "namespace",
                "workload_kind",
                "workload_name",
                "container_type",
                "container",
                "pod",
            ]
            .map(|column| row[column].clone())
        };
        expected.sort_by_key(key);
        Ok(expected)
    }

    fn row(
        &self,
        pod: &Pod,
        container_type: &str,
        container: &Container,
        nodes_are_known: bool,
    ) -> Result<Expected> {
        let node = NODES
            .iter()
            .find(|(name, _)| Some(*name) == pod.node.as_deref())
            .filter(|_| nodes_are_known);
        let selected = pod.node_selector.get("kubernetes.io/arch");
        let (architecture, source) = match (node, selected) {
            (Some((_, architecture)), _) => (*architecture, "node"),
            (None, Some(architecture)) => (architecture.as_str(), "selector"),
            (None, None) => ("amd64", "default"),
        };
        let image = self.image(&container.image)?;
        let child = image.built.platform("linux", architecture);
        let (image_id, digest, digest_source) = match &container.status {
            Status::Started(id) if id == child.config_digest() => {
                (id.as_str(), image.built.digest(), "image_id")
            }
            Status::Started(id) => {
                let digest = id.rsplit_once('@').map(|(_, digest)| digest);
                (id.as_str(), digest.unwrap_or_default(), "status")
            }
            Status::Absent | Status::Waiting(_) => ("", image.built.digest(), "tag"),
        };
        let over = matches!(pod.phase, Phase::Succeeded | Phase::Failed);
        let (status, error_kind) = if over && image_id.is_empty() {
            ("skipped", "not_running")
        } else if digest.is_empty() {
            // The bare id of another platform's image than the one that the tag gives here.
            ("failed", "not_found")
        } else {
            ("ok", "")
        };
        let learned = |text: &str| {
            if status == "ok" {
                text.to_owned()
            } else {
                String::new()
            }
        };
        // A digest of one platform's manifest is that manifest, whatever the row's platform.
        let built = image
            .built
            .platforms
            .iter()
            .find(|(_, built)| built.digest() == digest);
        let own = built.map_or(architecture, |(platform, _)| &platform.architecture);
        let (image_architecture, distro_id, distro_version) =
            image.truth[usize::from(own == "arm64")];
        let manifest_digest = image.built.platform("linux", own).digest();
        Ok(BTreeMap::from([
            ("namespace", pod.namespace.clone()),
            ("workload_kind", workload_kind(&pod.workload).to_owned()),
            ("workload_name", pod.workload.name().to_owned()),
            ("pod", pod.name.clone()),
            ("pod_phase", pod.phase.name().to_owned()),
            ("node", pod.node.clone().unwrap_or_default()),
            ("container", container.name.clone()),
            ("container_type", container_type.to_owned()),
            ("owner", pod.labels["team"].clone()),
            ("image", container.image.clone()),
            ("registry", self.registry.address.clone()),
            ("image_id", image_id.to_owned()),
            ("digest", learned(digest)),
            ("digest_source", learned(digest_source)),
            ("manifest_digest", learned(manifest_digest)),
            ("platform", format!("linux/{architecture}")),
            ("platform_source", source.to_owned()),
            ("os", learned("linux")),
            ("architecture", learned(image_architecture)),
            ("distro_id", learned(distro_id)),
            ("distro_version", learned(distro_version)),
            ("inspection_status", status.to_owned()),
            ("error_kind", error_kind.to_owned()),
        ]))
    }
}

fn nodes() -> Vec<Node> {
    NODES
        .iter()
        .map(|(name, architecture)| Node::new(name, "linux", architecture))
        .collect()
}

fn team(number: usize) -> String {
    format!("team-{number:02}")
}

fn minutes_of_now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs() / 60
}

/// The kind that a person would look for.
fn workload_kind(workload: &Workload) -> &str {
    match workload {
        Workload::Deployment { .. } => "Deployment",
        Workload::ReplicaSet { .. } => "ReplicaSet",
        Workload::StatefulSet { .. } => "StatefulSet",
        Workload::DaemonSet { .. } => "DaemonSet",
        Workload::CronJob { .. } => "CronJob",
        Workload::Job { .. } => "Job",
        Workload::Rollout { .. } => "Rollout",
        Workload::Other { kind, .. } => kind,
        Workload::Bare { .. } => "Pod",
        Workload::Static { .. } => "StaticPod",
    }
}

/// `snapshot` of the cluster of a kubeconfig.
fn snapshot(kubeconfig: &Path, store: &Path) -> Result<Command> {
    let mut command = program();
    command.env("KUBECONFIG", kubeconfig).arg("snapshot");
    command.arg("--crane").arg(crane()?);
    command.arg("--store").arg(store);
    command.args(["--owner-label", "team"]);
    Ok(command)
}

/// A store for one run.
struct Scratch {
    folder: tempfile::TempDir,
}

impl Scratch {
    fn new() -> Result<Self> {
        Ok(Self {
            folder: tempfile::tempdir()?,
        })
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    fn has_no_report(&self) -> Result<bool> {
        Ok(!self.store().exists() || files_below(&self.store())?.is_empty())
    }

    fn manifest(&self) -> Result<Value> {
        Ok(serde_json::from_str(&get(
            &self.store(),
            "latest",
            "manifest",
        )?)?)
    }
}

/// Runs a snapshot that must succeed, and compares all its rows; its log.
fn expect(command: &mut Command, scratch: &Scratch, expected: &[Expected]) -> Result<String> {
    let output = command.output()?;
    let said = stderr(&output);
    assert!(output.status.success(), "{}: {said}", output.status);
    compare(expected, &rows(&scratch.store())?);
    Ok(said)
}

/// Row by row, in order; says what the first differences are.
fn compare(expected: &[Expected], rows: &[Row]) {
    let differences: Vec<String> = expected
        .iter()
        .zip(rows)
        .flat_map(|(expected, row)| {
            let place = format!("{} {}", row["namespace"], row["pod"]);
            expected.iter().filter_map(move |(column, value)| {
                let found = &row[*column];
                (found != value).then(|| format!("{place}: {column} is {found}, not {value}"))
            })
        })
        .collect();
    let first = &differences[..differences.len().min(8)];
    assert!(first.is_empty(), "{} differ: {first:#?}", differences.len());
    assert_eq!(rows.len(), expected.len());
}

#[test]
fn every_row_is_what_was_put_into_the_cluster() -> Result {
    let fleet = fleet()?;
    let scratch = Scratch::new()?;
    let expected = fleet.expected(true, |_| true)?;
    assert!(expected.len() > FLEET_PODS);
    let mut command = snapshot(&fleet.plane.kubeconfig(), &scratch.store())?;
    expect(&mut command, &scratch, &expected)?;
    let manifest = scratch.manifest()?;
    assert_eq!(manifest["cluster_name"], "lab");
    assert_eq!(
        manifest["scope"],
        json!({"namespaces": [], "excluded_namespaces": [], "selector": null})
    );
    assert_eq!(manifest["completeness"]["complete"], true);
    assert!(
        manifest["cluster_id"]
            .as_str()
            .is_some_and(|id| id.len() == 64)
    );
    Ok(())
}

#[test]
fn a_part_of_the_cluster_is_what_was_asked_for_and_the_manifest_says_so() -> Result {
    let fleet = fleet()?;
    type Wanted = fn(&Pod) -> bool;
    let cases: [(&[&str], Value, Wanted); 4] = [
        (
            &["--namespace", "team-02", "--namespace", "team-01"],
            json!({"namespaces": ["team-01", "team-02"], "excluded_namespaces": [], "selector": null}),
            |pod| ["team-01", "team-02"].contains(&pod.namespace.as_str()),
        ),
        (
            &[
                "--exclude-namespace",
                "team-03",
                "--exclude-namespace",
                "team-00",
            ],
            json!({"namespaces": [], "excluded_namespaces": ["team-00", "team-03"], "selector": null}),
            |pod| !["team-00", "team-03"].contains(&pod.namespace.as_str()),
        ),
        (
            &["--selector", "app=x"],
            json!({"namespaces": [], "excluded_namespaces": [], "selector": "app=x"}),
            |pod| pod.labels["app"] == "x",
        ),
        (
            &[
                "--namespace",
                "team-05",
                "--selector",
                "app in (x, z), team!=owners-1",
            ],
            json!({"namespaces": ["team-05"], "excluded_namespaces": [], "selector": "app in (x, z), team!=owners-1"}),
            |pod| {
                pod.namespace == "team-05"
                    && pod.labels["app"] == "x"
                    && pod.labels["team"] != "owners-1"
            },
        ),
    ];
    for (arguments, scope, wanted) in cases {
        let scratch = Scratch::new()?;
        let expected = fleet.expected(true, wanted)?;
        assert!((10..600).contains(&expected.len()), "{arguments:?}");
        let mut command = snapshot(&fleet.plane.kubeconfig(), &scratch.store())?;
        expect(command.args(arguments), &scratch, &expected)?;
        assert_eq!(scratch.manifest()?["scope"], scope, "{arguments:?}");
    }
    Ok(())
}

#[test]
fn the_context_that_is_named_is_the_one_that_is_read() -> Result {
    let fleet = fleet()?;
    let access = Access {
        as_stranger: true,
        ..Access::default()
    };
    let kubeconfig = fleet.plane.kubeconfig_for("stranger", &access)?;
    let only = ["--namespace", "team-07"];
    let scratch = Scratch::new()?;
    let mut command = snapshot(&kubeconfig, &scratch.store())?;
    let output = command.args(only).output()?;
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("401"), "{}", stderr(&output));
    assert!(scratch.has_no_report()?);

    let mut command = snapshot(&kubeconfig, &scratch.store())?;
    let output = command.args(only).args(["--context", "nowhere"]).output()?;
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("nowhere"), "{}", stderr(&output));

    let expected = fleet.expected(true, |pod| pod.namespace == "team-07")?;
    let mut command = snapshot(&kubeconfig, &scratch.store())?;
    expect(
        command.args(only).args(["--context", "lab"]),
        &scratch,
        &expected,
    )?;
    assert_eq!(scratch.manifest()?["cluster_name"], "lab");
    Ok(())
}

/// What a service account may do, and where.
enum Right {
    Everywhere(&'static str),
    In(&'static str, &'static str),
}

/// A kubeconfig with the token of a new service account that may list some resources.
fn account(fleet: &Fleet, name: &str, rights: &[Right]) -> Result<PathBuf> {
    let (api, home) = (&fleet.api, "/api/v1/namespaces/default/serviceaccounts");
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    api.create(home, &json!({"metadata": {"name": name}}))?;
    for (number, right) in rights.iter().enumerate() {
        let (place, prefix, resource) = match right {
            Right::Everywhere(resource) => (rbac.to_owned(), "Cluster", resource),
            Right::In(namespace, resource) => {
                (format!("{rbac}/namespaces/{namespace}"), "", resource)
            }
        };
        let metadata = json!({"name": format!("{name}-{number}")});
        let rules = json!([{"apiGroups": [""], "resources": [resource], "verbs": ["list"]}]);
        let collection = |what: &str| format!("{place}/{}{what}", prefix.to_lowercase());
        api.create(
            &collection("roles"),
            &json!({"metadata": metadata, "rules": rules}),
        )?;
        let role = json!({
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": format!("{prefix}Role"),
            "name": metadata["name"],
        });
        let subject = json!({"kind": "ServiceAccount", "name": name, "namespace": "default"});
        api.create(
            &collection("rolebindings"),
            &json!({"metadata": metadata, "roleRef": role, "subjects": [subject]}),
        )?;
    }
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 3_600},
    });
    let answer = api.create(&format!("{home}/{name}/token"), &request)?;
    let token = answer["status"]["token"].as_str().ok_or("no token")?;
    let access = Access {
        token: Some(token.to_owned()),
        ..Access::default()
    };
    fleet.plane.kubeconfig_for(name, &access)
}

#[test]
fn pods_alone_are_enough_and_nodes_only_add_platforms() -> Result {
    let fleet = fleet()?;
    let kubeconfig = account(&fleet, "pods-only", &[Right::Everywhere("pods")])?;
    let scratch = Scratch::new()?;
    let expected = fleet.expected(false, |_| true)?;
    let mut command = snapshot(&kubeconfig, &scratch.store())?;
    let said = expect(&mut command, &scratch, &expected)?;
    assert!(
        said.lines()
            .any(|line| line.contains("WARN") && line.contains("nodes")),
        "{said}"
    );
    let rights = [Right::Everywhere("pods"), Right::Everywhere("nodes")];
    let kubeconfig = account(&fleet, "pods-and-nodes", &rights)?;
    let scratch = Scratch::new()?;
    let expected = fleet.expected(true, |_| true)?;
    let mut command = snapshot(&kubeconfig, &scratch.store())?;
    let said = expect(&mut command, &scratch, &expected)?;
    assert!(!said.contains("WARN"), "{said}");
    Ok(())
}

#[test]
fn a_role_is_enough_for_its_namespace_and_for_no_other() -> Result {
    let fleet = fleet()?;
    let kubeconfig = account(&fleet, "one-team", &[Right::In("team-11", "pods")])?;
    let scratch = Scratch::new()?;
    let expected = fleet.expected(false, |pod| pod.namespace == "team-11")?;
    let mut command = snapshot(&kubeconfig, &scratch.store())?;
    expect(
        command.args(["--namespace", "team-11"]),
        &scratch,
        &expected,
    )?;
    assert_eq!(
        scratch.manifest()?["scope"]["namespaces"],
        json!(["team-11"])
    );

    let nothing = account(&fleet, "nothing", &[])?;
    let cases: [(&Path, &[&str], &str); 4] = [
        (&kubeconfig, &[], "ClusterRole"),
        (&kubeconfig, &["team-11", "team-12"], "team-12"),
        (&nothing, &[], "ClusterRole"),
        (&nothing, &["team-11"], "team-11"),
    ];
    for (kubeconfig, namespaces, place) in cases {
        let scratch = Scratch::new()?;
        let mut command = snapshot(kubeconfig, &scratch.store())?;
        for namespace in namespaces {
            command.args(["--namespace", namespace]);
        }
        let output = command.output()?;
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let last = said.lines().last().unwrap_or_default();
        for words in ["403", "pods", "list", place] {
            assert!(last.contains(words), "{words}: {said}");
        }
        assert!(scratch.has_no_report()?, "{namespaces:?}");
    }
    Ok(())
}

#[test]
fn no_secret_of_a_pod_and_no_token_is_said_at_any_log_level() -> Result {
    let fleet = fleet()?;
    let held = fleet.api.get_raw("/api/v1/namespaces/team-01/pods")?;
    assert!(String::from_utf8(held)?.contains(SECRET_VALUE));
    let token = fs::read_to_string(fleet.plane.kubeconfig())?;
    let token = token
        .lines()
        .find_map(|line| line.trim().strip_prefix("token: "));
    let token = token.ok_or("no token")?;
    for format in ["text", "json"] {
        let scratch = Scratch::new()?;
        let mut command = snapshot(&fleet.plane.kubeconfig(), &scratch.store())?;
        command.args(["--log-level", "trace", "--log-format", format]);
        let output = command.env("RUST_LOG", "trace").output()?;
        assert!(output.status.success(), "{}", stderr(&output));
        let mut texts = vec![output.stdout, output.stderr];
        for file in files_below(&scratch.store())? {
            texts.push(fs::read(scratch.store().join(file))?);
        }
        assert!(texts.len() > 5);
        for text in texts {
            let text = String::from_utf8_lossy(&text);
            assert!(!text.contains(SECRET_VALUE), "a pod's secret is said");
            assert!(!text.contains(token), "the token is said");
        }
    }
    Ok(())
}

/// Pods by namespace and name, as the API server gives them.
type Held = BTreeMap<(String, String), Value>;

/// A cluster of plain pods whose list has many pages.
struct Crowd {
    plane: ControlPlane,
    api: Api,
    reference: String,
    image: Built,
    namespaces: usize,
    /// Ends with it.
    _registry: Registry,
}

impl Crowd {
    fn start(pods: usize, namespaces: usize) -> Result<Self> {
        let registry = Registry::start()?;
        let image = spec(Platform::linux("amd64"), distro::debian_12()).build();
        let reference = format!("{}/shop/catalog:1.0.0", registry.address);
        fixtures::registry::push(&image, &crane()?, &reference)?;
        let plane = ControlPlane::start()?;
        let api = Api::connect(&plane.kubeconfig())?;
        api.add_nodes(&nodes())?;
        let names: Vec<String> = (0..namespaces).map(team).collect();
        api.add_namespaces(names.iter().map(String::as_str))?;
        let crowd = Self {
            plane,
            api,
            reference,
            image,
            namespaces,
            _registry: registry,
        };
        crowd
            .api
            .add_pods((0..pods).map(|number| crowd.pod(number, 0)))?;
        Ok(crowd)
    }

    /// Versions of a pod differ in node, phase and annotation.
    fn pod(&self, number: usize, version: usize) -> Pod {
        let workload = Workload::stateful_set(&format!("set-{number:05}"));
        let container = Container::new("app", &self.reference).running(self.image.digest());
        Pod::new(&team(number % self.namespaces), workload, 0)
            .node(NODES[(number + version) % NODES.len()].0)
            .phase([Phase::Running, Phase::Unknown][version % 2])
            .annotation("example.com/version", &version.to_string())
            .container(container)
    }

    /// All pods that the API server holds, asked for at once.
    fn held(&self) -> Result<Held> {
        let list = self.api.get("/api/v1/pods")?;
        let items = list["items"].as_array().ok_or("no items")?;
        Ok(items
            .iter()
            .map(|pod| {
                let text = |key: &str| text(&pod["metadata"][key]);
                ((text("namespace"), text("name")), pod.clone())
            })
            .collect())
    }

    /// How many requests for a list of pods the API server has answered with a status since its start.
    fn lists(&self, code: u16) -> Result<usize> {
        let metrics = String::from_utf8(self.api.get_raw("/metrics")?)?;
        let code = format!("code=\"{code}\"");
        let labels = [&code, "resource=\"pods\"", "verb=\"LIST\""];
        let counts = metrics.lines().filter(|line| {
            line.starts_with("apiserver_request_total{")
                && labels.iter().all(|label| line.contains(label))
        });
        counts
            .map(|line| {
                Ok(line
                    .rsplit(' ')
                    .next()
                    .unwrap_or_default()
                    .parse::<usize>()?)
            })
            .sum()
    }

    /// A proxy before its API server, and a kubeconfig that leads through it.
    fn proxy(&self, name: &str, fault: Fault) -> Result<(Proxy, PathBuf)> {
        let proxy = Proxy::start(&self.plane.address()?, fault)?;
        let access = Access {
            address: Some(proxy.address.clone()),
            ..Access::default()
        };
        let kubeconfig = self.plane.kubeconfig_for(name, &access)?;
        Ok((proxy, kubeconfig))
    }

    /// A run through a proxy that does nothing, whose report is whole; the bytes that the API server
    /// sends for it.
    fn bytes_of_a_run(&self, held: &Held) -> Result<usize> {
        let (proxy, kubeconfig) = self.proxy("counting", Fault::None)?;
        let scratch = Scratch::new()?;
        let output = snapshot(&kubeconfig, &scratch.store())?.output()?;
        assert!(output.status.success(), "{}", stderr(&output));
        assert_whole(held, held, &rows(&scratch.store())?);
        Ok(proxy.bytes())
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The rows hold each pod that was there before and after exactly once, and no pod twice. One that was
/// not touched in between is as the API server holds it.
fn assert_whole(before: &Held, after: &Held, rows: &[Row]) {
    let mut found = BTreeMap::new();
    for row in rows {
        let name = (row["namespace"].clone(), row["pod"].clone());
        assert!(found.insert(name, row).is_none(), "twice: {row:?}");
    }
    let mut untouched = 0;
    for (name, pod) in before {
        let stayed = after
            .get(name)
            .filter(|later| later["metadata"]["uid"] == pod["metadata"]["uid"]);
        let Some(later) = stayed else { continue };
        let Some(row) = found.get(name) else {
            panic!("lost: {name:?}")
        };
        if later["metadata"]["resourceVersion"] != pod["metadata"]["resourceVersion"] {
            continue;
        }
        untouched += 1;
        let status = &pod["status"]["containerStatuses"][0];
        for (column, value) in [
            ("node", &pod["spec"]["nodeName"]),
            ("container", &pod["spec"]["containers"][0]["name"]),
            ("image", &pod["spec"]["containers"][0]["image"]),
            ("pod_phase", &pod["status"]["phase"]),
            ("image_id", &status["imageID"]),
        ] {
            assert_eq!(row[column], text(value), "{column} of {name:?}");
        }
        assert_eq!(row["inspection_status"], "ok", "{name:?}");
    }
    assert!(
        untouched * 2 > before.len(),
        "{untouched} pods were untouched"
    );
}

/// A run of the program in the background, which ends with the test.
struct Run {
    child: Option<Child>,
}

impl Run {
    fn start(mut command: Command) -> Result<Self> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(Self {
            child: Some(command.spawn()?),
        })
    }

    fn end(mut self) -> Result<Output> {
        let child = self.child.take().ok_or("it was waited for")?;
        Ok(child.wait_with_output()?)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Changes a cluster until it is told to stop. Of its last 600 pods it changes half; of the others it
/// deletes some and creates them again under the same name, and deletes some for good, others in each
/// `part`. New ones come, and half of those go again.
fn churn(crowd: &Crowd, part: usize, stop: &AtomicBool, changes: &AtomicUsize) -> Result {
    let api = Api::connect(&crowd.plane.kubeconfig())?;
    let mut newcomers: Vec<Pod> = Vec::new();
    for round in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let version = 1 + round / 15;
        let batch = || (round % 15) * 20..(round % 15 + 1) * 20;
        api.change_pods(batch().map(|n| crowd.pod(2_400 + n, version)))?;
        let again = batch().filter(|n| n % 4 == 0);
        let again: Vec<Pod> = again.map(|n| crowd.pod(2_700 + n, version)).collect();
        api.remove_pods(&again)?;
        if version == 1 {
            let gone = batch().filter(|n| n % 12 == 4 * part + 1);
            let gone: Vec<Pod> = gone.map(|n| crowd.pod(2_700 + n, 0)).collect();
            api.remove_pods(&gone)?;
        }
        api.add_pods(again)?;
        api.remove_pods(newcomers.iter().step_by(2))?;
        let first = 10_000 * (part + 1) + 20 * round;
        newcomers = (first..first + 20).map(|n| crowd.pod(n, 0)).collect();
        api.add_pods(newcomers.iter().cloned())?;
        changes.fetch_add(1, Ordering::SeqCst);
    }
    Ok(())
}

#[test]
fn no_pod_is_lost_or_doubled_while_others_come_and_go_between_the_pages() -> Result {
    let crowd = Crowd::start(3_000, 40)?;
    let mut before = crowd.held()?;
    let pages = crowd.lists(200)?;
    let bytes = crowd.bytes_of_a_run(&before)?;
    let pages = crowd.lists(200)? - pages;
    assert!(pages >= 6, "{pages} pages");

    for part in 0..3 {
        let after_bytes = bytes * (2 * part + 1) / 6;
        let (proxy, kubeconfig) = crowd.proxy("held", Fault::Hold { after_bytes })?;
        let scratch = Scratch::new()?;
        let (stop, changes) = (AtomicBool::new(false), AtomicUsize::new(0));
        let output = std::thread::scope(|scope| -> Result<Output> {
            let churning = scope
                .spawn(|| churn(&crowd, part, &stop, &changes).map_err(|error| error.to_string()));
            let watched = || -> Result<Output> {
                let run = Run::start(snapshot(&kubeconfig, &scratch.store())?)?;
                proxy.wait_for_fault()?;
                let (started, seen) = (Instant::now(), changes.load(Ordering::SeqCst));
                while changes.load(Ordering::SeqCst) < seen + 5 {
                    assert!(
                        started.elapsed() < Duration::from_secs(40),
                        "nothing changes"
                    );
                    std::thread::sleep(Duration::from_millis(5));
                }
                proxy.go_on();
                run.end()
            };
            let output = watched();
            proxy.go_on();
            stop.store(true, Ordering::SeqCst);
            churning.join().map_err(|_| "the churn failed")??;
            output
        })?;
        assert!(output.status.success(), "{}", stderr(&output));
        let after = crowd.held()?;
        assert_ne!(
            before.keys().collect::<BTreeSet<_>>(),
            after.keys().collect()
        );
        assert_whole(&before, &after, &rows(&scratch.store())?);
        before = after;
    }
    Ok(())
}

#[test]
fn a_server_that_crashes_in_mid_list_gives_a_whole_report_or_none() -> Result {
    let crowd = Crowd::start(1_500, 10)?;
    let held = crowd.held()?;
    let bytes = crowd.bytes_of_a_run(&held)?;
    let cases = [
        Comeback {
            name: "the page is cut",
            forgets_revision: false,
            forgets_token: false,
            cuts: true,
        },
        Comeback {
            name: "the page arrives",
            forgets_revision: false,
            forgets_token: false,
            cuts: false,
        },
        Comeback {
            name: "the list has expired",
            forgets_revision: true,
            forgets_token: false,
            cuts: true,
        },
        Comeback {
            name: "the token is refused",
            forgets_revision: false,
            forgets_token: true,
            cuts: true,
        },
    ];
    for case in cases {
        let name = case.name;
        let after_bytes = bytes * 3 / 5;
        let (proxy, kubeconfig) = crowd.proxy("held", Fault::Hold { after_bytes })?;
        let scratch = Scratch::new()?;
        let run = Run::start(snapshot(&kubeconfig, &scratch.store())?)?;
        proxy.wait_for_fault()?;
        if case.forgets_token {
            crowd.plane.forget_token()?;
        }
        if case.forgets_revision {
            // Or the list's revision would still be the present one.
            crowd.api.add_namespaces(["later"])?;
        }
        crowd.plane.restart()?;
        if case.forgets_revision {
            crowd.plane.compact()?;
        }
        if case.cuts {
            proxy.cut();
        } else {
            proxy.go_on();
        }
        let output = run.end()?;
        let said = stderr(&output);
        if case.forgets_token {
            assert_eq!(output.status.code(), Some(1), "{name}: {said}");
            assert!(said.contains("401"), "{name}: {said}");
            assert!(scratch.has_no_report()?, "{name}");
        } else {
            assert!(output.status.success(), "{name}: {said}");
            assert_whole(&held, &held, &rows(&scratch.store())?);
            let expired = crowd.lists(410)?;
            assert_eq!(expired, usize::from(case.forgets_revision), "{name}");
        }
    }
    Ok(())
}

/// How an API server that crashed is when it is back.
struct Comeback {
    name: &'static str,
    /// The revision of the list that is under way is gone from etcd.
    forgets_revision: bool,
    forgets_token: bool,
    /// Bytes of a page that are on their way when it crashes do not arrive.
    cuts: bool,
}
