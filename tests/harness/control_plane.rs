//! A real API server with etcd, by `scripts/control-plane`.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Result, root, succeed, tool};

/// A running control plane; it ends when this is dropped.
pub(crate) struct ControlPlane {
    folder: tempfile::TempDir,
}

impl ControlPlane {
    /// Starts an empty one.
    pub(crate) fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        succeed(&mut script("up", folder.path()))?;
        Ok(Self { folder })
    }

    /// The administrator's kubeconfig; its context is `lab`.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// kubectl as the administrator.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(tool("bin/kubectl")?);
        // Its cache of the API must not be another run's, nor fill the user's home.
        command
            .arg("--cache-dir")
            .arg(self.folder.path().join("cache"));
        command.env("KUBECONFIG", self.kubeconfig()).args(arguments);
        Ok(command)
    }

    /// What kubectl answers, as JSON.
    pub(crate) fn read(&self, arguments: &[&str]) -> Result<Value> {
        let mut command = self.kubectl(arguments)?;
        Ok(serde_json::from_str(&succeed(
            command.args(["-o", "json"]),
        )?)?)
    }

    /// kubectl with these objects as its input, as `-f -` wants them.
    pub(crate) fn kubectl_with(&self, arguments: &[&str], objects: &str) -> Result<Output> {
        let mut command = self.kubectl(arguments)?;
        command.args(["-f", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn()?;
        let mut input = child.stdin.take().ok_or("no standard input")?;
        let objects = objects.to_owned();
        // A large answer may come before all is read.
        let writer = std::thread::spawn(move || input.write_all(objects.as_bytes()));
        let output = child.wait_with_output()?;
        writer.join().map_err(|_| "writing failed")??;
        Ok(output)
    }

    /// Asks the API server whether it would admit these pods.
    pub(crate) fn admit(&self, pods: &[Value]) -> Result<Output> {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": pods});
        self.kubectl_with(&["create", "--dry-run=server"], &list.to_string())
    }

    /// `127.0.0.1:PORT` of the API server.
    pub(crate) fn address(&self) -> Result<String> {
        self.setting("server: https://")
    }

    /// A kubeconfig like the administrator's for another address, such as a proxy's, or another's token.
    pub(crate) fn kubeconfig_for(&self, name: &str, changes: &Access) -> Result<PathBuf> {
        let own = |changed: &Option<String>, key| match changed {
            Some(value) => Ok(value.clone()),
            None => self.setting(key),
        };
        let address = own(&changes.address, "server: https://")?;
        let token = own(&changes.token, "token: ")?;
        let authority = match &changes.authority {
            Some(certificate) => STANDARD.encode(certificate),
            None => self.setting("certificate-authority-data: ")?,
        };
        let user = |name: &str, token: &str| json!({"name": name, "user": {"token": token}});
        let context =
            |name: &str| json!({"name": name, "context": {"cluster": "lab", "user": name}});
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": if changes.as_stranger { "stranger" } else { "lab" },
            "clusters": [{"name": "lab", "cluster": {
                "server": format!("https://{address}"),
                "certificate-authority-data": authority,
            }}],
            "users": [user("lab", &token), user("stranger", "nobody-has-this-token")],
            "contexts": [context("lab"), context("stranger")],
        });
        let path = self.folder.path().join(format!("kubeconfig-{name}"));
        fs::write(&path, config.to_string())?;
        Ok(path)
    }

    /// What the accounts of the namespace `image-census` have asked for.
    pub(crate) fn audit(&self) -> Result<Vec<Value>> {
        let text = fs::read_to_string(self.folder.path().join("audit.log"))?;
        let events = text.lines().map(serde_json::from_str);
        Ok(events.collect::<std::result::Result<_, _>>()?)
    }

    /// Ends the API server as a crash would. Its objects stay in etcd, which goes on.
    pub(crate) fn crash(&self) -> Result {
        succeed(&mut script("crash", self.folder.path())).map(drop)
    }

    /// A crash after which it comes back with its address and certificates.
    pub(crate) fn restart(&self) -> Result {
        succeed(&mut script("restart", self.folder.path())).map(drop)
    }

    /// From its next start on, the API server does not know the administrator's token.
    pub(crate) fn forget_token(&self) -> Result {
        let tokens = "another-token,admin,admin,system:masters\n";
        Ok(fs::write(self.folder.path().join("tokens.csv"), tokens)?)
    }

    /// Makes etcd forget all but the present, as it does every five minutes for an API server.
    pub(crate) fn compact(&self) -> Result {
        let status = self.etcd("maintenance/status", &json!({}))?;
        let revision = &status["header"]["revision"];
        self.etcd(
            "kv/compaction",
            &json!({"revision": revision, "physical": true}),
        )
        .map(drop)
    }

    fn etcd(&self, call: &str, body: &Value) -> Result<Value> {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail", "--max-time", "30"]);
        // The path of a socket may have no more than about 100 bytes.
        curl.current_dir(self.folder.path())
            .args(["--unix-socket", "client:0"]);
        curl.args(["--data", &body.to_string()]);
        let answer = succeed(curl.arg(format!("http://etcd/v3/{call}")))?;
        Ok(serde_json::from_str(&answer)?)
    }

    /// The administrator's token.
    pub(crate) fn token(&self) -> Result<String> {
        self.setting("token: ")
    }

    /// What follows a key in the administrator's kubeconfig, which the script writes line by line.
    fn setting(&self, key: &str) -> Result<String> {
        let text = fs::read_to_string(self.kubeconfig())?;
        let value = text.lines().find_map(|line| line.trim().strip_prefix(key));
        Ok(value
            .ok_or_else(|| format!("no {key} in the kubeconfig"))?
            .to_owned())
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        let _ = script("down", self.folder.path()).output();
    }
}

/// What differs from the administrator's kubeconfig.
#[derive(Default)]
pub(crate) struct Access {
    pub(crate) address: Option<String>,
    pub(crate) token: Option<String>,
    /// Whose certificates are trusted, PEM.
    pub(crate) authority: Option<Vec<u8>>,
    /// The current context is another, whose user the API server does not know.
    pub(crate) as_stranger: bool,
}

fn script(action: &str, folder: &Path) -> Command {
    let mut command = Command::new(root().join("scripts/control-plane"));
    command.arg(action).arg(folder);
    command
}

/// A pod as a CronJob's controller makes it.
pub(crate) fn pod_of(cron_job: &Value, name: &str) -> Value {
    let template = &cron_job["spec"]["jobTemplate"]["spec"]["template"];
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": cron_job["metadata"]["namespace"],
            "labels": template["metadata"]["labels"],
        },
        "spec": template["spec"],
    })
}
