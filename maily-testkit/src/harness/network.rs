//! The cluster as one participant reaches it.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use maily_core::{
    engine::MANAGER,
    object::{Object, ObjectKey},
    provider::{
        Access, ApiResource, Cluster, ClusterIdentity, ClusterInfo, Deleted, Dependents, ErrorKind,
        ListQuery, LogLine, LogOptions, LogStream, Permission, Precondition, ProviderError, WatchEvent,
        WatchStream, WriteOptions,
    },
    runtime::Runtime as _,
};

use super::{
    chance::Chance,
    place::{Place, Request},
    scheduler::Seat,
    weather::{Guard, Weather, span},
};
use crate::{
    sim::{found, selected, served, told},
    world::Refusal,
};

/// Changes of the world that a lagging API server may not have heard of.
const LAG: u64 = 400;
/// Longest time by which the watches of a lagging API server are behind.
const WATCH_LAG: Duration = Duration::from_secs(3);

/// The cluster of a place, over the network.
#[derive(Clone)]
pub struct NetCluster {
    place: Arc<Place>,
    seat: Seat,
}

impl fmt::Debug for NetCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetCluster").field("seat", &self.seat).finish_non_exhaustive()
    }
}

impl NetCluster {
    /// The cluster for one participant.
    pub fn new(place: Arc<Place>, seat: Seat) -> Self {
        Self { place, seat }
    }

    fn reads(&self, operation: &'static str, resource: impl Into<String>) -> Request {
        Request::read(self.seat.participant(), operation, resource)
    }
}

fn unserved(kind: &maily_core::object::ObjectKind) -> Refusal {
    Refusal { kind: ErrorKind::Unsupported, message: format!("the cluster does not serve {kind}") }
}

#[async_trait]
impl Cluster for NetCluster {
    async fn describe(&self) -> Result<ClusterInfo, ProviderError> {
        let request = self.reads("describe", "cluster");
        let answer = |world: &mut crate::world::World| {
            Ok(ClusterInfo {
                identity: ClusterIdentity { uid: world.identity(), ca: String::new() },
                server: "simulated".to_owned(),
                version: "1.36.0".to_owned(),
                clock_skew_ms: None,
            })
        };
        self.place.send(&self.seat, request, answer).await
    }

    async fn resources(
        &self,
        kinds: &[maily_core::object::ObjectKind],
    ) -> Result<Vec<ApiResource>, ProviderError> {
        let kinds = kinds.to_vec();
        let request = self.reads("discover", "resources");
        let answer = move |world: &mut crate::world::World| {
            Ok(kinds.iter().filter_map(|kind| served(world, kind)).collect())
        };
        self.place.send(&self.seat, request, answer).await
    }

    async fn allowed(&self, permissions: &[Permission]) -> Result<Vec<Access>, ProviderError> {
        Ok(permissions.iter().map(|_| Access::Allowed).collect())
    }

    async fn get(&self, key: &ObjectKey) -> Result<Option<Object>, ProviderError> {
        let request = self.reads("get", key.to_string());
        let key = key.clone();
        let answer = move |world: &mut crate::world::World| match served(world, &key.kind) {
            Some(_) => Ok(found(world, &key)),
            None => Err(unserved(&key.kind)),
        };
        self.place.send(&self.seat, request, answer).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Object>, ProviderError> {
        let request = self.reads("list", query.kind.to_string());
        let query = query.clone();
        let answer = move |world: &mut crate::world::World| match served(world, &query.kind) {
            Some(_) => Ok(selected(world, &query)),
            None => Err(unserved(&query.kind)),
        };
        self.place.send(&self.seat, request, answer).await
    }

    async fn list_metadata(&self, query: &ListQuery) -> Result<Vec<Object>, ProviderError> {
        Ok(self.list(query).await?.into_iter().map(Object::metadata_only).collect())
    }

    async fn write(&self, object: &Object, options: &WriteOptions) -> Result<Object, ProviderError> {
        let lag = self.place.draw(|chance, weather| chance.hits(weather.behind).then(|| chance.below(LAG)));
        let heard = self.place.lags_from(self.seat.participant());
        let request = Request {
            by: self.seat.participant(),
            operation: "write",
            resource: object.key().to_string(),
            writes: (!options.dry_run).then(|| object.key().clone()),
            manager: options.manager,
            body: Some(object.clone()),
            guard: match options.precondition {
                _ if options.dry_run => Guard::Reads,
                Precondition::Absent if options.manager == MANAGER => Guard::Absence,
                Precondition::Absent => Guard::Record,
                _ => Guard::Version,
            },
            behind: lag.is_some() || heard.is_some(),
            distance: 1,
        };
        let (object, options) = (object.clone(), options.clone());
        let answer = move |world: &mut crate::world::World| {
            let as_of = heard.or(lag.map(|lag| world.version.saturating_sub(lag)));
            world.write_behind(&object, &options, as_of)
        };
        self.place.send(&self.seat, request, answer).await
    }

    async fn delete(
        &self,
        key: &ObjectKey,
        precondition: &Precondition,
        dependents: Dependents,
    ) -> Result<Deleted, ProviderError> {
        let request = Request {
            by: self.seat.participant(),
            operation: "delete",
            resource: key.to_string(),
            writes: Some(key.clone()),
            manager: MANAGER,
            body: None,
            guard: Guard::Version,
            behind: false,
            distance: 1,
        };
        let (key, precondition) = (key.clone(), precondition.clone());
        let answer =
            move |world: &mut crate::world::World| world.delete_with(&key, &precondition, dependents);
        self.place.send(&self.seat, request, answer).await
    }

    async fn watch(&self, query: &ListQuery) -> Result<WatchStream, ProviderError> {
        let first = Watching {
            place: Arc::clone(&self.place),
            seat: self.seat.clone(),
            query: query.clone(),
            version: None,
            known: BTreeSet::new(),
            behind: connect(&self.place),
        };
        Ok(stream::unfold(first, |mut watching| async move {
            let events = watching.next().await;
            Some((stream::iter(events.into_iter().map(Ok)), watching))
        })
        .flatten()
        .boxed())
    }

    async fn logs(&self, pod: &ObjectKey, options: &LogOptions) -> Result<LogStream, ProviderError> {
        let request = self.reads("logs", pod.to_string());
        let (pod, previous) = (pod.clone(), options.previous);
        let answer = move |world: &mut crate::world::World| {
            let missing =
                || Refusal { kind: ErrorKind::NotFound, message: "there is no such pod".to_owned() };
            let lines = world.log(&pod, previous).ok_or_else(missing)?;
            Ok(lines.into_iter().map(|(time, text)| LogLine { time: Some(time), text }).collect::<Vec<_>>())
        };
        let lines: Vec<LogLine> = self.place.send(&self.seat, request, answer).await?;
        Ok(stream::iter(lines.into_iter().map(Ok)).boxed())
    }
}

/// How far behind the server is that a watch has got: of several, one may lag, so that what two watches tell comes in
/// another order than it happened. Gets and lists see nothing of that: none asks for an old version (T12), and a server
/// that lags waits until it has heard of the newest.
fn connect(place: &Place) -> Duration {
    let lags = |chance: &mut Chance, weather: &Weather| {
        if chance.hits(weather.behind) { span(chance, WATCH_LAG) } else { Duration::ZERO }
    };
    let behind = place.draw(lags);
    if !behind.is_zero() {
        place.count("watch at a server that lags");
    }
    behind
}

/// A watch that lags, breaks and repeats itself.
struct Watching {
    place: Arc<Place>,
    seat: Seat,
    query: ListQuery,
    version: Option<u64>,
    known: BTreeSet<ObjectKey>,
    behind: Duration,
}

impl Watching {
    async fn next(&mut self) -> Vec<WatchEvent> {
        loop {
            let until = self.place.world().version;
            let (lag, cut, forgotten, repeated) = self.place.draw(|chance, weather| {
                let lag = span(chance, Duration::from_millis(weather.lag_ms));
                (lag, chance.hits(weather.cut), chance.hits(weather.forgotten), chance.hits(weather.repeated))
            });
            if self.version != Some(until) {
                self.seat.sleep(lag + self.behind).await;
            }
            let mut events = self.read(until);
            if !events.is_empty() {
                if repeated && let Some(last) = events.last().cloned() {
                    self.place.count("watch event repeated");
                    events.push(last);
                }
                if cut {
                    self.place.count("watch cut");
                    self.behind = connect(&self.place);
                    if forgotten {
                        self.place.count("watch history lost (410)");
                        self.version = None;
                    }
                    events.push(WatchEvent::Interrupted("the connection was closed".to_owned()));
                }
                return events;
            }
            self.place.moved().await;
        }
    }

    /// What the watch shows of the world up to a version.
    fn read(&mut self, until: u64) -> Vec<WatchEvent> {
        let world = self.place.world();
        let Some(changes) = self.version.and_then(|version| world.since(version)) else {
            self.version = Some(world.version);
            let found = selected(&world, &self.query);
            self.known = found.iter().map(|object| object.key().clone()).collect();
            return vec![WatchEvent::Listed { objects: found, version: world.version.to_string() }];
        };
        self.version = self.version.max(Some(until));
        told(&self.query, &mut self.known, changes.filter(|change| change.version <= until))
    }
}
