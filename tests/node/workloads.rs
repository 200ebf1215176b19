//! What runs in the cluster: a Deployment and its like for each of many distributions, with images of
//! one static program and the release files, and the cells that each must have in a report.

use serde_json::{Value, json};

use crate::fixtures::distributions as distro;
use crate::fixtures::images::{Built, ImageSpec, Platform};
use crate::fixtures::indexes::ImageIndex;
use crate::fixtures::layers::Layer;
use crate::fixtures::registry;
use crate::harness::cluster::{Cluster, REGISTRY};
use crate::harness::docker_registry::{DockerRegistry, docker_config, password};
use crate::harness::{Result, Row, succeed, tool};

/// Whose private images [`private`] are, and may be pulled with the secret of this namespace only.
pub(crate) const TEAM: &str = "team";
/// The secret that its pods pull with.
pub(crate) const PULL_SECRET: &str = "registry-login";
/// Who pushes private images.
pub(crate) const PUSHER: &str = "pusher";
/// The name and tag of the image that is nowhere.
pub(crate) const MISSING: &str = "shop/missing";

/// One container that runs, and what its row must say.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Expected {
    /// Namespace, kind and name of the workload, type and name of the container.
    pub(crate) place: [String; 5],
    pub(crate) digest: String,
    pub(crate) distribution: [String; 2],
}

impl Expected {
    /// What a row says.
    pub(crate) fn of(row: &Row) -> Self {
        let cell = |name: &str| row[name].clone();
        Self {
            place: [
                "namespace",
                "workload_kind",
                "workload_name",
                "container_type",
                "container",
            ]
            .map(cell),
            digest: cell("digest"),
            distribution: ["distro_id", "distro_version"].map(cell),
        }
    }
}

/// Images are pushed, and their containers' rows noted.
pub(crate) struct Workloads<'a> {
    cluster: &'a Cluster,
    crane: std::path::PathBuf,
    program: Vec<u8>,
    objects: Vec<Value>,
    pub(crate) expected: Vec<Expected>,
}

/// How a distribution is told in a row.
type Truth = [&'static str; 2];

fn platform() -> Platform {
    Platform::linux(match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    })
}

impl<'a> Workloads<'a> {
    pub(crate) fn new(cluster: &'a Cluster) -> Result<Self> {
        Ok(Self {
            cluster,
            crane: cluster.crane()?,
            program: std::fs::read(tool("bin/pause")?)?,
            objects: Vec::new(),
            expected: Vec::new(),
        })
    }

    fn spec(&self, layer: Layer, title: &str) -> ImageSpec {
        let program = Layer::new("COPY app /usr/local/bin/entrypoint # buildkit")
            .program("usr/local/bin/entrypoint", &self.program);
        // The title makes it another image than that of the same distribution elsewhere.
        ImageSpec::new(platform())
            .layer(layer)
            .layer(program)
            .label("org.opencontainers.image.title", title)
    }

    /// Pushes an image of a distribution.
    fn push(&self, name: &str, layer: Layer) -> Result<Built> {
        let built = self.spec(layer, name).build();
        registry::push(&built, &self.crane, &format!("{REGISTRY}/{name}"))?;
        Ok(built)
    }

    /// The same into the registry that asks for a password.
    fn push_private(&self, private: &DockerRegistry, name: &str, layer: Layer) -> Result<Built> {
        let built = self.spec(layer, name).build();
        let crane = self
            .cluster
            .wrapped("private-crane", &private.crane_as(PUSHER)?)?;
        registry::push(&built, &crane, &format!("{}/{name}", private.address))?;
        Ok(built)
    }

    fn expect(&mut self, place: [&str; 5], built: &Built, truth: Truth) {
        self.expected.push(Expected {
            place: place.map(Into::into),
            digest: built.digest().into(),
            distribution: truth.map(Into::into),
        });
    }

    /// A Deployment in `shop` with an image of its own.
    fn deployment(&mut self, name: &str, layer: Layer, truth: Truth) -> Result {
        let built = self.push(&format!("shop/{name}:1"), layer)?;
        self.objects.push(workload(
            "Deployment",
            ["shop", name],
            &pod(&format!("{REGISTRY}/shop/{name}:1")),
        ));
        self.expect(
            ["shop", "Deployment", name, "container", "app"],
            &built,
            truth,
        );
        Ok(())
    }

    /// Everything, as far as it is pulled without a password; the objects.
    pub(crate) fn add_all(&mut self) -> Result<Vec<Value>> {
        self.deployment("catalog", distro::debian_12(), ["debian", "12"])?;
        self.deployment("basket", distro::debian_11(), ["debian", "11"])?;
        self.deployment("search", distro::ubuntu_22_04(), ["ubuntu", "22.04"])?;
        self.deployment("checkout", distro::ubuntu_24_04(), ["ubuntu", "24.04"])?;
        self.deployment("mail", distro::alpine("3.24.1"), ["alpine", "3.24.1"])?;
        self.deployment("cache", distro::alpine("3.20.8"), ["alpine", "3.20.8"])?;
        self.deployment("billing", distro::ubi_9(), ["rhel", "9.8"])?;
        self.deployment("gateway", distro::distroless_debian_12(), ["debian", "12"])?;
        self.add_of_two_platforms()?;
        self.add_with_neighbours()?;

        let built = self.push("shop/store:1", distro::opensuse_leap_15_6())?;
        let of = |image: &str| pod(&format!("{REGISTRY}/{image}"));
        self.objects.push(workload(
            "StatefulSet",
            ["shop", "store"],
            &of("shop/store:1"),
        ));
        self.expect(
            ["shop", "StatefulSet", "store", "container", "app"],
            &built,
            ["opensuse-leap", "15.6"],
        );
        let built = self.push("system/agent:1", distro::amazon_linux_2023())?;
        self.objects.push(workload(
            "DaemonSet",
            ["shop", "agent"],
            &of("system/agent:1"),
        ));
        self.expect(
            ["shop", "DaemonSet", "agent", "container", "app"],
            &built,
            ["amzn", "2023"],
        );

        let built = self.push("shop/cleanup:1", distro::debian("13", "13.1", "trixie"))?;
        let mut template = of("shop/cleanup:1");
        template["restartPolicy"] = json!("Never");
        template["containers"][0]["args"] = json!(["0"]);
        self.objects.push(json!({
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": {"name": "cleanup", "namespace": "shop"},
            // Its Jobs are made by the test.
            "spec": {"schedule": "0 0 1 1 *", "suspend": true, "jobTemplate": {"spec": {
                "template": {"spec": template},
            }}},
        }));
        self.expect(
            ["shop", "CronJob", "cleanup", "container", "app"],
            &built,
            ["debian", "13"],
        );
        self.objects.push(workload(
            "Deployment",
            ["shop", "missing"],
            &of(&format!("{MISSING}:1")),
        ));
        Ok(std::mem::take(&mut self.objects))
    }

    /// An index: the node reports the index's digest.
    fn add_of_two_platforms(&mut self) -> Result {
        let own = self.spec(distro::debian("13", "13.1", "trixie"), "report");
        let mut other = self.spec(distro::alpine("3.24.1"), "report");
        other.platform = Platform::linux(match &*own.platform.architecture {
            "amd64" => "arm64",
            _ => "amd64",
        });
        let built = ImageIndex {
            images: vec![other, own],
            attested: true,
            ..ImageIndex::default()
        }
        .build();
        let image = format!("{REGISTRY}/shop/report:1");
        registry::push(&built, &self.crane, &image)?;
        self.objects
            .push(workload("Deployment", ["shop", "report"], &pod(&image)));
        self.expect(
            ["shop", "Deployment", "report", "container", "app"],
            &built,
            ["debian", "13"],
        );
        Ok(())
    }

    /// A container that ends before the others, and two beside each other.
    fn add_with_neighbours(&mut self) -> Result {
        let mut template = pod(&format!("{REGISTRY}/shop/orders:1"));
        let containers = [
            (
                "orders",
                "container",
                "app",
                distro::debian_12(),
                ["debian", "12"],
            ),
            (
                "proxy",
                "container",
                "proxy",
                distro::alpine("3.22.1"),
                ["alpine", "3.22.1"],
            ),
            (
                "migrate",
                "init",
                "migrate",
                distro::ubuntu_22_04(),
                ["ubuntu", "22.04"],
            ),
        ];
        for (image, kind, name, layer, truth) in containers {
            let built = self.push(&format!("shop/{image}:1"), layer)?;
            self.expect(["shop", "Deployment", "orders", kind, name], &built, truth);
        }
        template["containers"] = json!([
            {"name": "app", "image": format!("{REGISTRY}/shop/orders:1")},
            {"name": "proxy", "image": format!("{REGISTRY}/shop/proxy:1")},
        ]);
        template["initContainers"] = json!([{
            "name": "migrate", "image": format!("{REGISTRY}/shop/migrate:1"), "args": ["0"],
        }]);
        self.objects
            .push(workload("Deployment", ["shop", "orders"], &template));
        Ok(())
    }

    /// Gives a Deployment in `shop` a new version.
    pub(crate) fn replace(&mut self, name: &str, layer: Layer, truth: Truth) -> Result {
        let image = format!("shop/{name}:2");
        let built = self.push(&image, layer)?;
        let mut kubectl = self.cluster.kubectl(&["set", "image", "-n", "shop"])?;
        kubectl.arg(format!("deployment/{name}"));
        succeed(kubectl.arg(format!("app={REGISTRY}/{image}")))?;
        self.expected.retain(|expected| expected.place[2] != name);
        let place = ["shop", "Deployment", name, "container", "app"];
        self.expect(place, &built, truth);
        Ok(())
    }

    /// A Deployment of a private image, which is in the team's part of its registry.
    pub(crate) fn add_private(
        &mut self,
        private: &DockerRegistry,
        name: &str,
        layer: Layer,
        truth: Truth,
    ) -> Result<Value> {
        let built = self.push_private(private, &format!("{TEAM}/{name}:1"), layer)?;
        self.expect(
            [TEAM, "Deployment", name, "container", "app"],
            &built,
            truth,
        );
        let mut template = pod(&format!("{}/{TEAM}/{name}:1", private.address));
        template["imagePullSecrets"] = json!([{"name": PULL_SECRET}]);
        Ok(workload("Deployment", [TEAM, name], &template))
    }
}

/// The secret that the team's pods pull with.
pub(crate) fn pull_secret(registry: &str) -> Value {
    let config = docker_config(&[(registry, TEAM, &password(TEAM))]);
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": PULL_SECRET, "namespace": TEAM},
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": config.to_string()},
    })
}

fn pod(image: &str) -> Value {
    json!({
        "automountServiceAccountToken": false,
        "terminationGracePeriodSeconds": 2,
        "containers": [{"name": "app", "image": image}],
    })
}

fn workload(kind: &str, [namespace, name]: [&str; 2], template: &Value) -> Value {
    let labels = json!({"app": name});
    json!({
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": template},
        },
    })
}
