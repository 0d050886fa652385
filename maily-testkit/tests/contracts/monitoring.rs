//! Monitoring of the simulated world: its metrics follow from what runs.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use maily_core::{
    object::Object,
    provider::{
        Cluster as _, Found, MonitorState, Monitoring, Precondition, RangeQuery, Reading, Value, WriteOptions,
    },
    runtime::Runtime,
};
use maily_testkit::{
    contract::monitoring,
    sim::{Shared, SimCluster, SimMonitoring},
};
use serde_json::json;

use crate::world;

async fn deploy(shared: &Arc<Shared>, service: &str, version: &str) {
    let labels = json!({"app.kubernetes.io/name": service});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": service, "namespace": "shop"},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"containers": [{"name": "main", "image": format!("shop/{service}:{version}")}]}}}});
    let object = Object::from_value(deployment).expect("an object");
    let options = WriteOptions::apply("maily", Precondition::Any);
    SimCluster::new(Arc::clone(shared)).write(&object, &options).await.expect("is written");
}

async fn running() -> (Arc<Shared>, Arc<dyn Runtime>, SimMonitoring) {
    let (shared, runtime) = world();
    for service in ["api", "web", "dark", "stuck"] {
        deploy(&shared, service, "v1").await;
    }
    for fault in ["metrics-down dark", "never-ready stuck"] {
        shared.world().faults.push(fault.parse().expect("a fault"));
    }
    runtime.sleep(Duration::from_secs(70)).await;
    let monitoring = SimMonitoring::new(Arc::clone(&shared));
    (shared, runtime, monitoring)
}

async fn place() -> monitoring::Place {
    let (_, runtime, monitoring) = running().await;
    let tags = [("namespace", "shop"), ("service", "api")];
    monitoring::Place {
        monitoring: Arc::new(monitoring),
        one: ("pods_ready{service=\"api\"}".into(), ("version".into(), "v1".into())),
        many: "pods_ready{service!=\"dark\"}".into(),
        nothing: "pods_ready{service=\"nobody\"}".into(),
        down: "sum(pods_ready)".into(),
        not_finite: "http_error_percent{service=\"stuck\"}".into(),
        malformed: "pods_ready{service=".into(),
        monitor: tags.into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
        runtime,
    }
}

macro_rules! sentences {
    ($($sentence:ident),+ $(,)?) => {
        $(#[tokio::test(start_paused = true)]
        async fn $sentence() {
            monitoring::$sentence(&place().await).await;
        })+
    };
}

sentences!(
    one_series_has_labels_and_a_value,
    many_series_are_told,
    no_data_is_no_value,
    a_source_that_is_down_is_told,
    what_is_not_finite_is_told,
    malformed_queries_are_refused,
    a_range_is_ordered_and_bounded,
    markers_are_found_by_tag_and_time,
    monitors_are_chosen_by_tag,
    a_silence_shows_and_ends,
);

async fn reading(monitoring: &dyn Monitoring, query: &str) -> Reading {
    monitoring.query(query, None).await.expect("answers").reading()
}

#[tokio::test(start_paused = true)]
async fn metrics_follow_from_what_runs_and_from_faults() {
    let (shared, runtime, monitoring) = running().await;
    let of = |metric: &str, version: &str| format!("{metric}{{service=\"api\",version=\"{version}\"}}");
    assert_eq!(reading(&monitoring, &of("pods_ready", "v1")).await, Reading::Value(2.0));
    assert_eq!(reading(&monitoring, &of("http_error_percent", "v1")).await, Reading::Value(0.1));
    assert_eq!(reading(&monitoring, &of("pods_ready", "v2")).await, Reading::NoData);

    shared.world().faults.push("errors api@v2".parse().unwrap());
    let before = runtime.wall();
    deploy(&shared, "api", "v2").await;
    runtime.sleep(Duration::from_secs(20)).await;
    assert_eq!(reading(&monitoring, &of("pods_total", "v1")).await, Reading::NoData);
    assert_eq!(reading(&monitoring, &of("http_error_percent", "v2")).await, Reading::Value(50.0));
    let tags = BTreeMap::from([("service".to_owned(), "api".to_owned())]);
    let state = monitoring.monitors(&tags).await.unwrap().pop().unwrap().state;
    assert_eq!(state, MonitorState::Alert);

    shared.world().faults.retain(|fault| !fault.to_string().starts_with("errors"));
    shared.world().faults.push("lagging api".parse().unwrap());
    runtime.sleep(Duration::from_secs(5)).await;
    assert_eq!(reading(&monitoring, &of("http_error_percent", "v2")).await, Reading::Value(0.1));
    assert_eq!(reading(&monitoring, &of("http_latency_ms", "v2")).await, Reading::Value(2000.0));

    // The past stays what it was.
    assert_eq!(
        monitoring.query(&of("pods_ready", "v1"), Some(before)).await.unwrap().reading(),
        Reading::Value(2.0)
    );
    let query = of("http_error_percent", "v2");
    let range = RangeQuery { query, from: before, to: runtime.wall(), step: Duration::from_secs(1) };
    let Found::Series(series) = monitoring.range(&range).await.unwrap().found else { panic!("has series") };
    let values: Vec<Value> = series[0].points.iter().map(|(_, value)| *value).collect();
    assert!(
        values.contains(&Value::Finite(50.0)) && values.last() == Some(&Value::Finite(0.1)),
        "{values:?}"
    );
}
