//! S3 and its relatives as a store. An object appears whole when its upload is completed; one that
//! was broken off is never listed.

mod client;
mod error;
mod writer;

pub use client::{Checksum, Encryption, Endpoint, S3Settings, S3SettingsError};

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;

use self::client::{Connection, connect};
use self::error::Failure;
use self::writer::{S3Writer, content_type};
use super::{ObjectReader, ObjectWriter, Store, StoreError};

/// Name of the metadata that tells our own write from another's.
const WRITE_ID: &str = "image-census-write";

/// A bucket, or a part of it.
pub struct S3Store(Arc<Inner>);

struct Inner {
    client: Client,
    endpoint: String,
    bucket: String,
    prefix: String,
    encryption: Option<Encryption>,
    kms_key: Option<String>,
    checksums: bool,
    conditional_put: bool,
}

impl S3Store {
    /// Prepares a client; nothing is sent to the bucket yet.
    pub async fn connect(
        bucket: &str,
        prefix: &str,
        settings: S3Settings,
    ) -> Result<Self, S3SettingsError> {
        let Connection {
            client,
            endpoint,
            checksums,
        } = connect(&settings).await?;
        Ok(Self(Arc::new(Inner {
            client,
            endpoint,
            checksums,
            bucket: bucket.into(),
            prefix: prefix.into(),
            encryption: settings.encryption,
            kms_key: settings.kms_key,
            conditional_put: settings.conditional_put,
        })))
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.0.prefix)
    }
}

impl Inner {
    fn failed(&self, action: &'static str, key: &str, failure: Failure) -> StoreError {
        StoreError::Remote {
            action,
            location: format!("s3://{}/{key}", self.bucket),
            endpoint: self.endpoint.clone(),
            code: failure.code,
            advice: failure.advice,
        }
    }

    /// Begins an upload in parts; its id.
    async fn begin(&self, key: &str, write_id: &str) -> Result<String, StoreError> {
        let mut request = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(key)
            .content_type(content_type(key))
            .metadata(WRITE_ID, write_id)
            .set_checksum_algorithm(self.checksum_algorithm());
        if let Some(encryption) = self.encryption {
            request = request
                .server_side_encryption(encryption.into())
                .set_ssekms_key_id(self.kms_key.clone());
        }
        let answer = request.send().await;
        let answer = answer.map_err(|error| self.failed("write", key, Failure::of(&error)))?;
        answer.upload_id.ok_or_else(|| {
            let failure = Failure::new(
                "no upload id",
                "the answer is not S3's: check --s3-endpoint",
            );
            self.failed("write", key, failure)
        })
    }

    async fn abort(&self, key: &str, upload: &str) -> Result<(), StoreError> {
        let request = self
            .client
            .abort_multipart_upload()
            .bucket(&self.bucket)
            .key(key)
            .upload_id(upload);
        match request.send().await.map_err(|error| Failure::of(&error)) {
            Ok(_) => Ok(()),
            // Its answer was lost, and the SDK has asked again.
            Err(failure) if failure.is_no_upload() => Ok(()),
            Err(failure) => Err(self.failed("abort the upload of", key, failure)),
        }
    }

    /// Whether the object is there and was written by this writer.
    async fn holds(&self, key: &str, write_id: &str) -> bool {
        let request = self.client.head_object().bucket(&self.bucket).key(key);
        request.send().await.is_ok_and(|head| {
            let metadata = head.metadata.unwrap_or_default();
            metadata.get(WRITE_ID).is_some_and(|id| id == write_id)
        })
    }
}

#[async_trait]
impl Store for S3Store {
    async fn probe(&self, key: &str) -> Result<(), StoreError> {
        let key = self.key(key);
        let upload = self.0.begin(&key, "probe").await?;
        self.0.abort(&key, &upload).await
    }

    async fn create(&self, key: &str) -> Result<Box<dyn ObjectWriter>, StoreError> {
        Ok(Box::new(S3Writer::new(Arc::clone(&self.0), self.key(key))?))
    }

    async fn replace(&self, key: &str, content: &[u8]) -> Result<(), StoreError> {
        let (store, key) = (&self.0, self.key(key));
        let mut request = store
            .client
            .put_object()
            .bucket(&store.bucket)
            .key(&key)
            .content_type(content_type(&key))
            .body(ByteStream::from(content.to_vec()));
        if let Some(encryption) = store.encryption {
            request = request
                .server_side_encryption(encryption.into())
                .set_ssekms_key_id(store.kms_key.clone());
        }
        let answer = request.send().await;
        answer
            .map(drop)
            .map_err(|error| store.failed("write", &key, Failure::of(&error)))
    }

    async fn open(&self, key: &str) -> Result<ObjectReader, StoreError> {
        let (store, key) = (&self.0, self.key(key));
        let request = store.client.get_object().bucket(&store.bucket).key(&key);
        match request.send().await {
            Ok(answer) => Ok(Box::new(answer.body.into_async_read())),
            Err(error) => Err(store.failed("read", &key, Failure::of(&error))),
        }
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let (store, key) = (&self.0, self.key(key));
        let request = store.client.delete_object().bucket(&store.bucket).key(&key);
        match request.send().await {
            Ok(_) => Ok(()),
            // S3 itself answers 204 for a key that is not there; not every relative does.
            Err(error) if Failure::of(&error).is_absent() => Ok(()),
            Err(error) => Err(store.failed("delete", &key, Failure::of(&error))),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let (store, prefix) = (&self.0, self.key(prefix));
        let mut pages = store
            .client
            .list_objects_v2()
            .bucket(&store.bucket)
            .prefix(&prefix)
            .into_paginator()
            .send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| store.failed("list", &prefix, Failure::of(&error)))?;
            let found = page.contents.unwrap_or_default();
            let found = found.into_iter().filter_map(|object| object.key);
            keys.extend(found.filter_map(|key| key.strip_prefix(&store.prefix).map(Into::into)));
        }
        keys.sort();
        Ok(keys)
    }

    fn describe(&self, key: &str) -> String {
        format!("s3://{}/{}", self.0.bucket, self.key(key))
    }
}

fn random_write_id() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|_| Failure::new("no randomness", "the system gives none: see its log"))?;
    Ok(hex::encode(bytes))
}
