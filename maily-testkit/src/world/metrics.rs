//! Metrics that follow from what runs, and monitors that follow from the metrics.
//!
//! Kept are, per namespace, service and version, how many pods there were, were ready, failed and lagged, whenever
//! that changed. Every metric is a function of these numbers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use maily_core::provider::{
    Answer, ErrorKind, Found, Marker, MarkerQuery, Monitor, MonitorState, RangeQuery, Series, Silence, Value,
};
use serde::{Deserialize, Serialize};

use super::{Fault, PodTrouble, Refusal, World, pods::is_ready, query::Query};

/// Changes of a series that are kept.
const KEPT: usize = 64;
/// Markers that are kept.
const MARKERS: usize = 500;
/// How long a series without pods is remembered.
const FORGET: SignedDuration = SignedDuration::from_hours(24);
/// Time until a marker is found.
const LAG: SignedDuration = SignedDuration::from_secs(1);
/// Most values of a series in an answer, as Prometheus has it.
const VALUES: i128 = 11_000;

/// What monitoring knows.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Telemetry {
    series: BTreeMap<String, VecDeque<Point>>,
    markers: VecDeque<(Timestamp, Marker)>,
    silences: BTreeMap<String, Silence>,
    given: u64,
    /// Version of the world and faults at the last look.
    #[serde(skip)]
    looked: Option<(u64, Vec<Fault>)>,
}

/// Pods of a service at a version since a moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    at: Timestamp,
    pods: Pods,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Pods {
    total: u32,
    ready: u32,
    failing: u32,
    lagging: u32,
}

/// A metric: its name, and its value for the pods of a service at a version.
type Metric = (&'static str, fn(Pods) -> f64);

const METRICS: &[Metric] = &[
    ("pods_total", |pods| f64::from(pods.total)),
    ("pods_ready", |pods| f64::from(pods.ready)),
    ("http_requests_per_second", |pods| 10.0 * f64::from(pods.ready)),
    // Of no requests, none and all fail: not a number, as in a division of two rates.
    ("http_error_percent", |pods| share(0.1, 50.0, pods.failing, pods.ready)),
    ("http_latency_ms", |pods| share(40.0, 2000.0, pods.lagging, pods.ready)),
];

fn share(well: f64, ill: f64, affected: u32, ready: u32) -> f64 {
    let (affected, ready) = (f64::from(affected), f64::from(ready));
    (well * (ready - affected) + ill * affected) / ready
}

fn labels(key: &str) -> BTreeMap<String, String> {
    ["namespace", "service", "version"]
        .iter()
        .zip(key.split('/'))
        .map(|(name, value)| ((*name).to_owned(), value.to_owned()))
        .collect()
}

fn pods_at(points: &VecDeque<Point>, at: Timestamp) -> Option<Pods> {
    // Where no pod is, nobody delivers.
    points.iter().rev().find(|point| point.at <= at).map(|point| point.pods).filter(|pods| pods.total > 0)
}

fn matches(tags: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| tags.get(key) == Some(value))
}

impl World {
    /// Writes down how many pods there are, where that has changed.
    pub(super) fn measure(&mut self) {
        if self
            .telemetry
            .looked
            .as_ref()
            .is_some_and(|(version, faults)| *version == self.version && *faults == self.faults)
        {
            return;
        }
        let mut counted: BTreeMap<(&str, &str, &str), Pods> = BTreeMap::new();
        for pod in self.of_kind("Pod") {
            let Some(service) = pod.label("app.kubernetes.io/name").or(pod.label("app")) else { continue };
            let image = pod.text("/spec/containers/0/image").unwrap_or_default();
            let version = image.rsplit_once(':').map_or("unknown", |(_, tag)| tag);
            let pods = counted.entry((pod.namespace().unwrap_or_default(), service, version)).or_default();
            pods.total += 1;
            if !is_ready(pod) {
                continue;
            }
            let trouble = self.trouble(pod);
            pods.ready += 1;
            pods.failing += u32::from(trouble == Some(PodTrouble::Errors));
            pods.lagging += u32::from(trouble == Some(PodTrouble::Lagging));
        }
        let key = |(namespace, service, version)| format!("{namespace}/{service}/{version}");
        let now: BTreeMap<String, Pods> =
            counted.into_iter().map(|(labels, pods)| (key(labels), pods)).collect();
        let at = self.now;
        let series = &mut self.telemetry.series;
        for key in series.keys().cloned().chain(now.keys().cloned()).collect::<BTreeSet<_>>() {
            let pods = now.get(&key).copied().unwrap_or_default();
            let points = series.entry(key).or_default();
            if points.back().is_none_or(|last| last.pods != pods) {
                points.push_back(Point { at, pods });
                if points.len() > KEPT {
                    points.pop_front();
                }
            }
        }
        series.retain(|_, points| {
            points.back().is_some_and(|last| last.pods.total > 0 || at.duration_since(last.at) < FORGET)
        });
        self.telemetry.looked = Some((self.version, self.faults.clone()));
    }

    /// The service whose metrics are not delivered, if the query depends on one.
    fn source_down(&self, query: &Query) -> Option<String> {
        let down = |service: &str| {
            self.faults.iter().any(|fault| matches!(fault, Fault::MetricsDown { service: s } if s == service))
        };
        let pinned = query.pinned("service").filter(|service| down(service)).map(str::to_owned);
        pinned.or_else(|| {
            let found = self.telemetry.series.keys().map(|key| labels(key)).find(|labels| {
                query.matches(labels) && labels.get("service").is_some_and(|service| down(service))
            })?;
            found.get("service").cloned()
        })
    }

    fn evaluate(&self, query: &Query, times: &[Timestamp]) -> Answer {
        let answer = |found| Answer { found, warnings: Vec::new() };
        if let Some(service) = self.source_down(query) {
            let why = format!("the metrics of `{service}` have not been delivered: its target is down");
            return answer(Found::SourceDown { why });
        }
        let metric = METRICS.iter().find(|(name, _)| *name == query.metric);
        let Some((name, value)) = metric else { return answer(Found::NoData) };
        let chosen: Vec<_> = self
            .telemetry
            .series
            .iter()
            .map(|(key, points)| (labels(key), points))
            .filter(|(labels, _)| query.matches(labels))
            .collect();
        let mut found = Vec::new();
        if let Some(aggregate) = query.aggregate {
            let points = times.iter().filter_map(|at| {
                let values: Vec<f64> =
                    chosen.iter().filter_map(|(_, points)| pods_at(points, *at).map(value)).collect();
                (!values.is_empty()).then(|| (*at, Value::from(aggregate.of(&values))))
            });
            found.push(Series { labels: BTreeMap::new(), points: points.collect() });
        } else {
            for (mut labels, points) in chosen {
                labels.insert("__name__".to_owned(), (*name).to_owned());
                let values =
                    times.iter().filter_map(|at| Some((*at, Value::from(value(pods_at(points, *at)?)))));
                found.push(Series { labels, points: values.collect() });
            }
        }
        found.retain(|series| !series.points.is_empty());
        answer(if found.is_empty() { Found::NoData } else { Found::Series(found) })
    }

    pub(crate) fn query(&mut self, query: &str, at: Option<Timestamp>) -> Result<Answer, Refusal> {
        self.measure();
        Ok(self.evaluate(&Query::parse(query)?, &[at.unwrap_or(self.now)]))
    }

    pub(crate) fn query_range(&mut self, range: &RangeQuery) -> Result<Answer, Refusal> {
        self.measure();
        let query = Query::parse(&range.query)?;
        let invalid = |message: &str| Refusal { kind: ErrorKind::Invalid, message: message.to_owned() };
        let step = SignedDuration::try_from(range.step).map_err(|_| invalid("the step is too long"))?;
        if step.is_zero() || range.to < range.from {
            return Err(invalid("the range ends before it begins, or its step is zero"));
        }
        let count = range.to.duration_since(range.from).as_nanos() / step.as_nanos();
        if count >= VALUES {
            return Err(invalid("more than 11000 values per series: use a longer step"));
        }
        let mut times = Vec::new();
        let mut at = range.from;
        // What has not been yet has no value.
        while at <= range.to && at <= self.now {
            times.push(at);
            at += step;
        }
        Ok(self.evaluate(&query, &times))
    }

    pub(crate) fn mark(&mut self, marker: &Marker) -> String {
        self.telemetry.given += 1;
        let id = format!("marker-{}", self.telemetry.given);
        let marker = Marker { id: id.clone(), ..marker.clone() };
        self.telemetry.markers.push_back((self.now + LAG, marker));
        if self.telemetry.markers.len() > MARKERS {
            self.telemetry.markers.pop_front();
        }
        id
    }

    pub(crate) fn markers(&self, query: &MarkerQuery) -> Vec<Marker> {
        let mut found: Vec<Marker> = self
            .telemetry
            .markers
            .iter()
            .filter(|(seen, _)| *seen <= self.now)
            .map(|(_, marker)| marker.clone())
            .filter(|marker| {
                (query.from..=query.to).contains(&marker.at) && matches(&marker.tags, &query.tags)
            })
            .collect();
        found.sort_by_key(|marker| marker.at);
        found
    }

    /// One monitor per service of a namespace: the share of its requests that fail.
    pub(crate) fn monitors(&mut self, tags: &BTreeMap<String, String>) -> Vec<Monitor> {
        self.measure();
        let mut services: BTreeMap<(String, String), Vec<Pods>> = BTreeMap::new();
        for (key, points) in &self.telemetry.series {
            let mut parts = key.split('/').map(str::to_owned);
            if let (Some(namespace), Some(service), Some(pods)) =
                (parts.next(), parts.next(), pods_at(points, self.now))
            {
                services.entry((namespace, service)).or_default().push(pods);
            }
        }
        let monitors = services.into_iter().map(|((namespace, service), pods)| {
            let down = self
                .faults
                .iter()
                .any(|fault| matches!(fault, Fault::MetricsDown { service: s } if *s == service));
            let sum = |of: fn(&Pods) -> u32| pods.iter().map(of).sum::<u32>();
            let percent = share(0.1, 50.0, sum(|pods| pods.failing), sum(|pods| pods.ready));
            let state = match percent {
                _ if down => MonitorState::NoData,
                percent if percent.is_nan() => MonitorState::NoData,
                percent if percent >= 20.0 => MonitorState::Alert,
                percent if percent >= 5.0 => MonitorState::Warn,
                _ => MonitorState::Ok,
            };
            let of = [("namespace", namespace.clone()), ("service", service.clone())];
            let tags = of.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
            Monitor {
                id: format!("errors/{namespace}/{service}"),
                name: format!("requests to {service} in {namespace} that fail"),
                state,
                since: None,
                silenced_until: self.silenced_until(&tags),
                tags,
            }
        });
        monitors.filter(|monitor| matches(&monitor.tags, tags)).collect()
    }

    fn silenced_until(&self, tags: &BTreeMap<String, String>) -> Option<Timestamp> {
        let silences = self.telemetry.silences.values();
        silences.filter(|s| s.until > self.now && matches(tags, &s.tags)).map(|s| s.until).max()
    }

    pub(crate) fn silence(&mut self, silence: &Silence) -> Result<String, Refusal> {
        let now = self.now;
        if silence.until <= now {
            let message = "the silence ends before it begins".to_owned();
            return Err(Refusal { kind: ErrorKind::Invalid, message });
        }
        self.telemetry.silences.retain(|_, silence| silence.until > now);
        self.telemetry.given += 1;
        let id = format!("silence-{}", self.telemetry.given);
        self.telemetry.silences.insert(id.clone(), silence.clone());
        Ok(id)
    }

    pub(crate) fn unsilence(&mut self, id: &str) {
        self.telemetry.silences.remove(id);
    }
}
