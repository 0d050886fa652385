//! Object storage on S3.

use std::fmt;

use async_trait::async_trait;
use aws_sdk_s3::{Client, primitives::ByteStream};
use jiff::Timestamp;
use maily_core::provider::{ErrorKind, ObjectInfo, ObjectStorage, ProviderError, PutIf, StoredObject};

use crate::error::About;

/// Buckets of an account.
pub struct S3Storage {
    client: Client,
}

impl S3Storage {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }
}

impl fmt::Debug for S3Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Storage").finish_non_exhaustive()
    }
}

fn time(time: Option<aws_sdk_s3::primitives::DateTime>) -> Option<Timestamp> {
    Timestamp::from_second(time?.secs()).ok()
}

fn size(size: Option<i64>) -> u64 {
    u64::try_from(size.unwrap_or_default()).unwrap_or_default()
}

#[async_trait]
impl ObjectStorage for S3Storage {
    async fn get(&self, bucket: &str, key: &str) -> Result<Option<StoredObject>, ProviderError> {
        let resource = format!("s3://{bucket}/{key}");
        let about = About { operation: "read", resource: &resource };
        let answer = match self.client.get_object().bucket(bucket).key(key).send().await {
            Ok(answer) => answer,
            Err(error) if error.as_service_error().is_some_and(|error| error.is_no_such_key()) => {
                return Ok(None);
            }
            Err(error) => return Err(about.failed(error)),
        };
        let etag = answer.e_tag.ok_or_else(|| about.garbled("entity tag"))?;
        let modified = time(answer.last_modified);
        // The body comes after the answer, and can break off.
        let body = answer.body.collect().await.map_err(|error| about.broken(error))?;
        let bytes = body.to_vec();
        let size = u64::try_from(bytes.len()).unwrap_or_default();
        Ok(Some(StoredObject { info: ObjectInfo { key: key.to_owned(), size, etag, modified }, bytes }))
    }

    async fn head(&self, bucket: &str, key: &str) -> Result<Option<ObjectInfo>, ProviderError> {
        let resource = format!("s3://{bucket}/{key}");
        let about = About { operation: "read", resource: &resource };
        let answer = match self.client.head_object().bucket(bucket).key(key).send().await {
            Ok(answer) => answer,
            Err(error) => {
                let error = about.failed(error);
                if error.kind() != ErrorKind::NotFound {
                    return Err(error);
                }
                // The answer to a HEAD has no body: it does not tell an absent key from an absent bucket.
                self.client.head_bucket().bucket(bucket).send().await.map_err(|error| about.failed(error))?;
                return Ok(None);
            }
        };
        Ok(Some(ObjectInfo {
            key: key.to_owned(),
            size: size(answer.content_length),
            etag: answer.e_tag.ok_or_else(|| about.garbled("entity tag"))?,
            modified: time(answer.last_modified),
        }))
    }

    async fn put(
        &self,
        bucket: &str,
        key: &str,
        bytes: &[u8],
        when: &PutIf,
    ) -> Result<ObjectInfo, ProviderError> {
        let resource = format!("s3://{bucket}/{key}");
        let about = About { operation: "write", resource: &resource };
        let put = self.client.put_object().bucket(bucket).key(key).body(ByteStream::from(bytes.to_vec()));
        let put = match when {
            PutIf::Any => put,
            PutIf::Absent => put.if_none_match("*"),
            PutIf::Matches(etag) => put.if_match(etag),
        };
        let answer = put.send().await.map_err(|error| {
            let error = about.failed(error);
            match when {
                // With If-Match, an absent key is answered `NoSuchKey`, as an absent bucket is `NoSuchBucket`.
                PutIf::Matches(_) if error.message().contains("NoSuchKey") => about.absent(),
                _ => error,
            }
        })?;
        Ok(ObjectInfo {
            key: key.to_owned(),
            size: u64::try_from(bytes.len()).unwrap_or_default(),
            etag: answer.e_tag.ok_or_else(|| about.garbled("entity tag"))?,
            modified: None,
        })
    }

    async fn list(&self, bucket: &str, prefix: &str) -> Result<Vec<ObjectInfo>, ProviderError> {
        let resource = format!("s3://{bucket}/{prefix}");
        let about = About { operation: "list", resource: &resource };
        let mut pages = self.client.list_objects_v2().bucket(bucket).prefix(prefix).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            for object in page.map_err(|error| about.failed(error))?.contents.unwrap_or_default() {
                found.push(ObjectInfo {
                    key: object.key.ok_or_else(|| about.garbled("key"))?,
                    size: size(object.size),
                    etag: object.e_tag.ok_or_else(|| about.garbled("entity tag"))?,
                    modified: time(object.last_modified),
                });
            }
        }
        // Directory buckets and emulators keep another order.
        found.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }

    async fn delete(&self, bucket: &str, key: &str) -> Result<(), ProviderError> {
        let resource = format!("s3://{bucket}/{key}");
        let about = About { operation: "delete", resource: &resource };
        self.client
            .delete_object()
            .bucket(bucket)
            .key(key)
            .send()
            .await
            .map_err(|error| about.failed(error))?;
        Ok(())
    }
}
