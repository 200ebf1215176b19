//! Debian's docker-registry over TLS, which asks everybody for a password.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::certificate::Certificate;
use super::cluster::{Cluster, NODE};
use super::{Result, crane, succeed};

/// Is in every password, and may be in nothing that the program writes.
pub(crate) const SECRET: &str = "hUnTeR2";

/// A running registry; it ends when this is dropped.
pub(crate) struct DockerRegistry {
    process: Child,
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
    certificate: Certificate,
    folder: tempfile::TempDir,
}

/// A user's password.
pub(crate) fn password(user: &str) -> String {
    format!("{user}:{SECRET}")
}

/// A Docker configuration with entries for these keys, each with its user and password.
pub(crate) fn docker_config(entries: &[(&str, &str, &str)]) -> Value {
    let auth = |user: &str, password: &str| json!({"auth": base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"))});
    let entries = entries
        .iter()
        .map(|(key, user, password)| ((*key).to_owned(), auth(user, password)));
    json!({"auths": entries.collect::<serde_json::Map<_, _>>()})
}

impl DockerRegistry {
    /// Starts an empty one that knows these users; each may do everything.
    pub(crate) fn start(users: &[&str]) -> Result<Self> {
        Self::start_on("127.0.0.1", "0", users, |command| command)
    }

    /// Starts one beside a cluster's node, which trusts it.
    pub(crate) fn start_in(cluster: &Cluster, users: &[&str]) -> Result<Self> {
        // It would hold the cluster's network if this process were killed.
        let place = |command: Command| {
            let mut tied = Command::new("setpriv");
            tied.args(["--pdeathsig", "KILL"])
                .arg(command.get_program());
            cluster.enter(tied.args(command.get_args()))
        };
        let registry = Self::start_on(NODE, "5001", users, place)?;
        cluster.trust(&registry.address, &registry.authority())?;
        Ok(registry)
    }

    fn start_on(
        ip: &str,
        port: &str,
        users: &[&str],
        place: impl Fn(Command) -> Command,
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let certificate = Certificate::for_address(ip)?;
        let path = |name: &str| folder.path().join(name).display().to_string();
        let hashes: Result<Vec<_>> = users.iter().map(|user| hash(user)).collect();
        fs::write(path("htpasswd"), hashes?.join("\n"))?;
        let [cert, key] = certificate.names();
        let settings = json!({
            "version": 0.1,
            "log": {"level": "info"},
            "storage": {"filesystem": {"rootdirectory": path("data")}},
            "auth": {"htpasswd": {"realm": "test", "path": path("htpasswd")}},
            "http": {"addr": format!("{ip}:{port}"), "tls": {"certificate": cert, "key": key}},
        });
        fs::write(path("config.yml"), settings.to_string())?;
        let log = path("registry.log");
        let mut command = Command::new("docker-registry");
        command.args(["serve", &path("config.yml")]);
        let process = place(command)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log)?)
            .spawn()
            .map_err(|error| format!("docker-registry: {error}: run scripts/tools"))?;
        let mut registry = Self {
            process,
            address: String::new(),
            certificate,
            folder,
        };
        let started = Instant::now();
        loop {
            let said = fs::read_to_string(&log)?;
            let after = said.split("listening on ").nth(1);
            // The line is whole once something follows the address.
            if let Some((address, _)) = after.and_then(|rest| rest.split_once([',', '"', ' '])) {
                registry.address = address.to_owned();
                return Ok(registry);
            }
            if started.elapsed() > Duration::from_secs(20) {
                return Err(format!("docker-registry does not start: {said}").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// crane for whoever pushes: with a user's password, and trusting the certificate.
    pub(crate) fn crane_as(&self, user: &str) -> Result<PathBuf> {
        let home = self.folder.path().join(user);
        fs::create_dir_all(&home)?;
        let config = docker_config(&[(&self.address, user, &password(user))]);
        fs::write(home.join("config.json"), config.to_string())?;
        let script = format!(
            "#!/bin/sh\nexport DOCKER_CONFIG='{0}' HOME='{0}' SSL_CERT_FILE='{1}'\nexec '{2}' \"$@\"\n",
            home.display(),
            self.authority().display(),
            crane()?.display()
        );
        let path = home.join("crane");
        fs::write(&path, script)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(path)
    }

    /// It answers no more, until it is woken: it takes connections and says nothing.
    pub(crate) fn stop(&self) -> Result {
        self.signal(Signal::STOP)
    }

    /// It goes on where it was stopped.
    pub(crate) fn wake(&self) -> Result {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result {
        let pid = i32::try_from(self.process.id())
            .ok()
            .and_then(Pid::from_raw);
        Ok(kill_process(pid.ok_or("no process id")?, signal)?)
    }

    /// How many requests below a path it has answered.
    pub(crate) fn answers_below(&self, path: &str) -> Result<usize> {
        let log = fs::read_to_string(self.folder.path().join("registry.log"))?;
        let answers = log
            .lines()
            .filter(|line| line.contains("response completed"));
        let uri = format!("http.request.uri=\"{path}");
        Ok(answers.filter(|line| line.contains(&uri)).count())
    }

    /// What makes a client trust it.
    pub(crate) fn authority(&self) -> PathBuf {
        self.certificate.authority()
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A line of an htpasswd file: the registry takes bcrypt only, which Perl has by way of libcrypt.
fn hash(user: &str) -> Result<String> {
    let mut perl = Command::new("perl");
    perl.args([
        "-e",
        "print crypt($ARGV[0], q($2y$04$abcdefghijklmnopqrstuu))",
    ]);
    let hash = succeed(perl.arg(password(user)))?;
    assert!(hash.starts_with("$2y$04$"), "no bcrypt here: {hash}");
    Ok(format!("{user}:{hash}"))
}

/// A crane that notes what it is given before it is the real one: its reference, and the user of each
/// entry of its Docker configuration, with the configuration's rights. One line a start.
pub(crate) fn noting_crane(folder: &Path) -> Result<(PathBuf, PathBuf)> {
    let (path, notes) = (folder.join("noting-crane"), folder.join("notes"));
    let script = format!(
        "#!/bin/sh\n\
         if [ \"$1\" != version ]; then\n\
         file=$DOCKER_CONFIG/config.json\n\
         for reference; do :; done\n\
         printf '%s\\t%s\\t%s\\t%s\\t%s\\n' \"$1 $reference\" \"$DOCKER_CONFIG\" \"$(stat -c '%a %A' \"$file\")\" \"$(stat -f -c %T \"$file\")\" \"$(cat \"$file\")\" >>'{}'\n\
         fi\n\
         exec '{}' \"$@\"\n",
        notes.display(),
        crane()?.display()
    );
    fs::write(&path, script)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok((path, notes))
}

/// What [`noting_crane`] noted.
pub(crate) struct Note {
    /// `blob 127.0.0.1:5000/a@sha256:…`.
    pub(crate) request: String,
    /// Its Docker configuration's.
    pub(crate) folder: PathBuf,
    pub(crate) mode: String,
    pub(crate) file_system: String,
    /// Key, user.
    pub(crate) entries: Vec<(String, String)>,
}

/// The notes so far.
pub(crate) fn notes(path: &Path) -> Result<Vec<Note>> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut notes = Vec::new();
    for line in text.lines() {
        let cells: Vec<_> = line.splitn(5, '\t').collect();
        let [request, folder, mode, file_system, config] = cells[..] else {
            return Err(format!("not a note: {line}").into());
        };
        let config: Value = serde_json::from_str(config)?;
        let names: Vec<_> = config.as_object().ok_or("no object")?.keys().collect();
        assert_eq!(names, ["auths"], "{config}");
        let entries = config["auths"].as_object().ok_or("no auths")?;
        let user = |entry: &Value| entry["username"].as_str().unwrap_or_default().to_owned();
        notes.push(Note {
            request: request.into(),
            folder: folder.into(),
            mode: mode.into(),
            file_system: file_system.into(),
            entries: entries
                .iter()
                .map(|(key, entry)| (key.clone(), user(entry)))
                .collect(),
        });
    }
    Ok(notes)
}
