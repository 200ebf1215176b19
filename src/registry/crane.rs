//! crane as a [`Registry`]: rebuilt references after `--`, a cleared environment, bounded processes.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::credentials::render_config;
use super::process::{Ended, Limits, Outcome, run};
use super::scratch::Scratch;
use super::source::{Candidate, CredentialSource, Pull, Turn};
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

/// What crane gets of our environment: where it finds certificates and proxies. Its credential comes
/// from us, and so does its home.
const ENVIRONMENT: &[&str] = &[
    "PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "https_proxy",
    "http_proxy",
    "no_proxy",
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
}

/// The crane program.
pub struct Crane {
    settings: CraneSettings,
    credentials: CredentialSource,
    scratch: Scratch,
    environment: Vec<(&'static str, OsString)>,
    permits: Arc<Semaphore>,
    stop: CancellationToken,
    version: String,
}

impl Crane {
    /// Starts crane once to see that it works. `stop` ends all its processes.
    pub async fn find(
        settings: CraneSettings,
        credentials: CredentialSource,
        stop: CancellationToken,
    ) -> Result<Self, CraneError> {
        let environment = ENVIRONMENT
            .iter()
            .filter_map(|name| std::env::var_os(name).map(|value| (*name, value)))
            .collect();
        let permits = Arc::new(Semaphore::new(settings.concurrency));
        let mut crane = Self {
            settings,
            credentials,
            scratch: Scratch::open().map_err(CraneError::Scratch)?,
            environment,
            permits,
            stop,
            version: String::new(),
        };
        let program = || crane.settings.program.display().to_string();
        let outcome = run(
            crane.command(&["version"]),
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

    /// Starts crane with one credential, or with none.
    async fn start<T: Send + 'static>(
        &self,
        repository: &Repository,
        candidate: &Candidate,
        verb: &str,
        reference: &str,
        limits: Limits,
        read: impl FnOnce(&mut dyn Read) -> T + Send + 'static,
    ) -> Result<Outcome<T>, InspectError> {
        let permit = tokio::select! {
            // After the end no crane is started, though the ended ones leave their permits.
            biased;
            () = self.stop.cancelled() => return Err(ended(Ended::Cancelled, limits, repository)),
            permit = self.permits.acquire() => permit,
        };
        let _permit = permit.map_err(|_| ended(Ended::Cancelled, limits, repository))?;
        let config = render_config(&repository.registry, candidate.credential.as_deref());
        let config = self.scratch.config(&config).map_err(|error| {
            tracing::warn!(%error, "a credential could not be written for crane");
            InspectError::new(ErrorKind::Internal, "crane could not be run: see the log")
        })?;
        let mut command = self.command(&[verb, "--", reference]);
        command
            .env("DOCKER_CONFIG", config.folder())
            .env("HOME", config.folder());
        let outcome = run(command, limits, &self.stop, read).await;
        let outcome = outcome.map_err(|error| {
            tracing::warn!(%error, "crane could not be run");
            InspectError::new(ErrorKind::Internal, "crane could not be run: see the log")
        })?;
        match outcome.ended {
            Some(reason) => Err(ended(reason, limits, repository)),
            None => Ok(outcome),
        }
    }

    /// The next credential to try, unless the run is over.
    async fn next(&self, turn: &mut Turn<'_>) -> Option<Candidate> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => turn.next_known(),
            candidate = turn.next() => candidate,
        }
    }

    async fn small_blob(
        &self,
        pull: &Pull,
        verb: &str,
        reference: &str,
        max_bytes: u64,
    ) -> Result<Vec<u8>, InspectError> {
        let mut turn = self.credentials.turn(pull);
        while let Some(candidate) = self.next(&mut turn).await {
            let limits = self.small(max_bytes);
            let outcome = self.start(pull, &candidate, verb, reference, limits, read_all);
            let result = match outcome.await {
                Ok(outcome) if outcome.status.success() => outcome.value.map_err(|_| {
                    InspectError::new(ErrorKind::Internal, "crane's output could not be read")
                }),
                Ok(outcome) => Err(classify(&pull.registry, &outcome.stderr)),
                Err(error) => Err(error),
            };
            if !turn.is_refused(&candidate, result.as_ref().err()).await {
                return result;
            }
        }
        Err(turn.refusal())
    }

    /// A layer, with one credential.
    async fn layer_with<T: Send + 'static>(
        &self,
        pull: &Pull,
        candidate: &Candidate,
        digest: &Digest,
        limits: Limits,
        read: impl FnOnce(&mut dyn Read) -> T + Send + 'static,
    ) -> Result<(T, bool), InspectError> {
        let reference = pull.at_digest(digest);
        let outcome = self.start(pull, candidate, "blob", &reference, limits, read);
        let outcome = outcome.await?;
        if outcome.status.success() {
            return Ok((outcome.value, outcome.read_to_end));
        }
        // A reader that stopped early ends crane by SIGPIPE; that is no failure of the registry.
        if outcome.read_to_end {
            Err(classify(&pull.registry, &outcome.stderr))
        } else {
            Ok((outcome.value, false))
        }
    }
}

/// What it means for an image that we ended its process.
fn ended(ended: Ended, limits: Limits, repository: &Repository) -> InspectError {
    let registry = &repository.registry;
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
    async fn resolve(&self, pull: &Pull, tag: &str) -> Result<Digest, InspectError> {
        let bytes = self
            .small_blob(pull, "digest", &pull.at_tag(tag), 4_096)
            .await?;
        let text = String::from_utf8(bytes).unwrap_or_default();
        text.trim().parse().map_err(|_| {
            let registry = &pull.registry;
            InspectError::new(
                ErrorKind::Invalid,
                format!("{registry} did not answer with a digest for this tag"),
            )
        })
    }

    async fn manifest(&self, pull: &Pull, digest: &Digest) -> Result<Vec<u8>, InspectError> {
        self.small_blob(
            pull,
            "manifest",
            &pull.at_digest(digest),
            MAX_MANIFEST_BYTES,
        )
        .await
    }

    async fn configuration(&self, pull: &Pull, digest: &Digest) -> Result<Vec<u8>, InspectError> {
        self.small_blob(
            pull,
            "blob",
            &pull.at_digest(digest),
            MAX_CONFIGURATION_BYTES,
        )
        .await
    }

    async fn layer<T: Send + 'static>(
        &self,
        pull: &Pull,
        digest: &Digest,
        read: impl Fn(&mut dyn Read) -> T + Clone + Send + 'static,
    ) -> Result<(T, bool), InspectError> {
        let window = self.settings.timeout;
        let limits = Limits {
            time: MAX_LAYER_TIME.max(window),
            pace_window: Some(window),
            min_bytes: MIN_LAYER_BYTES_PER_SECOND * window.as_secs().max(1),
            // The scan ends at its own limit, which is this one; some room is left for it to notice.
            max_bytes: self.settings.max_layer_bytes + (1 << 20),
        };
        let mut turn = self.credentials.turn(pull);
        while let Some(candidate) = self.next(&mut turn).await {
            let result = self.layer_with(pull, &candidate, digest, limits, read.clone());
            let result = result.await;
            if !turn.is_refused(&candidate, result.as_ref().err()).await {
                return result;
            }
        }
        Err(turn.refusal())
    }
}
