//! Where runs are kept: keys, the [`Store`] trait, the folder store and the object store.
//!
//! A store creates objects by a writer that is committed or aborted, reads, lists and deletes them. It
//! never overwrites one but `latest`, and knows nothing of reports.

mod keys;
mod local;
mod location;
mod s3;

pub use keys::{ClusterName, Format, NameError, RunId, RunKey, latest_key};
pub use local::LocalStore;
pub use location::{LocationError, StoreLocation};
pub use s3::{Checksum, Encryption, Endpoint, S3Settings, S3SettingsError, S3Store};

use std::time::SystemTime;

use async_trait::async_trait;

use crate::image::Sha256Writer;
use crate::report::{Chunk, Compression, FactsEntry, FileEntry, compressed};

/// Why a store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file could not be written, read or listed.
    #[error("could not {action} {path}: {advice}")]
    Local {
        /// `write`, `read` …
        action: &'static str,
        /// The file or folder.
        path: String,
        /// What to do.
        advice: &'static str,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// An object could not be written, read or listed.
    #[error("could not {action} {location} at {endpoint}: {code}: {advice}")]
    Remote {
        /// `write`, `read` …
        action: &'static str,
        /// Bucket and key.
        location: String,
        /// The service's address.
        endpoint: String,
        /// The service's code, or our name for what came before an answer.
        code: String,
        /// What to do.
        advice: &'static str,
    },
}

/// An object's content.
pub type ObjectReader = Box<dyn tokio::io::AsyncRead + Send + Unpin>;

/// Keeps objects under keys.
#[async_trait]
pub trait Store: Send + Sync {
    /// Proves that `key` could be written by beginning it and aborting.
    async fn probe(&self, key: &str) -> Result<(), StoreError>;
    /// Begins an object.
    async fn create(&self, key: &str) -> Result<Box<dyn ObjectWriter>, StoreError>;
    /// Replaces a small object; only `latest` is ever replaced.
    async fn replace(&self, key: &str, content: &[u8]) -> Result<(), StoreError>;
    /// Opens an object.
    async fn open(&self, key: &str) -> Result<ObjectReader, StoreError>;
    /// Deletes an object; that there is none is no failure.
    async fn delete(&self, key: &str) -> Result<(), StoreError>;
    /// Lists the keys below a prefix that ends with a slash.
    async fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError>;
    /// Lists what was last written to before a time and never became an object, as keys. An object store
    /// does not show its own: a rule of the bucket removes them.
    async fn unfinished(
        &self,
        _prefix: &str,
        _before: SystemTime,
    ) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }
    /// Where an object lies, in the words of the store's user.
    fn describe(&self, key: &str) -> String;
}

/// An object that is being written; without a commit, it never was.
#[async_trait]
pub trait ObjectWriter: Send {
    /// Appends.
    async fn write(&mut self, content: &[u8]) -> Result<(), StoreError>;
    /// Makes the object visible, whole and durable.
    async fn commit(self: Box<Self>) -> Result<(), StoreError>;
    /// Leaves nothing behind. A writer that failed is aborted as well.
    async fn abort(self: Box<Self>);
}

/// Why a file of a run could not be written.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file could not be made.
    #[error("could not make the {0} file: {1}")]
    Encode(&'static str, #[source] std::io::Error),
}

/// Writes a file of a run from its chunks.
pub async fn upload(
    store: &dyn Store,
    key: &RunKey,
    format: Format,
    compression: Option<Compression>,
    chunks: impl Iterator<Item = std::io::Result<Chunk>>,
) -> Result<FileEntry, UploadError> {
    let compression = compression.filter(|_| format.is_compressible());
    let key = key.object_as(format, compression);
    let mut writer = store.create(&key).await?;
    let mut hash = Sha256Writer::new(std::io::sink());
    let mut rows = 0;
    let mut facts = None;
    for chunk in compressed(chunks, compression) {
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(error) => {
                writer.abort().await;
                return Err(UploadError::Encode(format.name(), error));
            }
        };
        // A sink takes everything.
        let _ = std::io::Write::write_all(&mut hash, &chunk.bytes);
        rows += chunk.rows;
        if chunk.ends_facts {
            let (digest, size_bytes) = hash.so_far();
            facts = Some(FactsEntry {
                size_bytes,
                sha256: digest.hex(),
            });
        }
        if let Err(error) = writer.write(&chunk.bytes).await {
            writer.abort().await;
            return Err(error.into());
        }
    }
    writer.commit().await?;
    let (_, digest, size_bytes) = hash.finish();
    Ok(FileEntry {
        format: format.name().into(),
        key,
        compression,
        size_bytes,
        sha256: digest.hex(),
        rows,
        facts,
    })
}
