//! The monitoring of the world.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use maily_core::provider::{
    Answer, Marker, MarkerQuery, Monitor, Monitoring, ProviderError, RangeQuery, Silence,
};

use super::door::{Door, client};

/// A client of the simulated monitoring. Metrics are `pods_total`, `pods_ready`, `http_requests_per_second`,
/// `http_error_percent` and `http_latency_ms`, with the labels `namespace`, `service` and `version`.
#[derive(Clone, Debug)]
pub struct SimMonitoring {
    door: Door,
}

client!(SimMonitoring, "monitoring");

#[async_trait]
impl Monitoring for SimMonitoring {
    async fn query(&self, query: &str, at: Option<Timestamp>) -> Result<Answer, ProviderError> {
        self.door.read("query", query, |world| world.query(query, at)).await
    }

    async fn range(&self, query: &RangeQuery) -> Result<Answer, ProviderError> {
        self.door.read("range", &query.query, |world| world.query_range(query)).await
    }

    async fn mark(&self, marker: &Marker) -> Result<String, ProviderError> {
        self.door.write("mark", &marker.title, |world| Ok(world.mark(marker))).await
    }

    async fn markers(&self, query: &MarkerQuery) -> Result<Vec<Marker>, ProviderError> {
        self.door.read("markers", "all", |world| Ok(world.markers(query))).await
    }

    async fn monitors(&self, tags: &BTreeMap<String, String>) -> Result<Vec<Monitor>, ProviderError> {
        self.door.read("monitors", "all", |world| Ok(world.monitors(tags))).await
    }

    async fn silence(&self, silence: &Silence) -> Result<String, ProviderError> {
        self.door.write("silence", &silence.reason, |world| world.silence(silence)).await
    }

    async fn unsilence(&self, id: &str) -> Result<(), ProviderError> {
        self.door
            .write("unsilence", id, |world| {
                world.unsilence(id);
                Ok(())
            })
            .await
    }
}
