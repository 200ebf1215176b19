//! A run that is killed, ended or starved of time, with a registry's password, the keys of S3 and a token
//! of the API server in its hands.
//!
//! *Promised*: no secret is in an output, a log, a report, an object, an argument list or a file on disk,
//! however a run ends. What crane reads its credential from is in memory, for this user alone, and what a
//! killed run leaves of it there is removed by the next start.
//! *Tested* with SIGKILL, SIGTERM and time-outs at moments all over a run against the real API server,
//! Debian's registry and an S3 server: processes are looked at meanwhile, files and the bucket afterwards.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;

use crate::fixtures::api::Api;
use crate::fixtures::images::{ImageSpec, Platform};
use crate::fixtures::pods::{Container, Pod, Workload};
use crate::fixtures::{self, distributions};
use crate::harness::control_plane::ControlPlane;
use crate::harness::docker_registry::{DockerRegistry, SECRET, docker_config, password};
use crate::harness::object_store::{BUCKET, ObjectStore, SECRET_KEY};
use crate::harness::running::{Running, assert_no_process_with, until};
use crate::harness::{Result, crane, files_below, program};
use crate::tally::{Tally, Wrong, rounds};

/// Images of a run: enough that crane has its credential at most moments.
const IMAGES: usize = 12;
const BOUND: Duration = Duration::from_secs(120);

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Kill,
    Terminate,
    /// By `--deadline`, within the run.
    Deadline,
}

struct Site {
    plane: ControlPlane,
    registry: DockerRegistry,
    store: ObjectStore,
    folder: tempfile::TempDir,
    /// In memory, for crane's credentials.
    runtime: tempfile::TempDir,
    /// What may be nowhere.
    secrets: Vec<String>,
}

impl Site {
    fn start() -> Result<Self> {
        let (plane, registry) = (ControlPlane::start()?, DockerRegistry::start(&["alice"])?);
        let crane = registry.crane_as("alice")?;
        let api = Api::connect(&plane.kubeconfig())?;
        api.add_namespaces(["shop"])?;
        let mut pods = Vec::new();
        for number in 0..IMAGES {
            let layer = distributions::debian_12().file("srv/number", number.to_string());
            let image = ImageSpec::new(Platform::linux("amd64"))
                .layer(layer)
                .build();
            let reference = format!("{}/shop/image-{number}:1", registry.address);
            fixtures::registry::push(&image, &crane, &reference)?;
            let container = Container::new("app", &reference).running(image.digest());
            let workload = Workload::stateful_set(&format!("set-{number}"));
            pods.push(Pod::new("shop", workload, 0).container(container));
        }
        api.add_pods(pods)?;
        let folder = tempfile::tempdir()?;
        for name in ["docker", "tmp", "home"] {
            fs::create_dir(folder.path().join(name))?;
        }
        let config = docker_config(&[(&registry.address, "alice", &password("alice"))]);
        fs::write(folder.path().join("docker/config.json"), config.to_string())?;
        let token = plane.token()?;
        let basic = STANDARD.encode(format!("alice:{}", password("alice")));
        let secrets = [SECRET, SECRET_KEY, &token, &basic];
        let secrets = secrets.map(str::to_owned).to_vec();
        Ok(Self {
            plane,
            registry,
            store: ObjectStore::start(&[])?,
            folder,
            runtime: tempfile::tempdir_in("/dev/shm")?,
            secrets,
        })
    }

    /// A run into a store of its own, so that nothing is reused.
    fn command(&self, round: usize) -> Result<Command> {
        let folder = self.folder.path();
        let mut command = program();
        command.arg("snapshot").arg("--crane").arg(crane()?);
        command.args(["--store", &format!("s3://{BUCKET}/round-{round}")]);
        command.args(["--log-level", "trace"]);
        self.store.configure(&mut command);
        for name in ["HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"] {
            command.env_remove(name);
        }
        command
            .env("KUBECONFIG", self.plane.kubeconfig())
            .env("DOCKER_CONFIG", folder.join("docker"))
            .env("SSL_CERT_FILE", self.registry.authority())
            .env("XDG_RUNTIME_DIR", self.runtime.path())
            .env("TMPDIR", folder.join("tmp"))
            .env("HOME", folder.join("home"));
        Ok(command)
    }

    /// Which of the secrets a text holds, by their number.
    fn found_in(&self, text: &[u8]) -> BTreeSet<usize> {
        let text = String::from_utf8_lossy(text);
        let secrets = self.secrets.iter().enumerate();
        secrets
            .filter(|(_, secret)| text.contains(secret.as_str()))
            .map(|(number, _)| number)
            .collect()
    }

    /// The same for the files below a folder.
    fn found_below(&self, folder: &Path) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for file in files_below(folder)? {
            // What goes meanwhile held nothing that stays.
            let bytes = fs::read(folder.join(&file)).unwrap_or_default();
            if !self.found_in(&bytes).is_empty() {
                found.push(file);
            }
        }
        Ok(found)
    }

    /// The processes whose command lines hold a secret, and cranes whose environment does.
    fn found_in_processes(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let entry = entry?.path();
            let line = fs::read(entry.join("cmdline")).unwrap_or_default();
            let text = String::from_utf8_lossy(&line);
            // Whoever runs the tests gives the program its keys by the environment, and curl a token.
            let is_crane = text.contains(&format!("{}/shop/", self.registry.address));
            let environment = if is_crane {
                fs::read(entry.join("environ")).unwrap_or_default()
            } else {
                Vec::new()
            };
            if is_crane && !self.found_in(&line).is_empty()
                || !self.found_in(&environment).is_empty()
            {
                found.push(text.replace('\0', " "));
            }
        }
        Ok(found)
    }

    /// A round, and what leaked. How far it went: whether crane had a credential.
    fn round(&self, round: usize, end: End, after: Duration, tally: &mut Tally) -> Result<bool> {
        let mut command = self.command(round)?;
        if end == End::Deadline {
            let time = format!("{}ms", after.as_millis().max(1));
            command.args(["--deadline", &time]);
        }
        // What one that was killed has left. This one may end before it has come to it.
        let before = self.found_below(self.runtime.path())?;
        let running = Running::start(&mut command)?;
        let (started, mut had_credential) = (Instant::now(), false);
        let name = format!("round {round}, {end:?} after {after:?}");
        let mut wrongs = BTreeSet::new();
        let mut look = || -> Result {
            for process in self.found_in_processes()? {
                wrongs.insert(format!("{name}: a process: {process}"));
            }
            // A folder may go while it is read.
            let held = self.found_below(self.runtime.path()).unwrap_or_default();
            had_credential |= held.iter().any(|file| !before.contains(file));
            Ok(())
        };
        while end != End::Deadline && started.elapsed() < after {
            look()?;
            std::thread::sleep(Duration::from_millis(2));
        }
        match end {
            End::Kill => running.signal(Signal::KILL)?,
            End::Terminate => running.signal(Signal::TERM)?,
            End::Deadline => {}
        }
        let ended = running.wait(BOUND, look)?;
        until("no crane", || {
            Ok(assert_no_process_with(&format!("{}/shop/", self.registry.address)).is_ok())
        })?;
        for (place, text) in [("output", &ended.stdout), ("log", &ended.stderr)] {
            if !self.found_in(text.as_bytes()).is_empty() {
                wrongs.insert(format!("{name}: its {place}"));
            }
        }
        let own = self.folder.path();
        for (place, folder) in [
            ("the bucket", self.store.bucket()),
            ("a temporary file", own.join("tmp")),
            ("the home", own.join("home")),
        ] {
            for file in self.found_below(&folder)? {
                wrongs.insert(format!("{name}: {place}: {file}"));
            }
        }
        for file in self.found_below(self.runtime.path())? {
            let private = |path: &Path| -> Result<bool> {
                Ok(fs::metadata(path)?.permissions().mode().trailing_zeros() >= 6)
            };
            let path = self.runtime.path().join(&file);
            let folder = path.parent().ok_or("no folder")?;
            let may_stay = if before.contains(&file) {
                !had_credential
            } else {
                end == End::Kill
            };
            if !may_stay || !private(&path)? || !private(folder)? {
                wrongs.insert(format!("{name}: left in memory: {file}"));
            }
        }
        tally.round();
        for wrong in wrongs {
            tally.wrong(Wrong::Leaked, wrong);
        }
        Ok(had_credential)
    }
}

#[test]
fn however_a_run_ends_no_secret_is_left_or_said() -> Result {
    let site = Site::start()?;
    let mut tally = Tally::new("Secrets: SIGKILL, SIGTERM and deadlines at moments all over a run");
    // The time that a whole run takes; none of its rounds is longer.
    let started = Instant::now();
    let running = Running::start(&mut site.command(0)?)?;
    let ended = running.wait(BOUND, || Ok(()))?;
    if !ended.status.success() || ended.stderr.contains("unauthorized") {
        return Err(format!("without a fault: {}", ended.stderr).into());
    }
    let whole = started.elapsed();
    let (count, mut had_credential) = (rounds(4, 60), 0);
    for round in 1..=count {
        let end = [End::Kill, End::Terminate, End::Deadline][round % 3];
        // The same moments each time, spread over the run by the golden ratio.
        let part = (0.618_033_988_75 * round as f64).fract();
        had_credential += usize::from(site.round(round, end, whole.mul_f64(part), &mut tally)?);
    }
    // What killed runs left is gone with the next start.
    let last = Running::start(&mut site.command(count + 1)?)?.wait(BOUND, || Ok(()))?;
    if !last.status.success() {
        tally.wrong(Wrong::Lost, format!("the next run: {}", last.stderr));
    }
    for file in site.found_below(site.runtime.path())? {
        tally.wrong(Wrong::Leaked, format!("after the next run: {file}"));
    }
    if had_credential == 0 {
        return Err("crane never had a credential: nothing was tested".into());
    }
    tally.finish(&format!(
        "crane was seen with its credential in {had_credential}"
    ))
}
