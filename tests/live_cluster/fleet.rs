//! A cluster of pods of every kind of workload, on nodes of two architectures, and the rows that a
//! report of it must have.
//!
//! The rows come from the same description as the pods, never from the program.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::SystemTime;

use crate::fixtures::api::Api;
use crate::fixtures::distributions as distro;
use crate::fixtures::images::{Built, Format, ImageSpec, Platform};
use crate::fixtures::indexes::ImageIndex;
use crate::fixtures::layers::Layer;
use crate::fixtures::nodes::Node;
use crate::fixtures::pods::{Container, Phase, Pod, Status, Workload};
use crate::harness::control_plane::ControlPlane;
use crate::harness::registry::Registry;
use crate::harness::{Result, crane};

/// What a row must say, by column.
pub(crate) type Expected = BTreeMap<&'static str, String>;

/// Nodes and their architectures.
pub(crate) const NODES: [(&str, &str); 3] = [
    ("node-a", "amd64"),
    ("node-b", "amd64"),
    ("node-c", "arm64"),
];
const FLEET_NAMESPACES: usize = 20;
pub(crate) const FLEET_PODS: usize = 500;

/// An image in the registry, and what it is on each architecture.
struct Image {
    name: &'static str,
    built: Built,
    /// Architecture, distribution and its version, for amd64 and arm64.
    truth: [(&'static str, &'static str, &'static str); 2],
}

pub(crate) fn spec(platform: Platform, layer: Layer) -> ImageSpec {
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
        ..ImageIndex::default()
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
pub(crate) struct Fleet {
    pub(crate) plane: ControlPlane,
    pub(crate) api: Api,
    registry: Registry,
    images: Vec<Image>,
    pods: Vec<Pod>,
}

/// The tests that only read share one; the last of them ends it.
pub(crate) fn fleet() -> Result<Arc<Fleet>> {
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
            crate::fixtures::registry::push(&image.built, &crane()?, &reference)?;
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
                if number.is_multiple_of(2) {
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
    pub(crate) fn expected(
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

pub(crate) fn nodes() -> Vec<Node> {
    NODES
        .iter()
        .map(|(name, architecture)| Node::new(name, "linux", architecture))
        .collect()
}

pub(crate) fn team(number: usize) -> String {
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
