//! Reading from registries: the [`Registry`] trait, an engine behind it, crane or our own, and the
//! [`guard`] between that and the network.

mod access;
mod classify;
mod crane;
pub mod credentials;
#[cfg(test)]
mod credentials_tests;
mod engine;
mod fetch;
pub mod guard;
pub mod helper;
mod limits;
mod manners;
mod native;
pub mod pattern;
mod process;
mod request;
mod sandbox;
pub mod scratch;
pub mod settings;
#[cfg(test)]
mod settings_tests;
pub mod source;

pub use classify::classify;
pub use engine::{Attempt, Engine, EngineError, EngineSettings};

use std::io::Read;
use std::sync::Arc;

use self::source::Pull;
use crate::image::Digest;
use crate::report::ErrorKind;

/// Why something could not be read from a registry: data for a row, not a failure of the run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InspectError {
    /// Its place in the closed list.
    pub kind: ErrorKind,
    /// Our own sentence; nothing that a registry said is in it.
    pub message: String,
    /// Nobody was asked: it is no failure of the registry's, but left for another night.
    pub is_skipped: bool,
}

impl InspectError {
    /// An error with its sentence.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            is_skipped: matches!(
                kind,
                ErrorKind::Deadline | ErrorKind::NotRunning | ErrorKind::Policy
            ),
        }
    }

    /// The same, of an image that nobody was asked for.
    pub fn skipped(self) -> Self {
        Self {
            is_skipped: true,
            ..self
        }
    }
}

/// What was read, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<T> {
    /// The content.
    pub value: T,
    /// The mirror that answered; none for the registry itself.
    pub via: Option<Arc<str>>,
}

/// Reads manifests and blobs. Implementations bound time and size; they do not hash: see
/// [`crate::inspect`].
pub trait Registry: Send + Sync + 'static {
    /// The digest that a tag names now.
    fn resolve(
        &self,
        pull: &Pull,
        tag: &str,
    ) -> impl Future<Output = Result<Digest, InspectError>> + Send;

    /// A manifest's or index's bytes, as they came. A `child` finishes what an index began: it is asked
    /// for beyond a budget.
    fn manifest(
        &self,
        pull: &Pull,
        digest: &Digest,
        child: bool,
    ) -> impl Future<Output = Result<Answer<Vec<u8>>, InspectError>> + Send;

    /// A small blob's bytes, as they came: a configuration.
    fn configuration(
        &self,
        pull: &Pull,
        digest: &Digest,
    ) -> impl Future<Output = Result<Answer<Vec<u8>>, InspectError>> + Send;

    /// Streams a layer through `read` on a thread that may block. `Ok` with `true` means that the
    /// whole layer was delivered and the engine verified its digest. A clone of `read` begins anew with
    /// each credential and mirror, and where the registry was too busy at first.
    fn layer<T: Send + 'static>(
        &self,
        pull: &Pull,
        digest: &Digest,
        read: impl FnOnce(&mut dyn Read) -> T + Clone + Send + 'static,
    ) -> impl Future<Output = Result<(T, bool), InspectError>> + Send;
}
