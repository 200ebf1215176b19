//! The CronJob as its README has people deploy it, its firings, and what they leave in the store.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::harness::cluster::{Cluster, OBJECT_STORE, REGISTRY, Usage};
use crate::harness::docker_registry::DockerRegistry;
use crate::harness::running::until;
use crate::harness::{Result, Row, container, program, root, succeed};
use crate::workloads::{PULL_SECRET, TEAM};

const NAMESPACE: &str = "image-census";
/// Signs the runs.
const KEY: &str = "a-key-for-tests-that-signs-nothing-else";
/// A firing takes seconds.
const LIMIT: Duration = Duration::from_secs(120);

/// The deployed CronJob.
pub(crate) struct Census<'a> {
    cluster: &'a Cluster,
    firings: u64,
}

/// A run of the CronJob's pod under way.
pub(crate) struct Firing {
    pub(crate) job: String,
    pod: String,
    uid: String,
}

impl<'a> Census<'a> {
    /// Deploys it, with a schedule of every minute.
    pub(crate) fn deploy(cluster: &'a Cluster, private: &DockerRegistry) -> Result<Self> {
        let image = format!("{REGISTRY}/tools/image-census");
        let digest = container::push(cluster, &format!("{image}:test"))?;
        let folder = tempfile::tempdir()?;
        succeed(
            Command::new("cp")
                .arg("-r")
                .arg(root().join("cronjob"))
                .arg(folder.path()),
        )?;
        let settings = json!({"registries": [
            {"host": REGISTRY, "insecure": true, "credentials": [{
                "username_file": "/etc/image-census/registry-secrets/username",
                "password_file": "/etc/image-census/registry-secrets/password",
            }]},
            {"host": private.address, "ca_bundle": "/etc/image-census/registry-config/ca.pem"},
        ]});
        let components = [
            "s3",
            "minio",
            "pull-secrets",
            "registry-config",
            "signing-key",
        ];
        let components = components.map(|name| format!("../cronjob/components/{name}"));
        let replace =
            |path: &str, value: Value| json!([{"op": "replace", "path": path, "value": value}]);
        let minute = replace("/spec/schedule", json!("* * * * *")).to_string();
        let census = json!({
            "namespace": NAMESPACE,
            "resources": ["../cronjob/base"],
            "components": components,
            "images": [{"name": "registry.example/image-census", "newName": image, "digest": digest}],
            "configMapGenerator": [
                {"name": NAMESPACE, "behavior": "merge", "literals": [
                    format!("IMAGE_CENSUS_STORE={}", Cluster::store()),
                    "IMAGE_CENSUS_CLUSTER_NAME=lab",
                    format!("IMAGE_CENSUS_S3_ENDPOINT={OBJECT_STORE}"),
                ]},
                {"name": "image-census-registry-config", "files": ["registries.yaml", "ca.pem"]},
            ],
            "secretGenerator": [
                {"name": "image-census-object-store", "envs": ["keys.env"]},
                {"name": "image-census-signing-key", "literals": [format!("key={KEY}")]},
                {"name": "image-census-registry-secrets", "literals": ["username=census", "password=unasked"]},
            ],
            "generatorOptions": {"disableNameSuffixHash": true},
            "patches": [{"target": {"kind": "CronJob"}, "patch": minute}],
        });
        let secrets = json!({
            "namespace": TEAM,
            "resources": ["../cronjob/pull-secrets"],
            "patches": [{
                "target": {"kind": "Role"},
                "patch": replace("/rules/0/resourceNames", json!([PULL_SECRET])).to_string(),
            }],
        });
        let overlays = [("census", census), ("secrets", secrets)];
        for (name, overlay) in &overlays {
            let folder = folder.path().join(name);
            fs::create_dir(&folder)?;
            fs::write(folder.join("kustomization.yaml"), overlay.to_string())?;
        }
        let census = folder.path().join("census");
        fs::write(census.join("registries.yaml"), settings.to_string())?;
        fs::copy(private.authority(), census.join("ca.pem"))?;
        fs::write(census.join("keys.env"), cluster.keys()?)?;
        for (name, _) in &overlays {
            // A warning would be the pod security standard's.
            let mut apply = cluster.kubectl(&["apply", "--server-side", "--warnings-as-errors"])?;
            succeed(apply.arg("-k").arg(folder.path().join(name)))?;
        }
        Ok(Self {
            cluster,
            firings: 0,
        })
    }

    /// Waits until the schedule has fired by itself, and lets it fire no more.
    pub(crate) fn wait_for_schedule(&self) -> Result<Firing> {
        let mut job = None;
        let started = Instant::now();
        while job.is_none() {
            assert!(started.elapsed() < LIMIT, "the schedule does not fire");
            std::thread::sleep(Duration::from_millis(500));
            let jobs = self.cluster.read(&["get", "jobs", "-n", NAMESPACE])?;
            job = jobs["items"].get(0).cloned();
        }
        let job = job.ok_or("no Job")?;
        let annotations = &job["metadata"]["annotations"];
        assert!(
            annotations["batch.kubernetes.io/cronjob-scheduled-timestamp"].is_string(),
            "{job}"
        );
        self.patch(r#"{"spec": {"suspend": true}}"#)?;
        self.firing(job["metadata"]["name"].as_str().ok_or("no name")?)
    }

    /// What the manifest asks for its container.
    pub(crate) fn resources(&self) -> Result<Value> {
        let job = self
            .cluster
            .read(&["get", "cronjob", NAMESPACE, "-n", NAMESPACE])?;
        let pod = &job["spec"]["jobTemplate"]["spec"]["template"]["spec"];
        Ok(pod["containers"][0]["resources"].clone())
    }

    fn patch(&self, patch: &str) -> Result {
        let mut kubectl = self.cluster.kubectl(&["patch", "cronjob", NAMESPACE])?;
        succeed(kubectl.args(["-n", NAMESPACE, "-p", patch])).map(drop)
    }

    /// Makes a Job of the CronJob now.
    pub(crate) fn fire(&mut self) -> Result<Firing> {
        self.firings += 1;
        let job = job_of(self.cluster, NAMESPACE, NAMESPACE, self.firings)?;
        self.firing(&job)
    }

    /// Waits for the Job's pod.
    fn firing(&self, job: &str) -> Result<Firing> {
        let mut found = None;
        until("the pod of a Job", || {
            let pods = self.pods(job)?;
            found = pods.into_iter().next();
            Ok(found.is_some())
        })?;
        let pod = found.ok_or("no pod")?;
        let text = |name: &str| pod["metadata"][name].as_str().map(Into::into);
        Ok(Firing {
            job: job.into(),
            pod: text("name").ok_or("no name")?,
            uid: text("uid").ok_or("no uid")?,
        })
    }

    fn pods(&self, job: &str) -> Result<Vec<Value>> {
        let label = format!("batch.kubernetes.io/job-name={job}");
        let pods = self
            .cluster
            .read(&["get", "pods", "-n", NAMESPACE, "-l", &label])?;
        Ok(pods["items"].as_array().cloned().unwrap_or_default())
    }

    /// Waits until its Job is complete; the most that its pod was seen to use.
    pub(crate) fn wait(&self, firing: &Firing) -> Result<Usage> {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let sampler = scope.spawn(|| self.sample(&firing.uid, &over));
            let completed = self.complete(firing);
            over.store(true, Ordering::Relaxed);
            let used = sampler.join().map_err(|_| "the sampler panicked")?;
            completed.map(|()| used)
        })
    }

    /// What a pod has used, read while it is there: it is gone a moment after its end.
    fn sample(&self, uid: &str, over: &AtomicBool) -> Usage {
        let mut used = Usage::default();
        while !over.load(Ordering::Relaxed) {
            let group = self.cluster.group_of(uid).ok().flatten();
            used = group.and_then(|group| group.usage()).unwrap_or(used);
            std::thread::sleep(Duration::from_millis(10));
        }
        used
    }

    fn complete(&self, firing: &Firing) -> Result {
        match self.cluster.complete(NAMESPACE, &firing.job, LIMIT)? {
            Ok(()) => Ok(()),
            Err(job) => Err(self.what_went_wrong(firing, &job)?.into()),
        }
    }

    fn what_went_wrong(&self, firing: &Firing, job: &Value) -> Result<String> {
        let mut logs = self.cluster.kubectl(&["logs", "-n", NAMESPACE])?;
        let logs = logs.arg(&firing.pod).output()?;
        let mut events = self.cluster.kubectl(&["get", "events", "-n", NAMESPACE])?;
        let events = events.output()?;
        let [logs, events] =
            [logs, events].map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        Ok(format!(
            "the Job did not complete: {}\n{logs}\n{events}",
            job["status"]
        ))
    }

    /// Waits until the program waits for crane, which waits for a registry.
    pub(crate) fn wait_for_crane(&self, firing: &Firing) -> Result {
        until("crane in the census's pod", || {
            let group = self.cluster.group_of(&firing.uid)?;
            Ok(group.is_some_and(|group| !group.processes("crane").is_empty()))
        })
    }

    /// Kills the program in its pod, as the kernel does when memory runs out.
    pub(crate) fn kill(&self, firing: &Firing) -> Result {
        let group = self.cluster.group_of(&firing.uid)?.ok_or("no group")?;
        let ids = group.processes("image-census");
        assert!(!ids.is_empty(), "the program does not run");
        for id in ids {
            succeed(Command::new("kill").args(["-KILL", &id.to_string()]))?;
        }
        Ok(())
    }

    /// The program on the report's store.
    pub(crate) fn command(&self, arguments: &[&str]) -> Result<String> {
        let mut command = program();
        command.args(arguments).args(["--store", &Cluster::store()]);
        succeed(&mut self.cluster.enter(&command))
    }

    /// The rows of the newest run.
    pub(crate) fn rows(&self) -> Result<Vec<Row>> {
        let csv = self.command(&["get", "latest", "--format", "csv"])?;
        let mut reader = csv::Reader::from_reader(csv.as_bytes());
        Ok(reader
            .deserialize()
            .collect::<std::result::Result<_, _>>()?)
    }

    /// A document of the newest run.
    pub(crate) fn json(&self, arguments: &[&str]) -> Result<Value> {
        Ok(serde_json::from_str(&self.command(arguments)?)?)
    }

    /// How many runs are committed.
    pub(crate) fn runs(&self) -> Result<usize> {
        let runs = self.json(&["list", "--format", "json"])?;
        Ok(runs["runs"].as_array().ok_or("no list")?.len())
    }
}

/// Makes a Job of a CronJob, named as its controller names them: the name ends with a time in minutes,
/// here one of the past, so that the schedule has no use for it.
pub(crate) fn job_of(
    cluster: &Cluster,
    namespace: &str,
    cron_job: &str,
    number: u64,
) -> Result<String> {
    let minutes = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() / 60;
    let job = format!("{cron_job}-{}", minutes - 1000 + number);
    let from = format!("--from=cronjob/{cron_job}");
    let mut create = cluster.kubectl(&["create", "job", "-n", namespace, &from, &job])?;
    succeed(&mut create)?;
    Ok(job)
}
