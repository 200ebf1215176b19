//! The pods of one moment as rows: a record a container, with its workload and its node's platform.
//!
//! Pure. Pods and nodes flow in one by one, a [`ClusterSnapshot`] flows out. Strings that repeat
//! (namespaces, nodes, images, workloads) are held once. It does not know where the pods come from.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::image::{Platform, without_user_info};
use crate::intern::Texts;
use crate::pod::{ContainerSpec, ContainerStatus, Metadata, Node, Pod, PodSpec};
use crate::report::{ContainerType, PlatformSource, Scope};

/// Longest text that is taken from a pod, in bytes. Names end at 253; an image reference that is
/// longer than this is refused by its grammar, and its row shows the beginning.
const MAX_TEXT_BYTES: usize = 1_024;

/// Pull secrets of a pod that are looked at; real ones have one or two.
const MAX_PULL_SECRETS: usize = 16;

/// A mirror pod of a static pod carries this annotation (Kubernetes, "Create static Pods").
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// All containers of a cluster, or of a part of it, at one moment.
#[derive(Debug)]
pub struct ClusterSnapshot {
    /// SHA-256 of the API server's CA; unknown for a pod list from a file.
    pub cluster_id: Option<String>,
    /// What was asked for.
    pub scope: Scope,
    /// Rows, sorted as reports sort them.
    pub containers: Vec<ContainerRecord>,
    /// Distinct pods.
    pub pod_count: usize,
}

/// One container of one pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[allow(
    missing_docs,
    reason = "the fields are the report's columns, described in report/columns.rs"
)]
pub struct ContainerRecord {
    // The order of the fields is the order of the rows.
    pub namespace: Arc<str>,
    pub workload_kind: Arc<str>,
    pub workload_name: Arc<str>,
    pub container_type: ContainerType,
    pub container: Arc<str>,
    pub pod: Arc<str>,
    pub pod_phase: Option<Arc<str>>,
    pub generate_name: Option<Arc<str>>,
    pub node: Option<Arc<str>>,
    pub owner: Option<Arc<str>>,
    /// The reference as the pod's author wrote it.
    pub image: Arc<str>,
    /// `imageID` as the node reported it.
    pub image_id: Option<Arc<str>>,
    pub platform: Arc<Platform>,
    pub platform_source: PlatformSource,
    /// What the pod's images are pulled with. One for all pods of a workload, and mostly of a namespace.
    pub puller: Arc<Puller>,
}

/// Whose credentials a pod's images are pulled with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Puller {
    /// The pod's namespace, in which the secrets are.
    pub namespace: Arc<str>,
    /// `imagePullSecrets`, in their order.
    pub secrets: Box<[Arc<str>]>,
    /// `serviceAccountName`, whose pull secrets count, too.
    pub service_account: Arc<str>,
}

impl ContainerRecord {
    /// Whether the pod is over: Succeeded or Failed.
    pub fn is_over(&self) -> bool {
        matches!(self.pod_phase.as_deref(), Some("Succeeded" | "Failed"))
    }
}

/// What decides how rows are made from pods.
#[derive(Debug, Clone)]
pub struct RowOptions {
    /// The pod label or annotation that names an owner.
    pub owner_label: Option<String>,
    /// The platform of pods about whose node nothing is known.
    pub default_platform: Platform,
}

/// Collects nodes and pods into a [`ClusterSnapshot`]. Nodes come first.
#[derive(Clone)]
pub struct SnapshotBuilder {
    scope: Scope,
    options: RowOptions,
    texts: Texts,
    platforms: HashSet<Arc<Platform>>,
    pullers: HashSet<Arc<Puller>>,
    nodes: HashMap<Arc<str>, Arc<Platform>>,
    containers: Vec<ContainerRecord>,
}

impl SnapshotBuilder {
    /// Starts empty.
    pub fn new(scope: Scope, options: RowOptions) -> Self {
        Self {
            scope,
            options,
            texts: Texts::default(),
            platforms: HashSet::new(),
            pullers: HashSet::new(),
            nodes: HashMap::new(),
            containers: Vec::new(),
        }
    }

    /// Notes a node's platform.
    pub fn add_node(&mut self, node: Node) {
        let Some(name) = node.metadata.name else {
            return;
        };
        let Some(info) = node.status.node_info else {
            return;
        };
        let (Some(os), Some(architecture)) = (info.operating_system, info.architecture) else {
            return;
        };
        // The kernel version of a Windows node is its build, 10.0.20348.2700.
        let version = info
            .kernel_version
            .filter(|_| os == "windows")
            .map_or_else(String::new, |v| format!(":{v}"));
        let Ok(platform) = format!("{os}/{architecture}{version}").parse() else {
            return;
        };
        let (name, platform) = (self.text(&name), self.platform(platform));
        self.nodes.insert(name, platform);
    }

    /// Adds a row for each container of a pod whose namespace is in scope.
    pub fn add_pod(&mut self, pod: Pod) {
        let Pod {
            metadata,
            spec,
            status,
            ..
        } = pod;
        // `kubectl` leaves out no namespace; a hand-made list may.
        let namespace = metadata.namespace.as_deref().unwrap_or("default");
        if !self.scope.includes(namespace) {
            return;
        }
        let name = metadata.name.as_deref().unwrap_or_default();
        let workload = workload_of(&metadata, spec.node_name.as_deref());
        let (platform, platform_source) = self.platform_of(&spec);
        let owner = self
            .options
            .owner_label
            .as_deref()
            .and_then(|key| metadata.label_or_annotation(key));
        let puller = self.puller(namespace, &spec);
        let template = ContainerRecord {
            namespace: self.text(namespace),
            workload_kind: self.text(&workload.kind),
            workload_name: self.text(&workload.name),
            container_type: ContainerType::Container,
            container: self.text(""),
            pod: bounded(name).into(),
            pod_phase: status.phase.as_deref().map(|phase| self.text(phase)),
            generate_name: workload
                .generate_name
                .as_deref()
                .map(|name| self.text(name)),
            node: spec
                .node_name
                .as_deref()
                .filter(|node| !node.is_empty())
                .map(|node| self.text(node)),
            owner: owner.map(|owner| self.text(owner)),
            image: self.text(""),
            image_id: None,
            platform,
            platform_source,
            puller,
        };
        for (container_type, containers, statuses) in [
            (
                ContainerType::Container,
                spec.containers,
                status.container_statuses,
            ),
            (
                ContainerType::Ephemeral,
                spec.ephemeral_containers,
                status.ephemeral_container_statuses,
            ),
            (
                ContainerType::Init,
                spec.init_containers,
                status.init_container_statuses,
            ),
        ] {
            let statuses = statuses.unwrap_or_default();
            for container in containers.unwrap_or_default() {
                let record = self.record(&template, container_type, &container, &statuses);
                self.containers.push(record);
            }
        }
    }

    fn record(
        &mut self,
        template: &ContainerRecord,
        container_type: ContainerType,
        container: &ContainerSpec,
        statuses: &[ContainerStatus],
    ) -> ContainerRecord {
        let status = statuses.iter().find(|status| status.name == container.name);
        let image_id = status
            .and_then(|status| status.image_id.as_deref())
            .filter(|id| !id.is_empty());
        ContainerRecord {
            container_type,
            container: self.text(&container.name),
            image: self.text(&without_user_info(
                container.image.as_deref().unwrap_or_default(),
            )),
            image_id: image_id.map(|id| self.text(id)),
            ..template.clone()
        }
    }

    /// Sorts the rows. A pod that was listed twice (a list that was started over) has one row a
    /// container, the last one that was added.
    pub fn finish(self, cluster_id: Option<String>) -> ClusterSnapshot {
        let mut containers = self.containers;
        // Stable: rows of the same container stay in the order in which they came.
        containers.sort_by(|a, b| a.identity().cmp(&b.identity()));
        containers.reverse();
        containers.dedup_by(|later, earlier| later.identity() == earlier.identity());
        containers.reverse();
        containers.shrink_to_fit();
        let pods: HashSet<_> = containers
            .iter()
            .map(|row| (&row.namespace, &row.pod))
            .collect();
        let pod_count = pods.len();
        ClusterSnapshot {
            cluster_id,
            scope: self.scope,
            containers,
            pod_count,
        }
    }

    /// The node's platform; for a pod without a known node, what its selector asks for; else the
    /// default, said to be one.
    fn platform_of(&mut self, spec: &PodSpec) -> (Arc<Platform>, PlatformSource) {
        if let Some(platform) = spec
            .node_name
            .as_deref()
            .and_then(|node| self.nodes.get(node))
        {
            return (Arc::clone(platform), PlatformSource::Node);
        }
        let label = |key| {
            spec.node_selector
                .as_ref()
                .and_then(|selector| selector.get(key))
        };
        let os = label("kubernetes.io/os").or(spec.os.as_ref().and_then(|os| os.name.as_ref()));
        let architecture = label("kubernetes.io/arch");
        let default = self.options.default_platform.clone();
        let source = if architecture.is_some() {
            PlatformSource::Selector
        } else {
            PlatformSource::Default
        };
        let os = os.map_or(default.os.as_str(), String::as_str);
        let architecture = architecture.map_or(default.architecture.as_str(), String::as_str);
        match format!("{os}/{architecture}").parse::<Platform>() {
            Ok(platform) if (os, architecture) != (&default.os, &default.architecture) => {
                (self.platform(platform), source)
            }
            Ok(_) => (self.platform(default), source),
            Err(_) => (self.platform(default), PlatformSource::Default),
        }
    }

    fn puller(&mut self, namespace: &str, spec: &PodSpec) -> Arc<Puller> {
        let secrets = spec.image_pull_secrets.as_deref().unwrap_or_default();
        let names = secrets
            .iter()
            .filter_map(|secret| secret.name.as_deref())
            .filter(|name| !name.is_empty())
            .take(MAX_PULL_SECRETS);
        let account = spec.service_account_name.as_deref();
        let puller = Puller {
            namespace: self.text(namespace),
            secrets: names.map(|name| self.text(name)).collect(),
            // Pods that no API server has completed have none.
            service_account: self
                .text(account.filter(|name| !name.is_empty()).unwrap_or("default")),
        };
        if let Some(known) = self.pullers.get(&puller) {
            return Arc::clone(known);
        }
        let puller = Arc::new(puller);
        self.pullers.insert(Arc::clone(&puller));
        puller
    }

    fn text(&mut self, text: &str) -> Arc<str> {
        self.texts.one(bounded(text))
    }

    fn platform(&mut self, platform: Platform) -> Arc<Platform> {
        if let Some(known) = self.platforms.get(&platform) {
            return Arc::clone(known);
        }
        let platform = Arc::new(platform);
        self.platforms.insert(Arc::clone(&platform));
        platform
    }
}

impl ContainerRecord {
    fn identity(&self) -> (&str, &str, &str, ContainerType, &str, &str) {
        let Self {
            namespace,
            workload_kind,
            workload_name,
            container_type,
            container,
            pod,
            ..
        } = self;
        (
            namespace,
            workload_kind,
            workload_name,
            *container_type,
            container,
            pod,
        )
    }
}

impl Metadata {
    fn label(&self, key: &str) -> Option<&str> {
        self.labels.as_ref()?.get(key).map(String::as_str)
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.0.get(key).map(String::as_str)
    }

    fn label_or_annotation(&self, key: &str) -> Option<&str> {
        self.label(key)
            .or_else(|| self.annotation(key))
            .filter(|value| !value.is_empty())
    }
}

/// The beginning of a text that is too long, on a character boundary.
fn bounded(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT_BYTES)]
}

/// What a pod belongs to.
#[derive(Debug, PartialEq, Eq)]
struct Workload {
    kind: String,
    name: String,
    /// `generateName` of pods whose own or whose controller's name may differ every day.
    generate_name: Option<String>,
}

/// The workload, from the pod alone: no further permission is needed.
fn workload_of(pod: &Metadata, node: Option<&str>) -> Workload {
    let name = pod.name.clone().unwrap_or_default();
    let workload = |kind: &str, name: &str| Workload {
        kind: kind.into(),
        name: name.into(),
        generate_name: None,
    };
    if pod.annotation(MIRROR_ANNOTATION).is_some() {
        // The kubelet appends the node's name to a static pod's.
        let own = node.and_then(|node| name.strip_suffix(node)?.strip_suffix('-'));
        return workload("StaticPod", own.unwrap_or(&name));
    }
    let owners = pod.owner_references.as_deref().unwrap_or_default();
    let controller = owners
        .iter()
        .find(|owner| owner.controller == Some(true))
        .or_else(|| owners.first());
    let Some(owner) = controller else {
        return Workload {
            generate_name: pod.generate_name.clone(),
            ..workload("Pod", &name)
        };
    };
    let without_hash = |label: &str| {
        pod.label(label)
            .and_then(|hash| owner.name.strip_suffix(hash)?.strip_suffix('-'))
    };
    match owner.kind.as_str() {
        "ReplicaSet" => {
            if let Some(deployment) = without_hash("pod-template-hash") {
                workload("Deployment", deployment)
            } else if let Some(rollout) = without_hash("rollouts-pod-template-hash") {
                workload("Rollout", rollout)
            } else {
                workload("ReplicaSet", &owner.name)
            }
        }
        "Job" => match scheduled_by(&owner.name, pod.creation_timestamp.as_deref()) {
            Some(cron_job) => workload("CronJob", cron_job),
            None => workload("Job", &owner.name),
        },
        kind @ ("StatefulSet" | "DaemonSet") => workload(kind, &owner.name),
        kind => Workload {
            generate_name: pod.generate_name.clone(),
            ..workload(kind, &owner.name)
        },
    }
}

/// A CronJob names its Jobs `<cronjob>-<scheduled time in minutes since 1970>`. So that a Job named
/// `import-20240101` by hand is not taken for one, the minutes must lie before the pod's creation,
/// but not by more than 31 days (retries, late starts); five minutes are left for skewed clocks.
fn scheduled_by<'a>(job: &'a str, created: Option<&str>) -> Option<&'a str> {
    let (cron_job, minutes) = job.rsplit_once('-')?;
    let minutes: i64 = minutes
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| minutes.parse().ok())??;
    let created = created.and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    let plausible = match created {
        Some(created) => {
            (-5..=31 * 24 * 60).contains(&(created.with_timezone(&Utc).timestamp() / 60 - minutes))
        }
        // 2015 (before Kubernetes 1.0) to 2100, in minutes.
        None => (23_667_840..68_374_080).contains(&minutes),
    };
    (plausible && !cron_job.is_empty()).then_some(cron_job)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn options() -> RowOptions {
        RowOptions {
            owner_label: Some("team".into()),
            default_platform: Platform::new("linux", "amd64"),
        }
    }

    fn snapshot(
        nodes: serde_json::Value,
        pods: serde_json::Value,
    ) -> Result<ClusterSnapshot, serde_json::Error> {
        let mut builder = SnapshotBuilder::new(Scope::default(), options());
        for node in serde_json::from_value::<Vec<Node>>(nodes)? {
            builder.add_node(node);
        }
        for pod in serde_json::from_value::<Vec<Pod>>(pods)? {
            builder.add_pod(pod);
        }
        Ok(builder.finish(None))
    }

    fn workload(metadata: serde_json::Value) -> Result<String, serde_json::Error> {
        let workload = workload_of(&serde_json::from_value(metadata)?, Some("node-1"));
        let generated = workload
            .generate_name
            .map_or_else(String::new, |name| format!(" ({name})"));
        Ok(format!("{}/{}{generated}", workload.kind, workload.name))
    }

    #[test]
    fn workloads_are_known_from_the_pod_alone() -> Result<(), serde_json::Error> {
        let owned =
            |kind: &str, name: &str| json!([{"kind": kind, "name": name, "controller": true}]);
        let cases = [
            (json!({"name": "a"}), "Pod/a"),
            (
                json!({"name": "a-x1", "generateName": "a-"}),
                "Pod/a-x1 (a-)",
            ),
            (
                json!({"name": "a", "labels": {"pod-template-hash": "5f"}, "ownerReferences": owned("ReplicaSet", "web-5f")}),
                "Deployment/web",
            ),
            (
                json!({"name": "a", "ownerReferences": owned("ReplicaSet", "web-5f")}),
                "ReplicaSet/web-5f",
            ),
            (
                json!({"name": "a", "labels": {"rollouts-pod-template-hash": "5f"}, "ownerReferences": owned("ReplicaSet", "web-5f")}),
                "Rollout/web",
            ),
            (
                json!({"name": "a", "ownerReferences": owned("StatefulSet", "db")}),
                "StatefulSet/db",
            ),
            (
                json!({"name": "a", "generateName": "t-", "ownerReferences": owned("TaskRun", "build-7")}),
                "TaskRun/build-7 (t-)",
            ),
            (
                json!({"name": "a", "creationTimestamp": "2026-11-23T02:00:05Z", "ownerReferences": owned("Job", "backup-29923320")}),
                "CronJob/backup",
            ),
            (
                json!({"name": "a", "creationTimestamp": "2026-11-23T02:00:05Z", "ownerReferences": owned("Job", "import-20240101")}),
                "Job/import-20240101",
            ),
            (
                json!({"name": "a", "ownerReferences": owned("Job", "backup-29923320")}),
                "CronJob/backup",
            ),
            (
                json!({"name": "a", "ownerReferences": owned("Job", "migrate")}),
                "Job/migrate",
            ),
            (
                json!({"name": "etcd-node-1", "annotations": {"kubernetes.io/config.mirror": "x"}, "ownerReferences": owned("Node", "node-1")}),
                "StaticPod/etcd",
            ),
            (
                json!({"name": "a", "ownerReferences": [{"kind": "X", "name": "x"}, {"kind": "DaemonSet", "name": "log", "controller": true}]}),
                "DaemonSet/log",
            ),
        ];
        for (metadata, expected) in cases {
            assert_eq!(workload(metadata.clone())?, expected, "{metadata}");
        }
        Ok(())
    }

    #[test]
    fn a_pod_has_a_row_for_each_container_with_its_running_image() -> Result<(), serde_json::Error>
    {
        let snapshot = snapshot(
            json!([{"metadata": {"name": "n"}, "status": {"nodeInfo": {"operatingSystem": "windows", "architecture": "amd64", "kernelVersion": "10.0.20348.1"}}}]),
            json!([{
                "metadata": {"name": "p", "namespace": "ns", "labels": {"team": "blue"}},
                "spec": {
                    "nodeName": "n",
                    "containers": [{"name": "b", "image": "i:1"}, {"name": "a", "image": "i:2"}],
                    "initContainers": [{"name": "a-init", "image": "i:3"}],
                    "ephemeralContainers": [{"name": "debug", "image": "i:4"}],
                },
                "status": {"phase": "Running", "containerStatuses": [{"name": "a", "imageID": "id-a"}, {"name": "b", "imageID": ""}]},
            }]),
        )?;
        let rows: Vec<_> = snapshot
            .containers
            .iter()
            .map(|row| {
                (
                    row.container_type,
                    &*row.container,
                    &*row.image,
                    row.image_id.as_deref(),
                )
            })
            .collect();
        assert_eq!(
            rows,
            [
                (ContainerType::Container, "a", "i:2", Some("id-a")),
                (ContainerType::Container, "b", "i:1", None),
                (ContainerType::Ephemeral, "debug", "i:4", None),
                (ContainerType::Init, "a-init", "i:3", None),
            ]
        );
        let row = &snapshot.containers[0];
        assert_eq!(row.platform.to_string(), "windows/amd64:10.0.20348.1");
        assert_eq!(
            (row.owner.as_deref(), row.platform_source),
            (Some("blue"), PlatformSource::Node)
        );
        assert_eq!(snapshot.pod_count, 1);
        Ok(())
    }

    #[test]
    fn the_platform_says_where_it_comes_from() -> Result<(), serde_json::Error> {
        let pod = |name: &str, spec: serde_json::Value| {
            let mut pod = json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
            pod["spec"]
                .as_object_mut()
                .into_iter()
                .for_each(|to| to.extend(spec.as_object().cloned().unwrap_or_default()));
            pod
        };
        let snapshot = snapshot(
            json!([]),
            json!([
                pod("a", json!({"nodeName": "gone"})),
                pod(
                    "b",
                    json!({"nodeSelector": {"kubernetes.io/arch": "arm64"}})
                ),
                pod("c", json!({"os": {"name": "windows"}})),
                pod(
                    "d",
                    json!({"nodeSelector": {"kubernetes.io/arch": "no such/arch!"}})
                ),
            ]),
        )?;
        let platforms: Vec<_> = snapshot
            .containers
            .iter()
            .map(|row| (row.platform.to_string(), row.platform_source))
            .collect();
        assert_eq!(
            platforms,
            [
                ("linux/amd64".into(), PlatformSource::Default),
                ("linux/arm64".into(), PlatformSource::Selector),
                ("windows/amd64".into(), PlatformSource::Default),
                ("linux/amd64".into(), PlatformSource::Default),
            ]
        );
        Ok(())
    }

    #[test]
    fn pods_that_pull_alike_share_what_they_pull_with() -> Result<(), serde_json::Error> {
        let pod = |name: &str, spec: serde_json::Value| {
            let mut pod = json!({"metadata": {"name": name, "namespace": "ns"}, "spec": spec});
            pod["spec"]["containers"] =
                json!([{"name": "c", "image": "i"}, {"name": "d", "image": "i"}]);
            pod
        };
        let own = json!({"serviceAccountName": "builder", "imagePullSecrets": [{"name": "b"}, {}, {"name": "a"}]});
        let many: Vec<_> = (0..100).map(|n| json!({"name": format!("s{n}")})).collect();
        let pods = json!([
            pod("a", own.clone()),
            pod("b", own),
            pod("c", json!({"imagePullSecrets": null})),
            pod("d", json!({"imagePullSecrets": many})),
        ]);
        let rows = snapshot(json!([]), pods)?.containers;
        let first = &rows[0].puller;
        assert_eq!(
            (&*first.namespace, &*first.service_account),
            ("ns", "builder")
        );
        assert!(first.secrets.iter().map(|name| &**name).eq(["b", "a"]));
        assert_eq!(rows.len(), 8);
        let same = rows.iter().filter(|row| Arc::ptr_eq(&row.puller, first));
        assert_eq!(same.count(), 4);
        assert_eq!(&*rows[4].puller.service_account, "default");
        assert_eq!(rows[7].puller.secrets.len(), MAX_PULL_SECRETS);
        Ok(())
    }

    #[test]
    fn a_pod_that_was_listed_twice_has_the_rows_of_its_last_state() -> Result<(), serde_json::Error>
    {
        let pod = |image: &str| json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": image}]}});
        let snapshot = snapshot(json!([]), json!([pod("z:1"), pod("a:2")]))?;
        let images: Vec<_> = snapshot.containers.iter().map(|row| &*row.image).collect();
        assert_eq!(images, ["a:2"]);
        Ok(())
    }
}
