//! The crane program: a cleared environment, one credential, a way through the guard, bounded processes.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::InspectError;
use super::classify::{classify, guarded, is_overload};
use super::credentials::render_config;
use super::engine::{
    Attempted, Content, EngineError, EngineSettings, Task, ended, internal, read_all,
};
use super::guard::{Guard, Pass, Verdict, Way};
use super::limits::small;
use super::manners::Sign;
use super::process::{Outcome, run};
use super::sandbox::{self, Confinement};
use super::scratch::Scratch;
use crate::sync::lock;

/// What crane gets of our environment: where it finds certificates. Its credential and its home come
/// from us, its proxy is our guard, and no host is exempt.
const ENVIRONMENT: &[&str] = &["PATH", "SSL_CERT_FILE", "SSL_CERT_DIR"];

/// The crane program.
pub(super) struct Crane {
    program: PathBuf,
    stop: CancellationToken,
    scratch: Scratch,
    environment: Vec<(&'static str, OsString)>,
    guard: Guard,
    /// Whether the kernel keeps crane from connecting past the guard.
    is_confined: bool,
    /// Files for `SSL_CERT_FILE`, by the bundle that the settings name.
    certificates: Mutex<Vec<(PathBuf, PathBuf)>>,
    version: String,
}

impl Crane {
    /// Starts the guard, and crane once to see that it works. `stop` ends all its processes.
    pub(super) async fn find(
        settings: &EngineSettings,
        way: Arc<Way>,
        stop: CancellationToken,
    ) -> Result<Self, EngineError> {
        let environment = ENVIRONMENT
            .iter()
            .filter_map(|name| std::env::var_os(name).map(|value| (*name, value)))
            .collect();
        let in_cluster = settings.rules.in_cluster;
        let is_confined = in_cluster && sandbox::is_possible();
        if in_cluster && !is_confined {
            tracing::warn!(
                "this kernel cannot confine crane (Landlock, Linux 6.7): a registry could lead it to what listens in this pod itself"
            );
        }
        let guard = Guard::on(way).await;
        let mut crane = Self {
            program: settings.crane.clone(),
            scratch: Scratch::open().map_err(EngineError::Scratch)?,
            environment,
            guard: guard.map_err(EngineError::Guard)?,
            is_confined,
            certificates: Mutex::default(),
            stop,
            version: String::new(),
        };
        crane.version = crane.ask_version(settings.timeout).await?;
        Ok(crane)
    }

    async fn ask_version(&self, timeout: Duration) -> Result<String, EngineError> {
        let program = || self.program.display().to_string();
        let outcome = run(
            self.command(&["version"]),
            Confinement::None,
            small(timeout, 4_096),
            &self.stop,
            read_all,
        )
        .await;
        let outcome = outcome.map_err(|e| EngineError::Start(program(), e))?;
        let version = outcome
            .value
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .unwrap_or_default();
        let version = crate::report::plain(version.trim())
            .chars()
            .take(64)
            .collect::<String>();
        if !outcome.status.success() || version.is_empty() {
            return Err(EngineError::Version(program()));
        }
        Ok(version)
    }

    /// What crane calls its version.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// Runs crane once, with a way through the guard and a credential that end with it.
    pub(super) async fn attempt<T: Send + 'static>(
        &self,
        task: &Task<'_>,
        pass: &Pass,
        read: impl FnOnce(&mut dyn Read) -> T + Send + 'static,
    ) -> Attempted<T> {
        let ran = async {
            let ticket = self.guard.admit(pass.clone())?;
            let config = render_config(task.registry(), task.candidate.credential.as_deref());
            let config = self.scratch.config(&config)?;
            let mut command = self.command(&[task.request.verb()]);
            if task.access.is_insecure {
                command.arg("--insecure");
            }
            command.args(["--", &task.request.reference(task.pull)]);
            for name in ["DOCKER_CONFIG", "HOME"] {
                command.env(name, config.folder());
            }
            for name in ["HTTPS_PROXY", "HTTP_PROXY"] {
                command.env(name, ticket.proxy());
            }
            if let Some(bundle) = &task.access.ca_bundle {
                command.env("SSL_CERT_FILE", self.certificates(bundle)?);
            }
            let confinement = self.confinement(pass);
            let outcome = run(command, confinement, task.limits, &self.stop, read).await?;
            Ok::<_, std::io::Error>((outcome, ticket))
        };
        let (outcome, ticket) = match ran.await {
            Ok(ran) => ran,
            Err(error) => {
                tracing::warn!(%error, "crane could not be run");
                return Attempted::impossible(internal("crane could not be run: see the log"));
            }
        };
        let (error, is_overload) = judge(task, &outcome, ticket.verdict());
        let hosts = if pass.registry.is_past_proxies() {
            vec![pass.registry.clone()]
        } else {
            ticket.hosts()
        };
        let sign = match &error {
            None => Sign::Alive,
            Some(error) => Sign::of(error, is_overload),
        };
        let is_whole = outcome.status.success() && outcome.read_to_end;
        let value = outcome.value;
        Attempted {
            result: error.map_or(Ok(Content { value, is_whole }), Err),
            sign,
            hosts,
        }
    }

    /// A file with a bundle's certificates. crane reads one: what the environment names is still trusted.
    fn certificates(&self, bundle: &Path) -> std::io::Result<PathBuf> {
        let mut known = lock(&self.certificates);
        if let Some((_, file)) = known.iter().find(|(of, _)| of == bundle) {
            return Ok(file.clone());
        }
        let mut text = Vec::new();
        if let Some(own) = std::env::var_os("SSL_CERT_FILE") {
            text.extend(std::fs::read(own)?);
            text.push(b'\n');
        }
        text.extend(std::fs::read(bundle)?);
        let file = self.scratch.certificates(&text)?;
        known.push((bundle.to_owned(), file.clone()));
        Ok(file)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn confinement(&self, pass: &Pass) -> Confinement {
        if !self.is_confined {
            return Confinement::None;
        }
        let guard = self.guard.port();
        // A registry on this machine was allowed by hand, or there would be no pass.
        let is_direct = pass.registry.is_past_proxies();
        let port = if is_direct { pass.registry.port } else { guard };
        Confinement::Ports([guard, port])
    }
}

/// What became of a process, and whether its registry has too much to do.
fn judge<T>(
    task: &Task<'_>,
    outcome: &Outcome<T>,
    verdict: Option<Verdict>,
) -> (Option<InspectError>, bool) {
    let (registry, stderr) = (task.registry(), &outcome.stderr);
    match (outcome.ended, verdict) {
        (Some(reason), _) => (Some(ended(reason, task)), false),
        // A reader that stopped early ends crane by SIGPIPE; that is no failure of the registry.
        (None, _) if outcome.status.success() || !outcome.read_to_end => (None, false),
        (None, Some(verdict)) => (Some(guarded(registry, &verdict, stderr)), false),
        (None, None) => (Some(classify(registry, stderr)), is_overload(stderr)),
    }
}
