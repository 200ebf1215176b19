//! One object on its way: a single PUT if it is small, else an upload in parts. Memory holds one part.

use std::mem;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;

use super::error::Failure;
use super::{Inner, WRITE_ID, random_write_id};
use crate::storage::{ObjectWriter, StoreError};

/// Up to this size one PUT; above it, parts of this size. S3 takes 5 MiB to 5 GiB and 10,000 parts:
/// a report may have 80 GB.
const PART_BYTES: usize = 8 << 20;

/// An object that is being written.
pub(super) struct S3Writer {
    store: Arc<Inner>,
    /// With the prefix.
    key: String,
    /// Kept in the object's metadata: tells our own write from another's after a lost answer.
    write_id: String,
    buffer: Vec<u8>,
    upload: Option<Upload>,
}

struct Upload {
    id: String,
    parts: Vec<CompletedPart>,
}

impl S3Writer {
    pub(super) fn new(store: Arc<Inner>, key: String) -> Result<Self, StoreError> {
        let write_id = random_write_id().map_err(|failure| store.failed("write", &key, failure))?;
        Ok(Self {
            store,
            key,
            write_id,
            buffer: Vec::new(),
            upload: None,
        })
    }

    fn failed(&self, failure: Failure) -> StoreError {
        self.store.failed("write", &self.key, failure)
    }

    async fn send_part(&mut self, bytes: Vec<u8>) -> Result<(), StoreError> {
        if self.upload.is_none() {
            let id = self.store.begin(&self.key, &self.write_id).await?;
            self.upload = Some(Upload {
                id,
                parts: Vec::new(),
            });
        }
        let Some(upload) = &mut self.upload else {
            return Ok(());
        };
        let number = i32::try_from(upload.parts.len() + 1).unwrap_or(i32::MAX);
        let answer = self
            .store
            .client
            .upload_part()
            .bucket(&self.store.bucket)
            .key(&self.key)
            .upload_id(&upload.id)
            .part_number(number)
            .set_checksum_algorithm(self.store.checksum_algorithm())
            .body(ByteStream::from(bytes))
            .send()
            .await;
        match answer {
            Ok(answer) => {
                upload.parts.push(
                    CompletedPart::builder()
                        .part_number(number)
                        .set_e_tag(answer.e_tag)
                        .set_checksum_crc32(answer.checksum_crc32)
                        .build(),
                );
                Ok(())
            }
            Err(error) => Err(self.failed(Failure::of(&error))),
        }
    }

    async fn put(&mut self) -> Result<(), Failure> {
        let content = Bytes::from(mem::take(&mut self.buffer));
        let pauses = ExponentialBuilder::new().with_max_times(3).with_jitter();
        (|| self.put_once(content.clone()))
            .retry(pauses)
            .when(Failure::is_conflict)
            .await
    }

    async fn put_once(&self, content: Bytes) -> Result<(), Failure> {
        let store = &self.store;
        let mut request = store
            .client
            .put_object()
            .bucket(&store.bucket)
            .key(&self.key)
            .content_type(content_type(&self.key))
            .metadata(WRITE_ID, &self.write_id)
            .set_if_none_match(store.condition())
            .body(ByteStream::from(content));
        if let Some(encryption) = store.encryption {
            request = request
                .server_side_encryption(encryption.into())
                .set_ssekms_key_id(store.kms_key.clone());
        }
        self.settle(request.send().await.map(drop)).await
    }

    async fn complete(&mut self) -> Result<(), Failure> {
        let Some(upload) = &self.upload else {
            return Ok(());
        };
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(upload.parts.clone()))
            .build();
        let request = self
            .store
            .client
            .complete_multipart_upload()
            .bucket(&self.store.bucket)
            .key(&self.key)
            .upload_id(&upload.id)
            .set_if_none_match(self.store.condition())
            .multipart_upload(parts);
        self.settle(request.send().await.map(drop)).await
    }

    /// An answer that was lost is asked for again by the SDK, and then the object is there, by our
    /// own hand: its metadata tells.
    async fn settle<E>(
        &self,
        answer: Result<(), aws_sdk_s3::error::SdkError<E, aws_sdk_s3::config::http::HttpResponse>>,
    ) -> Result<(), Failure>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let Err(error) = answer else { return Ok(()) };
        let failure = Failure::of(&error);
        if failure.may_be_our_own_write() && self.store.holds(&self.key, &self.write_id).await {
            return Ok(());
        }
        Err(failure)
    }
}

#[async_trait]
impl ObjectWriter for S3Writer {
    async fn write(&mut self, content: &[u8]) -> Result<(), StoreError> {
        self.buffer.extend_from_slice(content);
        while self.buffer.len() > PART_BYTES {
            let rest = self.buffer.split_off(PART_BYTES);
            let part = mem::replace(&mut self.buffer, rest);
            self.send_part(part).await?;
        }
        Ok(())
    }

    async fn commit(mut self: Box<Self>) -> Result<(), StoreError> {
        let ended = if self.upload.is_none() {
            self.put().await
        } else {
            let last = mem::take(&mut self.buffer);
            match self.send_part(last).await {
                Ok(()) => self.complete().await,
                Err(error) => {
                    self.abort().await;
                    return Err(error);
                }
            }
        };
        match ended {
            Ok(()) => Ok(()),
            Err(failure) => {
                let error = self.failed(failure);
                self.abort().await;
                Err(error)
            }
        }
    }

    async fn abort(self: Box<Self>) {
        if let Some(upload) = &self.upload
            && let Err(error) = self.store.abort(&self.key, &upload.id).await
        {
            tracing::warn!(
                "an unfinished upload remains, invisible: a rule for incomplete multipart uploads removes it: {error}"
            );
        }
    }
}

pub(super) fn content_type(key: &str) -> &'static str {
    match key.rsplit('.').next() {
        Some("csv") => "text/csv; charset=utf-8",
        Some("json") => "application/json",
        _ => "application/octet-stream",
    }
}

impl Inner {
    pub(super) fn checksum_algorithm(&self) -> Option<ChecksumAlgorithm> {
        self.checksums.then_some(ChecksumAlgorithm::Crc32)
    }

    fn condition(&self) -> Option<String> {
        self.conditional_put.then(|| "*".to_owned())
    }
}
