//! What both engines have in common: who is asked, how often, within which bounds, and what an answer
//! means. An engine itself only makes one attempt at one thing.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::InspectError;
use super::access::Access;
use super::crane::Crane;
use super::guard::{
    HostPort, Pass, Rules, SystemResolver, Upstream, UpstreamError, Way, check_name,
};
use super::limits::{Ended, Limits};
use super::manners::{Leave, Manners, Reply, Sign};
use super::native::Native;
use super::request::Request;
use super::settings::RegistrySettings;
use super::source::{Candidate, CredentialSource, Pull, Stage};
use crate::image::Repository;
use crate::report::{EngineName, ErrorKind};
use crate::sync::lock;

/// What an attempt may use of the network besides the content that it is for: TLS, tokens, answers that
/// were no success, and crane's own further attempts.
const EXTRA_BYTES: u64 = 8 << 20;

/// How registries are read.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// What reads them.
    pub engine: EngineName,
    /// crane: a path, or a name that is looked for on PATH.
    pub crane: PathBuf,
    /// For manifests and configurations; and the window in which layers must show progress.
    pub timeout: Duration,
    /// Compressed bytes of a layer that are read at the most.
    pub max_layer_bytes: u64,
    /// What may be reached.
    pub rules: Rules,
    /// What is special about which registry.
    pub registries: Arc<RegistrySettings>,
}

/// An engine cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// crane cannot be started.
    #[error(
        "could not start crane ({0}): install it (go install github.com/google/go-containerregistry/cmd/crane@latest), name it with --crane, or do without it by --engine native"
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

/// What makes an attempt.
enum Transport {
    Crane(Box<Crane>),
    Native(Native),
}

/// The registries of a run, behind an engine.
pub struct Engine {
    pub(super) settings: EngineSettings,
    pub(super) credentials: CredentialSource,
    pub(super) stop: CancellationToken,
    transport: Transport,
    manners: Manners,
    registries: Mutex<HashMap<Arc<str>, Arc<Access>>>,
    /// Mirrors that did not do, for the log: each once.
    failing_mirrors: Mutex<HashSet<Arc<str>>>,
    attempts: Option<UnboundedSender<Attempt>>,
}

/// An attempt at a registry, for `check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The registry or mirror.
    pub registry: Arc<str>,
    /// Where its credential came from.
    pub stage: Stage,
    /// The helper that gave it.
    pub helper: Option<Arc<str>>,
    /// Hosts that were reached, in their order; crane asks one on this machine without the guard.
    pub hosts: Vec<HostPort>,
    /// What came of it.
    pub error: Option<InspectError>,
}

/// What an engine is to do.
pub(super) struct Task<'a> {
    /// Of whom, and where it lies.
    pub(super) pull: &'a Pull,
    /// How that is reached.
    pub(super) access: &'a Access,
    /// The credential for it.
    pub(super) candidate: &'a Candidate,
    /// What it asks for.
    pub(super) request: Request<'a>,
    /// What it may take.
    pub(super) limits: Limits,
}

impl Task<'_> {
    /// The registry that is asked.
    pub(super) fn registry(&self) -> &Arc<str> {
        &self.pull.registry
    }
}

/// What was read.
pub(super) struct Content<T> {
    /// What the reader made of it.
    pub(super) value: T,
    /// Whether all was delivered, to the end, and the engine verified its digest.
    pub(super) is_whole: bool,
}

/// How an attempt ended.
pub(super) struct Attempted<T> {
    pub(super) result: Result<Content<T>, InspectError>,
    /// What it says of the registry.
    pub(super) sign: Sign,
    /// Hosts that were reached.
    pub(super) hosts: Vec<HostPort>,
}

impl<T> Attempted<T> {
    /// It could not even begin.
    pub(super) fn impossible(error: InspectError) -> Self {
        Self {
            result: Err(error),
            sign: Sign::Unknown,
            hosts: Vec::new(),
        }
    }
}

impl Engine {
    /// Prepares an engine; crane is started once to see that it works. `stop` ends all that it does.
    pub async fn start(
        settings: EngineSettings,
        credentials: CredentialSource,
        stop: CancellationToken,
    ) -> Result<Self, EngineError> {
        let resolver = SystemResolver {
            absolute: settings.rules.in_cluster,
        };
        let upstream = Upstream::from_environment()?;
        let way = Arc::new(Way::new(settings.rules.clone(), upstream, resolver));
        let transport = match settings.engine {
            EngineName::Crane => {
                let crane = Crane::find(&settings, way, stop.clone()).await?;
                Transport::Crane(Box::new(crane))
            }
            EngineName::Native => Transport::Native(Native::new(way, stop.clone())),
        };
        Ok(Self {
            settings,
            credentials,
            stop,
            transport,
            manners: Manners::default(),
            registries: Mutex::default(),
            failing_mirrors: Mutex::default(),
            attempts: None,
        })
    }

    /// Tells from now on what it does.
    pub fn traced(mut self) -> (Self, UnboundedReceiver<Attempt>) {
        let (sender, receiver) = unbounded_channel();
        self.attempts = Some(sender);
        (self, receiver)
    }

    /// What crane calls its version; none where it is not used.
    pub fn crane_version(&self) -> Option<&str> {
        match &self.transport {
            Transport::Crane(crane) => Some(crane.version()),
            Transport::Native(_) => None,
        }
    }

    /// How a registry is reached.
    pub(super) fn access(&self, registry: &Arc<str>) -> Arc<Access> {
        let mut registries = lock(&self.registries);
        if let Some(access) = registries.get(registry) {
            return Arc::clone(access);
        }
        let entry = self.settings.registries.of(registry);
        let access = Arc::new(Access::new(registry, entry, self.settings.timeout));
        registries.insert(Arc::clone(registry), Arc::clone(&access));
        access
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

    /// Makes an attempt, and another if the registry was only too busy; what was read, if it succeeded
    /// or if `read` had seen enough of it.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        task: &Task<'_>,
        read: impl FnOnce(&mut dyn Read) -> T + Clone + Send + 'static,
    ) -> Result<Content<T>, InspectError> {
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
            let attempted = match &self.transport {
                Transport::Crane(crane) => crane.attempt(task, &pass, read.clone()).await,
                Transport::Native(native) => native.attempt(task, &pass, read.clone()).await,
            };
            let Attempted {
                result,
                sign,
                hosts,
            } = attempted;
            let (error, now) = (result.as_ref().err(), Instant::now());
            self.tell(task, hosts, error);
            let again = self.manners.note(task.registry(), leave, sign, error, now);
            if !again {
                return result;
            }
            before = Some(leave);
        }
    }

    /// What an attempt may reach. A registry that it may not reach is refused here, before anything is
    /// started: crane would go past the guard to `localhost`.
    fn pass(&self, task: &Task<'_>) -> Result<Pass, InspectError> {
        let max_bytes = task.limits.max_bytes.saturating_add(EXTRA_BYTES);
        let mut pass = Pass::new(task.registry(), max_bytes).map_err(|_| {
            let message = "the registry's name is none that can be asked: correct the image";
            InspectError::new(ErrorKind::Invalid, message)
        })?;
        pass.has_credential = task.candidate.credential.is_some();
        pass.plain_http = task.access.is_insecure;
        pass.extra.extend_from_slice(&task.access.hosts);
        check_name(&self.settings.rules, &pass, &pass.registry, false).map_err(|refusal| {
            InspectError::new(ErrorKind::Policy, refusal.sentence(task.registry()))
        })?;
        Ok(pass)
    }

    /// Waits until the registry may be asked.
    async fn leave(&self, task: &Task<'_>, before: Option<Leave>) -> Result<Leave, InspectError> {
        let gap = task.access.gap;
        loop {
            let at = match self
                .manners
                .ask(task.registry(), before, gap, Instant::now())
            {
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

    /// Waits for a permit. After the end no attempt is made, though the ended ones leave theirs.
    async fn unless_over<T>(&self, permit: impl Future<Output = T>) -> Result<T, InspectError> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(over()),
            permit = permit => Ok(permit),
        }
    }

    /// Tells whoever wants to know what came of a task.
    fn tell(&self, task: &Task<'_>, hosts: Vec<HostPort>, error: Option<&InspectError>) {
        if let Some(attempts) = &self.attempts {
            // Nobody listens any more: nothing is lost.
            let _ = attempts.send(Attempt {
                registry: Arc::clone(task.registry()),
                stage: task.candidate.stage,
                helper: task.candidate.helper.clone(),
                hosts,
                error: error.cloned(),
            });
        }
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

/// What it means for an image that we ended an attempt.
pub(super) fn ended(ended: Ended, task: &Task<'_>) -> InspectError {
    let registry = task.registry();
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
