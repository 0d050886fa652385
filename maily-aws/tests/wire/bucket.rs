//! A bucket that speaks the part of S3 that the adapter uses.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Mutex,
};

use maily_testkit::harness::{HttpRequest, Reply, decode};

/// Objects on a page of a list.
const PAGE: usize = 100;

/// The only bucket.
pub(crate) const NAME: &str = "records";

#[derive(Debug, Default)]
pub(crate) struct Bucket(Mutex<BTreeMap<String, Vec<u8>>>);

fn refuse(status: u16, code: &str) -> Reply {
    Reply::new(status, format!("<Error><Code>{code}</Code><Message>said so</Message></Error>"))
}

fn etag(bytes: &[u8]) -> String {
    let mut hash = DefaultHasher::new();
    bytes.hash(&mut hash);
    format!("\"{:016x}\"", hash.finish())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

impl Bucket {
    pub(crate) fn answer(&self, request: &HttpRequest) -> Reply {
        let path = request.path.trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let key = decode(key);
        if bucket != NAME {
            return refuse(404, "NoSuchBucket");
        }
        assert!(request.header("authorization").is_some_and(|auth| auth.contains("AWS4-HMAC-SHA256")));
        let mut objects = self.0.lock().expect("is not poisoned");
        match (request.method.as_str(), key.as_str()) {
            ("HEAD", "") => Reply::new(200, ""),
            ("GET", "") => list(&objects, request),
            ("GET" | "HEAD", key) => match objects.get(key) {
                None => refuse(404, "NoSuchKey"),
                Some(bytes) => Reply::new(200, bytes.clone())
                    .header("etag", &etag(bytes))
                    .header("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT"),
            },
            ("PUT", key) => {
                let live = objects.get(key);
                if request.header("if-none-match") == Some("*") && live.is_some() {
                    return refuse(412, "PreconditionFailed");
                }
                match (request.header("if-match"), live) {
                    (Some(_), None) => return refuse(404, "NoSuchKey"),
                    (Some(wanted), Some(live)) if wanted != etag(live) => {
                        return refuse(412, "PreconditionFailed");
                    }
                    _ => {}
                }
                let answer = Reply::new(200, "").header("etag", &etag(&request.body));
                objects.insert(key.to_owned(), request.body.clone());
                answer
            }
            ("DELETE", key) => {
                objects.remove(key);
                Reply::new(204, "")
            }
            _ => refuse(405, "MethodNotAllowed"),
        }
    }
}

fn list(objects: &BTreeMap<String, Vec<u8>>, request: &HttpRequest) -> Reply {
    let prefix = request.parameter("prefix").unwrap_or_default();
    let after = request.parameter("continuation-token").unwrap_or_default();
    let mut found = objects.iter().filter(|(key, _)| key.starts_with(&prefix) && **key > after);
    let page: Vec<_> = found.by_ref().take(PAGE).collect();
    let more = found.next().is_some();
    let mut body = format!("<ListBucketResult><IsTruncated>{more}</IsTruncated>");
    if let (true, Some((last, _))) = (more, page.last()) {
        body.push_str(&format!("<NextContinuationToken>{}</NextContinuationToken>", escape(last)));
    }
    for (key, bytes) in page {
        let (key, etag) = (escape(key), etag(bytes));
        body.push_str(&format!(
            "<Contents><Key>{key}</Key><Size>{}</Size><ETag>{etag}</ETag></Contents>",
            bytes.len()
        ));
    }
    body.push_str("</ListBucketResult>");
    Reply::new(200, body)
}
