//! The crane program: a cleared environment, one credential, a way through the guard, bounded processes.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::InspectError;
use super::access::Access;
use super::classify::{classify, guarded, is_overload};
use super::credentials::render_config;
use super::guard::{
    Guard, HostPort, Pass, Rules, SystemResolver, Upstream, UpstreamError, Verdict, check_name,
};
use super::manners::{Leave, Manners, Reply, Sign};
use super::process::{Ended, Limits, Outcome, run};
use super::sandbox::{self, Confinement};
use super::scratch::Scratch;
use super::settings::RegistrySettings;
use super::source::{Candidate, CredentialSource, Stage};
use crate::image::Repository;
use crate::report::ErrorKind;
use crate::sync::lock;

/// What a process may use of the network besides the content that it is for: TLS, tokens, answers that
/// were no success, and crane's own further attempts.
const EXTRA_BYTES: u64 = 8 << 20;

/// What crane gets of our environment: where it finds certificates. Its credential and its home come
/// from us, its proxy is our guard, and no host is exempt.
const ENVIRONMENT: &[&str] = &["PATH", "SSL_CERT_FILE", "SSL_CERT_DIR"];

/// How crane is run.
#[derive(Debug, Clone)]
pub struct CraneSettings {
    /// A path, or a name that is looked for on PATH.
    pub program: PathBuf,
    /// For manifests and configurations; and the window in which layers must show progress.
    pub timeout: Duration,
    /// Compressed bytes of a layer that are read at the most.
    pub max_layer_bytes: u64,
    /// What crane may reach.
    pub rules: Rules,
    /// What is special about which registry.
    pub registries: Arc<RegistrySettings>,
}

/// crane cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum CraneError {
    /// It cannot be started.
    #[error(
        "could not start crane ({0}): install it (go install github.com/google/go-containerregistry/cmd/crane), or name it with --crane"
    )]
    Start(String, #[source] std::io::Error),
    /// It starts, but does not answer.
    #[error("{0} does not answer `version`: is it crane?")]
    Version(String),
    /// There is no place for its credentials.
    #[error(
        "could not make a private folder for credentials: set TMPDIR to one that can be written to"
    )]
    Scratch(#[source] std::io::Error),
    /// The proxies of the environment cannot be used.
    #[error(transparent)]
    Proxy(#[from] UpstreamError),
    /// The guard cannot listen.
    #[error("the guard between crane and the network could not listen on 127.0.0.1")]
    Guard(#[source] std::io::Error),
}

/// The crane program.
pub struct Crane {
    pub(super) settings: CraneSettings,
    pub(super) credentials: CredentialSource,
    pub(super) stop: CancellationToken,
    scratch: Scratch,
    environment: Vec<(&'static str, OsString)>,
    guard: Guard,
    /// Whether the kernel keeps crane from connecting past the guard.
    is_confined: bool,
    manners: Manners,
    registries: Mutex<HashMap<Arc<str>, Arc<Access>>>,
    /// Mirrors that did not do, for the log: each once.
    failing_mirrors: Mutex<HashSet<Arc<str>>>,
    attempts: Option<UnboundedSender<Attempt>>,
    version: String,
}

/// A process that asked a registry, for `check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The registry or mirror.
    pub registry: Arc<str>,
    /// Where its credential came from.
    pub stage: Stage,
    /// The helper that gave it.
    pub helper: Option<Arc<str>>,
    /// Hosts that were connected to, in their order; one on this machine is asked without the guard.
    pub hosts: Vec<HostPort>,
    /// What came of it.
    pub error: Option<InspectError>,
}

/// What crane is run for.
pub(super) struct Task<'a> {
    /// The registry that it asks.
    pub(super) registry: &'a Arc<str>,
    /// How that is reached.
    pub(super) access: &'a Access,
    /// The credential that it gets.
    pub(super) candidate: &'a Candidate,
    /// crane's subcommand.
    pub(super) verb: &'static str,
    /// What it asks for.
    pub(super) reference: String,
    /// What it may take.
    pub(super) limits: Limits,
}

impl Crane {
    /// Starts the guard, and crane once to see that it works. `stop` ends all its processes.
    pub async fn find(
        settings: CraneSettings,
        credentials: CredentialSource,
        stop: CancellationToken,
    ) -> Result<Self, CraneError> {
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
        let resolver = SystemResolver {
            absolute: in_cluster,
        };
        let upstream = Upstream::from_environment()?;
        let guard = Guard::start(settings.rules.clone(), upstream, resolver).await;
        let mut crane = Self {
            credentials,
            scratch: Scratch::open().map_err(CraneError::Scratch)?,
            environment,
            guard: guard.map_err(CraneError::Guard)?,
            is_confined,
            manners: Manners::default(),
            registries: Mutex::default(),
            failing_mirrors: Mutex::default(),
            attempts: None,
            settings,
            stop,
            version: String::new(),
        };
        let program = || crane.settings.program.display().to_string();
        let outcome = run(
            crane.command(&["version"]),
            Confinement::None,
            small(crane.settings.timeout, 4_096),
            &crane.stop,
            read_all,
        )
        .await;
        let outcome = outcome.map_err(|e| CraneError::Start(program(), e))?;
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
            return Err(CraneError::Version(program()));
        }
        crane.version = version;
        Ok(crane)
    }

    /// Tells from now on what it does.
    pub fn traced(mut self) -> (Self, UnboundedReceiver<Attempt>) {
        let (sender, receiver) = unbounded_channel();
        self.attempts = Some(sender);
        (self, receiver)
    }

    /// What crane calls its version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// How a registry is reached.
    pub(super) fn access(&self, registry: &Arc<str>) -> Result<Arc<Access>, InspectError> {
        let mut registries = lock(&self.registries);
        if let Some(access) = registries.get(registry) {
            return Ok(Arc::clone(access));
        }
        let entry = self.settings.registries.of(registry);
        let access = Access::new(registry, entry, self.settings.timeout, &self.scratch);
        let access = Arc::new(access.map_err(|error| {
            tracing::warn!(%error, "a registry's certificates could not be prepared for crane");
            internal("crane could not be run: see the log")
        })?);
        registries.insert(Arc::clone(registry), Arc::clone(&access));
        Ok(access)
    }

    /// Says once that a mirror does not do; that it has not got an image yet is nothing.
    pub(super) fn note_mirror(&self, mirror: &Repository, error: &InspectError) {
        let mut failing = lock(&self.failing_mirrors);
        if error.kind != ErrorKind::NotFound && failing.insert(Arc::clone(&mirror.registry)) {
            let (mirror, reason) = (&*mirror.registry, &*error.message);
            tracing::warn!(
                mirror,
                reason,
                "a mirror does not do: the registry is asked"
            );
        }
    }

    /// Runs crane, again if the registry was only too busy; its output, if it succeeded or if `read`
    /// had seen enough of it.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        task: &Task<'_>,
        read: impl FnOnce(&mut dyn Read) -> T + Clone + Send + 'static,
    ) -> Result<Outcome<T>, InspectError> {
        let not_asked = |error| {
            self.tell(task, Vec::new(), Some(&error));
            error
        };
        let pass = self.pass(task).map_err(not_asked)?;
        let mut before = None;
        loop {
            // Before the leave: those who wait with one in their hand would come in a heap.
            let _slot = self.unless_over(task.access.permit()).await?;
            let leave = self.leave(task, before).await.map_err(not_asked)?;
            let (result, sign) = self.attempt(task, &pass, read.clone()).await;
            let (error, now) = (result.as_ref().err(), Instant::now());
            let again = self.manners.note(task.registry, leave, sign, error, now);
            if !again {
                return result;
            }
            before = Some(leave);
        }
    }

    /// What a process may reach. A registry that it may not reach is refused here, before anything is
    /// started: crane would go past the guard to `localhost`.
    pub(super) fn pass(&self, task: &Task<'_>) -> Result<Pass, InspectError> {
        let max_bytes = task.limits.max_bytes.saturating_add(EXTRA_BYTES);
        let mut pass = Pass::new(task.registry, max_bytes).map_err(|_| {
            let message = "the registry's name is none that can be asked: correct the image";
            InspectError::new(ErrorKind::Invalid, message)
        })?;
        pass.has_credential = task.candidate.credential.is_some();
        pass.plain_http = task.access.is_insecure;
        pass.extra.extend_from_slice(&task.access.hosts);
        check_name(self.guard.rules(), &pass, &pass.registry, false).map_err(|refusal| {
            InspectError::new(ErrorKind::Policy, refusal.sentence(task.registry))
        })?;
        Ok(pass)
    }

    /// Waits until the registry may be asked.
    async fn leave(&self, task: &Task<'_>, before: Option<Leave>) -> Result<Leave, InspectError> {
        let gap = task.access.gap;
        loop {
            let at = match self.manners.ask(task.registry, before, gap, Instant::now()) {
                Reply::Now(leave) => return Ok(leave),
                Reply::Never(error) => return Err(error),
                Reply::At(at) => at,
            };
            tokio::select! {
                () = sleep_until(at) => {}
                () = self.stop.cancelled() => return Err(over()),
            }
        }
    }

    /// Waits for a permit. After the end no crane is started, though the ended ones leave theirs.
    async fn unless_over<T>(&self, permit: impl Future<Output = T>) -> Result<T, InspectError> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(over()),
            permit = permit => Ok(permit),
        }
    }

    /// Runs crane once, with a way through the guard and a credential that end with it.
    async fn attempt<T: Send + 'static>(
        &self,
        task: &Task<'_>,
        pass: &Pass,
        read: impl FnOnce(&mut dyn Read) -> T + Send + 'static,
    ) -> (Result<Outcome<T>, InspectError>, Sign) {
        let failed = |error| (Err(error), Sign::Unknown);
        let ran = async {
            let ticket = self.guard.admit(pass.clone())?;
            let config = render_config(task.registry, task.candidate.credential.as_deref());
            let config = self.scratch.config(&config)?;
            let mut command = self.command(&[task.verb]);
            if task.access.is_insecure {
                command.arg("--insecure");
            }
            command.args(["--", &task.reference]);
            for name in ["DOCKER_CONFIG", "HOME"] {
                command.env(name, config.folder());
            }
            for name in ["HTTPS_PROXY", "HTTP_PROXY"] {
                command.env(name, ticket.proxy());
            }
            if let Some(certificates) = &task.access.certificates {
                command.env("SSL_CERT_FILE", certificates);
            }
            let confinement = self.confinement(pass);
            let outcome = run(command, confinement, task.limits, &self.stop, read).await?;
            Ok::<_, std::io::Error>((outcome, ticket))
        };
        let (outcome, ticket) = match ran.await {
            Ok(ran) => ran,
            Err(error) => {
                tracing::warn!(%error, "crane could not be run");
                return failed(internal("crane could not be run: see the log"));
            }
        };
        let (error, is_overload) = judge(task, &outcome, ticket.verdict());
        let hosts = if pass.registry.is_past_proxies() {
            vec![pass.registry.clone()]
        } else {
            ticket.hosts()
        };
        self.tell(task, hosts, error.as_ref());
        match error {
            None => (Ok(outcome), Sign::Alive),
            Some(error) => {
                let sign = Sign::of(&error, is_overload);
                (Err(error), sign)
            }
        }
    }

    /// Tells whoever wants to know what came of a task.
    fn tell(&self, task: &Task<'_>, hosts: Vec<HostPort>, error: Option<&InspectError>) {
        if let Some(attempts) = &self.attempts {
            // Nobody listens any more: nothing is lost.
            let _ = attempts.send(Attempt {
                registry: Arc::clone(task.registry),
                stage: task.candidate.stage,
                helper: task.candidate.helper.clone(),
                hosts,
                error: error.cloned(),
            });
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(Path::new(&self.settings.program));
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
    let stderr = &outcome.stderr;
    match (outcome.ended, verdict) {
        (Some(reason), _) => (Some(ended(reason, task)), false),
        // A reader that stopped early ends crane by SIGPIPE; that is no failure of the registry.
        (None, _) if outcome.status.success() || !outcome.read_to_end => (None, false),
        (None, Some(verdict)) => (Some(guarded(task.registry, &verdict, stderr)), false),
        (None, None) => (Some(classify(task.registry, stderr)), is_overload(stderr)),
    }
}

/// Limits of small content.
pub(super) fn small(time: Duration, max_bytes: u64) -> Limits {
    Limits {
        time,
        pace_window: None,
        min_bytes: 0,
        max_bytes,
    }
}

pub(super) fn read_all(reader: &mut dyn Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).map(|_| bytes)
}

pub(super) fn internal(message: &str) -> InspectError {
    InspectError::new(ErrorKind::Internal, message)
}

/// The run is over.
fn over() -> InspectError {
    let message =
        "the run ended before this image was inspected: raise --deadline or --concurrency";
    InspectError::new(ErrorKind::Deadline, message)
}

/// What it means for an image that we ended its process.
fn ended(ended: Ended, task: &Task<'_>) -> InspectError {
    let registry = task.registry;
    match ended {
        Ended::Cancelled => over(),
        Ended::Time => InspectError::new(
            ErrorKind::Timeout,
            format!(
                "{registry} did not finish within {} s: see whether it is up, or raise --crane-timeout (or its timeout in --registries)",
                task.limits.time.as_secs_f32()
            ),
        ),
        Ended::Pace => InspectError::new(
            ErrorKind::Timeout,
            format!(
                "{registry} sends too slowly: see whether it is well, or raise --crane-timeout"
            ),
        ),
        Ended::TooLarge => InspectError::new(
            ErrorKind::Policy,
            format!(
                "{registry} sent more than the limit for this kind of content: nothing of it is used"
            ),
        ),
    }
}
