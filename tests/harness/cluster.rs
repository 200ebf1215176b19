//! A real cluster of one node, by `scripts/cluster`: pods run, and reach a registry and an S3 server.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::mounts::copy_environment;
use super::object_store::BUCKET;
use super::{Result, crane, registry, root, succeed, tool};

/// The node's address, for it and for its pods.
pub(crate) const NODE: &str = "10.99.0.1";
/// The registry, which asks nobody for a password and speaks plain HTTP.
pub(crate) const REGISTRY: &str = "10.99.0.1:5000";
/// The S3 server.
pub(crate) const OBJECT_STORE: &str = "http://10.99.0.1:7070";

/// A running cluster; it ends when this is dropped, and also when this process is killed.
pub(crate) struct Cluster {
    folder: tempfile::TempDir,
    /// The cluster ends when this does.
    _tie: ChildStdin,
}

impl Cluster {
    /// Starts an empty one.
    pub(crate) fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut up = script("up", folder.path());
        up.arg("--tied").stdin(Stdio::piped());
        let mut up = up.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let tie = up.stdin.take().ok_or("no standard input")?;
        let output = up.wait_with_output()?;
        if !output.status.success() {
            return Err(super::stderr(&output).into());
        }
        Ok(Self { folder, _tie: tie })
    }

    /// `command` where the cluster can be reached, with its kubeconfig and the S3 server's keys.
    pub(crate) fn enter(&self, command: &Command) -> Command {
        let mut inside = script("enter", self.folder.path());
        inside.arg(command.get_program()).args(command.get_args());
        copy_environment(command, &mut inside);
        inside.stdin(Stdio::null());
        inside
    }

    /// kubectl as the administrator.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(tool("bin/kubectl")?);
        command
            .arg("--cache-dir")
            .arg(self.folder.path().join("cache"));
        Ok(self.enter(command.args(arguments)))
    }

    /// What kubectl gets, as JSON.
    pub(crate) fn read(&self, arguments: &[&str]) -> Result<Value> {
        let mut command = self.kubectl(arguments)?;
        Ok(serde_json::from_str(&succeed(
            command.args(["-o", "json"]),
        )?)?)
    }

    /// Waits until a Job is complete; the Job as it is, if it failed or is not within the limit.
    pub(crate) fn complete(
        &self,
        namespace: &str,
        job: &str,
        limit: Duration,
    ) -> Result<std::result::Result<(), Value>> {
        let started = Instant::now();
        loop {
            let job = self.read(&["get", "job", job, "-n", namespace])?;
            let conditions = job["status"]["conditions"].as_array();
            let is = |wanted: &str| {
                let mut conditions = conditions.into_iter().flatten();
                conditions.any(|condition| condition["type"] == wanted)
            };
            if is("Complete") {
                return Ok(Ok(()));
            }
            if is("Failed") || started.elapsed() > limit {
                return Ok(Err(job));
            }
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// A program that runs another where the cluster can be reached.
    pub(crate) fn wrapped(&self, name: &str, program: &Path) -> Result<PathBuf> {
        let path = self.folder.path().join(format!("enter-{name}"));
        let script = root().join("scripts/cluster");
        let text = format!(
            "#!/bin/sh\nexec '{}' enter '{}' '{}' \"$@\"\n",
            script.display(),
            self.folder.path().display(),
            program.display()
        );
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(path)
    }

    /// crane, where it reaches the registry.
    pub(crate) fn crane(&self) -> Result<PathBuf> {
        self.wrapped("crane", &crane()?)
    }

    /// Makes the node trust a registry's certificate.
    pub(crate) fn trust(&self, registry: &str, authority: &Path) -> Result {
        let folder = self.folder.path().join("registries").join(registry);
        fs::create_dir_all(&folder)?;
        let settings = format!(
            "server = \"https://{registry}\"\n[host.\"https://{registry}\"]\n  ca = \"{}\"\n",
            authority.display()
        );
        Ok(fs::write(folder.join("hosts.toml"), settings)?)
    }

    /// What the registry was asked since its log had `start` lines.
    pub(crate) fn requests_since(&self, start: usize) -> Result<Vec<String>> {
        Ok(registry::requests(&self.registry_log()?, start))
    }

    /// The registry's log so far.
    pub(crate) fn registry_log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.path().join("crane.log"))?)
    }

    /// The store that a CronJob in it writes to.
    pub(crate) fn store() -> String {
        format!("s3://{BUCKET}/lab")
    }

    /// The S3 server's keys, as variables.
    pub(crate) fn keys(&self) -> Result<String> {
        let text = fs::read_to_string(self.folder.path().join("s3.env"))?;
        let keys = text.lines().filter(|line| line.contains("_KEY"));
        Ok(keys.map(|line| format!("{line}\n")).collect())
    }

    /// The control group of a pod, while it runs.
    pub(crate) fn group_of(&self, uid: &str) -> Result<Option<Group>> {
        let ids = fs::read_to_string(self.folder.path().join("run.pids"))?;
        let supervisor = ids.split_whitespace().next().ok_or("no process id")?;
        let own = format!("image-census-{supervisor}");
        let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        let [memory, cpu] = ["memory", "cpuacct"].map(|controller| {
            let hierarchy = if unified { "." } else { controller };
            let pods = Path::new("/sys/fs/cgroup").join(hierarchy);
            let pods = pods.join(&own).join("kubepods");
            let classes = [".", "burstable", "besteffort"];
            let paths = classes.map(|class| pods.join(class).join(format!("pod{uid}")));
            paths.into_iter().find(|path| path.exists())
        });
        Ok(memory.zip(cpu).map(|(memory, cpu)| Group { memory, cpu }))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = script("down", self.folder.path()).output();
    }
}

/// A pod's control group, in both versions of them.
pub(crate) struct Group {
    memory: PathBuf,
    cpu: PathBuf,
}

/// What a pod has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// The most memory that it held, page cache included.
    pub(crate) memory_bytes: u64,
    pub(crate) cpu_microseconds: u64,
}

impl Group {
    /// Nothing, once the pod is gone.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let read = |path: PathBuf| fs::read_to_string(path).ok();
        let memory = read(self.memory.join("memory.peak"))
            .or_else(|| read(self.memory.join("memory.max_usage_in_bytes")))?;
        let cpu = match read(self.cpu.join("cpuacct.usage")) {
            Some(nanoseconds) => nanoseconds.trim().parse::<u64>().ok()? / 1000,
            None => {
                let statistics = read(self.cpu.join("cpu.stat"))?;
                let mut lines = statistics.lines();
                let usage = lines.find_map(|line| line.strip_prefix("usage_usec "));
                usage?.parse().ok()?
            }
        };
        Some(Usage {
            memory_bytes: memory.trim().parse().ok()?,
            cpu_microseconds: cpu,
        })
    }

    /// The ids of the pod's processes of this name.
    pub(crate) fn processes(&self, name: &str) -> Vec<i32> {
        let folders = fs::read_dir(&self.memory).into_iter().flatten().flatten();
        let ids = folders
            .filter_map(|folder| fs::read_to_string(folder.path().join("cgroup.procs")).ok());
        let ids: Vec<_> = ids.collect();
        let ids = ids.iter().flat_map(|text| text.lines());
        ids.filter(|id| {
            let own = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
            own.trim() == name
        })
        .filter_map(|id| id.parse().ok())
        .collect()
    }
}

/// `scripts/cluster ACTION FOLDER`.
pub(crate) fn script(action: &str, folder: &Path) -> Command {
    let mut command = Command::new(root().join("scripts/cluster"));
    command.arg(action).arg(folder);
    command
}
