//! The adapter against servers on loopback: what it sends, and what it makes of each answer.

mod bucket;
mod databases;
mod errors;
mod moto;
mod storage;

use maily_aws::{AccessKey, Aws, ConnectOptions};
use std::time::Duration;

/// A secret that must not turn up anywhere.
const SECRET: &str = "planted/9c1e";

async fn connect(url: &str) -> Aws {
    let options = ConnectOptions {
        region: Some("eu-west-1".into()),
        access_key: Some(AccessKey { id: "AKIAEXAMPLE".into(), secret: SECRET.into(), session: None }),
        endpoint_url: Some(url.to_owned()),
        deadline: Duration::from_secs(5),
        profile: None,
    };
    Aws::connect(&options).await.expect("has a region")
}
