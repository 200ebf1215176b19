//! Reading from registries: the [`Registry`] trait, crane behind it, and the [`guard`] between crane and
//! the network.

mod ambient;
mod classify;
mod crane;
pub mod guard;
mod manners;
mod process;
mod sandbox;

pub use classify::classify;
pub use crane::{Crane, CraneError, CraneSettings};

use std::io::Read;

use crate::image::{Digest, Repository};
use crate::report::ErrorKind;

/// Why something could not be read from a registry: data for a row, not a failure of the run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InspectError {
    /// Its place in the closed list.
    pub kind: ErrorKind,
    /// Our own sentence; nothing that a registry said is in it.
    pub message: String,
}

impl InspectError {
    /// An error with its sentence.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

/// Reads manifests and blobs. Implementations bound time and size; they do not hash: see
/// [`crate::inspect`].
pub trait Registry: Send + Sync + 'static {
    /// The digest that a tag names now.
    fn resolve(
        &self,
        repository: &Repository,
        tag: &str,
    ) -> impl Future<Output = Result<Digest, InspectError>> + Send;

    /// A manifest's or index's bytes, as they came.
    fn manifest(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> impl Future<Output = Result<Vec<u8>, InspectError>> + Send;

    /// A small blob's bytes, as they came: a configuration.
    fn configuration(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> impl Future<Output = Result<Vec<u8>, InspectError>> + Send;

    /// Streams a layer through `read` on a thread that may block. `Ok` with `true` means that the
    /// whole layer was delivered and the engine verified its digest. A clone of `read` begins anew
    /// where the registry was too busy at first.
    fn layer<T: Send + 'static>(
        &self,
        repository: &Repository,
        digest: &Digest,
        read: impl FnOnce(&mut dyn Read) -> T + Clone + Send + 'static,
    ) -> impl Future<Output = Result<(T, bool), InspectError>> + Send;
}
