//! crane as a [`Registry`]: rebuilt references after `--`, a cleared environment, bounded processes.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::ambient::Ambient;
use super::classify::{guarded, is_overload};
use super::guard::{Guard, Pass, Rules, SystemResolver, Upstream, UpstreamError, check_name};
use super::manners::{Manners, Reply, Sign, Turn};
use super::process::{Ended, Limits, Outcome, run};
use super::sandbox::{self, Confinement};
use super::{InspectError, Registry, classify};
use crate::image::{Digest, Repository};
use crate::report::ErrorKind;

/// A manifest's limit, the one that the OCI distribution specification asks registries for.
const MAX_MANIFEST_BYTES: u64 = 4 << 20;
/// A configuration's limit; real ones stay below 100 KiB.
const MAX_CONFIGURATION_BYTES: u64 = 8 << 20;
/// A layer may take this long in all; 512 MiB at the slowest allowed pace would take longer.
const MAX_LAYER_TIME: Duration = Duration::from_secs(30 * 60);
/// A layer's least pace: slower than this a second, it would not end in a night.
const MIN_LAYER_BYTES_PER_SECOND: u64 = 4 * 1024;

/// What a process may use of the network besides the content that it is for: TLS, tokens, answers that
/// were no success, and crane's own further attempts.
const EXTRA_BYTES: u64 = 8 << 20;

/// What crane gets of our environment: where it finds credentials and certificates. Its proxy is our
/// guard, and no host is exempt.
const ENVIRONMENT: &[&str] = &[
    "PATH",
    "HOME",
    "DOCKER_CONFIG",
    "REGISTRY_AUTH_FILE",
    "XDG_RUNTIME_DIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    // What the credential helpers of the clouds need of a workload's identity: names, and paths of
    // tokens that a pod has for itself. Keys, such as AWS_SECRET_ACCESS_KEY, are the store's.
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_STS_REGIONAL_ENDPOINTS",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AZURE_CLIENT_ID",
    "AZURE_TENANT_ID",
    "AZURE_AUTHORITY_HOST",
    "AZURE_FEDERATED_TOKEN_FILE",
];

/// How crane is run.
#[derive(Debug, Clone)]
pub struct CraneSettings {
    /// A path, or a name that is looked for on PATH.
    pub program: PathBuf,
    /// For manifests and configurations; and the window in which layers must show progress.
    pub timeout: Duration,
    /// Compressed bytes of a layer that are read at the most.
    pub max_layer_bytes: u64,
    /// Processes at once.
    pub concurrency: usize,
    /// What crane may reach.
    pub rules: Rules,
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
    /// The proxies of the environment cannot be used.
    #[error(transparent)]
    Proxy(#[from] UpstreamError),
    /// The guard cannot listen.
    #[error("the guard between crane and the network could not listen on 127.0.0.1")]
    Guard(#[source] std::io::Error),
}

/// The crane program.
pub struct Crane {
    settings: CraneSettings,
    environment: Vec<(&'static str, OsString)>,
    ambient: Ambient,
    guard: Guard,
    /// Whether the kernel keeps crane from connecting past the guard.
    is_confined: bool,
    permits: Arc<Semaphore>,
    manners: Manners,
    stop: CancellationToken,
    version: String,
}

impl Crane {
    /// Starts the guard, and crane once to see that it works. `stop` ends all its processes.
    pub async fn find(
        settings: CraneSettings,
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
            environment,
            ambient: Ambient::read(),
            guard: guard.map_err(CraneError::Guard)?,
            is_confined,
            permits: Arc::new(Semaphore::new(settings.concurrency)),
            manners: Manners::default(),
            settings,
            stop,
            version: String::new(),
        };
        let program = || crane.settings.program.display().to_string();
        let outcome = run(
            crane.command(&["version"]),
            Confinement::None,
            crane.small(4_096),
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

    /// What crane calls its version.
    pub fn version(&self) -> &str {
        &self.version
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(Path::new(&self.settings.program));
        command
            .args(arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn small(&self, max_bytes: u64) -> Limits {
        Limits {
            time: self.settings.timeout,
            pace_window: None,
            min_bytes: 0,
            max_bytes,
        }
    }

    /// What a process for this registry may reach. A registry that it may not reach is refused here,
    /// before anything is started: crane would go past the guard to `localhost`.
    fn pass(&self, registry: &str, limits: Limits) -> Result<Pass, InspectError> {
        let pass = Pass::new(registry, limits.max_bytes.saturating_add(EXTRA_BYTES));
        let mut pass = pass.map_err(|_| {
            let message = "the registry's name is none that can be asked: correct the image";
            InspectError::new(ErrorKind::Invalid, message)
        })?;
        pass.has_credential = self.ambient.has(registry);
        check_name(self.guard.rules(), &pass, &pass.registry, false)
            .map_err(|refusal| InspectError::new(ErrorKind::Policy, refusal.sentence(registry)))?;
        Ok(pass)
    }

    /// Runs crane, again if the registry was only too busy; its output, if it succeeded or if `read`
    /// had seen enough of it.
    async fn start<T: Send + 'static>(
        &self,
        repository: &Repository,
        verb: &str,
        reference: &str,
        limits: Limits,
        read: impl FnOnce(&mut dyn Read) -> T + Clone + Send + 'static,
    ) -> Result<Outcome<T>, InspectError> {
        let registry = &repository.registry;
        let pass = self.pass(registry, limits)?;
        let arguments = [verb, "--", reference];
        let mut before = None;
        loop {
            let turn = self.turn(registry, before, limits).await?;
            let (result, sign) = self
                .attempt(&pass, registry, &arguments, limits, read.clone())
                .await;
            let (error, now) = (result.as_ref().err(), Instant::now());
            if !self.manners.note(registry, turn, sign, error, now) {
                return result;
            }
            before = Some(turn);
        }
    }

    /// Waits until the registry may be asked.
    async fn turn(
        &self,
        registry: &Arc<str>,
        before: Option<Turn>,
        limits: Limits,
    ) -> Result<Turn, InspectError> {
        loop {
            let at = match self.manners.ask(registry, before, Instant::now()) {
                Reply::Now(turn) => return Ok(turn),
                Reply::Never(error) => return Err(error),
                Reply::At(at) => at,
            };
            tokio::select! {
                () = sleep_until(at) => {}
                () = self.stop.cancelled() => return Err(ended(Ended::Cancelled, limits, registry)),
            }
        }
    }

    /// Runs crane once, with a way through the guard that ends with it.
    async fn attempt<T: Send + 'static>(
        &self,
        pass: &Pass,
        registry: &str,
        arguments: &[&str],
        limits: Limits,
        read: impl FnOnce(&mut dyn Read) -> T + Send + 'static,
    ) -> (Result<Outcome<T>, InspectError>, Sign) {
        let failed = |error| (Err(error), Sign::Unknown);
        let permit = tokio::select! {
            // After the end no crane is started, though the ended ones leave their permits.
            biased;
            () = self.stop.cancelled() => None,
            permit = self.permits.acquire() => permit.ok(),
        };
        let Some(_permit) = permit else {
            return failed(ended(Ended::Cancelled, limits, registry));
        };
        let ran = async {
            let ticket = self.guard.admit(pass.clone())?;
            let mut command = self.command(arguments);
            for name in ["HTTPS_PROXY", "HTTP_PROXY"] {
                command.env(name, ticket.proxy());
            }
            let confinement = self.confinement(pass);
            let outcome = run(command, confinement, limits, &self.stop, read).await?;
            Ok::<_, std::io::Error>((outcome, ticket.verdict()))
        };
        let (outcome, verdict) = match ran.await {
            Ok(ran) => ran,
            Err(error) => {
                tracing::warn!(%error, "crane could not be run");
                let message = "crane could not be run: see the log";
                return failed(InspectError::new(ErrorKind::Internal, message));
            }
        };
        let (error, is_overload) = match (outcome.ended, verdict) {
            (Some(reason), _) => (ended(reason, limits, registry), false),
            // A reader that stopped early ends crane by SIGPIPE; that is no failure of the registry.
            (None, _) if outcome.status.success() || !outcome.read_to_end => {
                return (Ok(outcome), Sign::Alive);
            }
            (None, Some(verdict)) => (guarded(registry, &verdict, &outcome.stderr), false),
            (None, None) => {
                let stderr = &outcome.stderr;
                (classify(registry, stderr), is_overload(stderr))
            }
        };
        let sign = Sign::of(&error, is_overload);
        (Err(error), sign)
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

    async fn small_blob(
        &self,
        repository: &Repository,
        verb: &str,
        reference: &str,
        max_bytes: u64,
    ) -> Result<Vec<u8>, InspectError> {
        let outcome = self
            .start(repository, verb, reference, self.small(max_bytes), read_all)
            .await?;
        let broken = |_| InspectError::new(ErrorKind::Internal, "crane's output could not be read");
        outcome.value.map_err(broken)
    }
}

/// What it means for an image that we ended its process.
fn ended(ended: Ended, limits: Limits, registry: &str) -> InspectError {
    match ended {
        Ended::Cancelled => InspectError::new(
            ErrorKind::Deadline,
            "the run ended before this image was inspected: raise --deadline or --concurrency",
        ),
        Ended::Time => InspectError::new(
            ErrorKind::Timeout,
            format!(
                "{registry} did not finish within {}: see whether it is up, or raise --crane-timeout",
                seconds(limits.time)
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

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f32())
}

fn read_all(reader: &mut dyn Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).map(|_| bytes)
}

impl Registry for Crane {
    async fn resolve(&self, repository: &Repository, tag: &str) -> Result<Digest, InspectError> {
        let bytes = self
            .small_blob(repository, "digest", &repository.at_tag(tag), 4_096)
            .await?;
        let text = String::from_utf8(bytes).unwrap_or_default();
        text.trim().parse().map_err(|_| {
            let registry = &repository.registry;
            InspectError::new(
                ErrorKind::Invalid,
                format!("{registry} did not answer with a digest for this tag"),
            )
        })
    }

    async fn manifest(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Vec<u8>, InspectError> {
        self.small_blob(
            repository,
            "manifest",
            &repository.at_digest(digest),
            MAX_MANIFEST_BYTES,
        )
        .await
    }

    async fn configuration(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Vec<u8>, InspectError> {
        self.small_blob(
            repository,
            "blob",
            &repository.at_digest(digest),
            MAX_CONFIGURATION_BYTES,
        )
        .await
    }

    async fn layer<T: Send + 'static>(
        &self,
        repository: &Repository,
        digest: &Digest,
        read: impl FnOnce(&mut dyn Read) -> T + Clone + Send + 'static,
    ) -> Result<(T, bool), InspectError> {
        let window = self.settings.timeout;
        let limits = Limits {
            time: MAX_LAYER_TIME.max(window),
            pace_window: Some(window),
            min_bytes: MIN_LAYER_BYTES_PER_SECOND * window.as_secs().max(1),
            // The scan ends at its own limit, which is this one; some room is left for it to notice.
            max_bytes: self.settings.max_layer_bytes + (1 << 20),
        };
        let outcome = self
            .start(
                repository,
                "blob",
                &repository.at_digest(digest),
                limits,
                read,
            )
            .await?;
        let is_whole = outcome.status.success() && outcome.read_to_end;
        Ok((outcome.value, is_whole))
    }
}
