//! One watch per kind for all steps of a run: what a watch has told is not read again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::StreamExt as _;
use jiff::Timestamp;
use tokio::sync::Notify;

use super::{
    evidence::Involved,
    patience::Patience,
    stopping::{LATE, Stopping},
};
use crate::{
    object::{Object, ObjectKey, ObjectKind},
    provider::{Cluster, ListQuery, ProviderError, WatchEvent, WatchStream},
    rollout::{Evidence, Health, REVISION, Target, digests, judge, unready, unready_since},
    run::{Digests, Failure},
    runtime::{Moment, Runtime, Task},
};

/// Time until a watch that broke off is begun anew.
const PAUSE: Duration = Duration::from_secs(1);

type Scope = (ObjectKind, Option<String>);

/// Follows the objects that steps wait for.
pub(crate) struct Watcher {
    cluster: Arc<dyn Cluster>,
    runtime: Arc<dyn Runtime>,
    store: Arc<Mutex<Store>>,
    tasks: Mutex<BTreeMap<Scope, Task>>,
}

#[derive(Default)]
struct Store {
    objects: BTreeMap<ObjectKind, BTreeMap<ObjectKey, Object>>,
    /// Pods by the waiter that they belong to.
    pods: BTreeMap<u64, BTreeSet<ObjectKey>>,
    waiters: BTreeMap<u64, (Arc<Target>, Arc<Notify>)>,
    by_key: BTreeMap<ObjectKey, BTreeSet<u64>>,
    /// Waiters by one label that their selector asks for, so that a pod meets few of them.
    by_label: BTreeMap<(String, String), BTreeSet<u64>>,
    /// Waiters whose selector asks for no label by its value, or who have none.
    without_label: BTreeSet<u64>,
    broken: BTreeMap<Scope, Failure>,
    /// Scopes of which everything is known: their watch has listed them, and has not broken off since.
    whole: BTreeSet<Scope>,
    stopping: Stopping,
    next: u64,
}

fn lock(store: &Mutex<Store>) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pod_kind() -> ObjectKind {
    ObjectKind::new("v1", "Pod")
}

impl Watcher {
    pub(crate) fn new(cluster: Arc<dyn Cluster>, runtime: Arc<dyn Runtime>) -> Self {
        Self { cluster, runtime, store: Arc::default(), tasks: Mutex::default() }
    }

    /// Follows a target until the follower is dropped.
    pub(crate) fn follow(&self, target: Target) -> Follower {
        let (target, notify) = (Arc::new(target), Arc::new(Notify::new()));
        let id = lock(&self.store).register(&target, &notify);
        let namespace = target.key().namespace.clone();
        self.watch((target.key().kind.clone(), namespace.clone()));
        let scopes = if has_pods(&target) {
            self.watch((pod_kind(), namespace.clone()));
            vec![(target.key().kind.clone(), namespace.clone()), (pod_kind(), namespace)]
        } else {
            vec![(target.key().kind.clone(), namespace)]
        };
        Follower {
            cluster: Arc::clone(&self.cluster),
            runtime: Arc::clone(&self.runtime),
            store: Arc::clone(&self.store),
            target,
            notify,
            id,
            scopes,
            sets: Mutex::default(),
            patience: Patience::default(),
            serving_only: false,
        }
    }

    /// Whether a watch tells everything of a kind in a namespace: the silence of one that broke off is no sign that
    /// nothing has changed.
    pub(crate) fn tells(&self, scope: &Scope) -> bool {
        lock(&self.store).whole.contains(scope)
    }

    /// An object as it is known.
    pub(crate) fn known(&self, key: &ObjectKey) -> Option<Object> {
        lock(&self.store).objects.get(&key.kind)?.get(key).cloned()
    }

    /// A workload and its pods that nobody waits for any more, where watches tell all of them.
    pub(crate) fn follow_on(&self, target: Target) -> Option<Follower> {
        let namespace = &target.key().namespace;
        let of = |kind: ObjectKind| self.tells(&(kind, namespace.clone()));
        let told = of(target.key().kind.clone()) && of(pod_kind());
        told.then(|| self.follow(target))
    }

    fn watch(&self, scope: Scope) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if tasks.contains_key(&scope) {
            return;
        }
        let work = run_watch(
            Arc::clone(&self.cluster),
            Arc::clone(&self.runtime),
            Arc::clone(&self.store),
            scope.clone(),
        );
        tasks.insert(scope, self.runtime.spawn(Box::pin(work)));
    }
}

async fn run_watch(
    cluster: Arc<dyn Cluster>,
    runtime: Arc<dyn Runtime>,
    store: Arc<Mutex<Store>>,
    scope: Scope,
) {
    let mut query = ListQuery::new(scope.0.clone(), scope.1.as_deref());
    if scope.0 == pod_kind() {
        // There are many, and no rule asks what they were to be, or who set it.
        query = query.state_only();
    }
    loop {
        let error = match cluster.watch(&query).await {
            Ok(stream) => feed(stream, &store, &scope).await,
            Err(error) => Some(error),
        };
        lock(&store).whole.remove(&scope);
        if let Some(error) = error.as_ref().filter(|error| !error.is_transient()) {
            return lock(&store).fail(scope, Failure::of(error));
        }
        // A server that goes down while it answers comes again; who waits has a deadline of his own. No watch is to end
        // without an error, and one that does tells nothing any more either.
        runtime.sleep(error.and_then(|error| error.retry_after()).unwrap_or(PAUSE)).await;
    }
}

/// Keeps what a watch tells, until it ends; with the error where it ends with one.
async fn feed(mut stream: WatchStream, store: &Mutex<Store>, scope: &Scope) -> Option<ProviderError> {
    while let Some(event) = stream.next().await {
        let mut store = lock(store);
        match event {
            Ok(WatchEvent::Listed { objects, version }) => {
                store.replace(scope, objects, number(&version));
                store.whole.insert(scope.clone());
            }
            Ok(WatchEvent::Applied(object)) => store.put(object),
            Ok(WatchEvent::Deleted(object)) => store.deleted(&object),
            Ok(WatchEvent::Interrupted(_)) => drop(store.whole.remove(scope)),
            Err(error) => return Some(error),
        }
    }
    None
}

fn has_pods(target: &Target) -> bool {
    target.key().kind.keeps_pods() || target.key().kind.kind == "Job"
}

/// A label that each of its pods has.
fn label(target: &Target) -> Option<(String, String)> {
    let (key, value) = target.selector()?.labels().iter().next()?;
    Some((key.clone(), value.clone()))
}

/// Resource versions grow with every write of the cluster and may be compared since Kubernetes 1.35 (KEP-5504);
/// servers before it behaved so as well.
pub(super) fn version(object: &Object) -> u64 {
    object.resource_version().map(number).unwrap_or_default()
}

fn number(version: &str) -> u64 {
    version.parse().unwrap_or_default()
}

impl Store {
    fn register(&mut self, target: &Arc<Target>, notify: &Arc<Notify>) -> u64 {
        let id = self.next;
        self.next += 1;
        self.put(target.written().clone());
        self.by_key.entry(target.key().clone()).or_default().insert(id);
        if has_pods(target) {
            match label(target) {
                Some(label) => {
                    self.by_label.entry(label).or_default().insert(id);
                }
                None => {
                    self.without_label.insert(id);
                }
            }
            let pods = self.objects.get(&pod_kind());
            let mine = pods.into_iter().flatten().filter(|(_, pod)| target.selects(pod));
            let mine = mine.map(|(key, _)| key.clone()).collect();
            self.pods.insert(id, mine);
        }
        self.waiters.insert(id, (Arc::clone(target), Arc::clone(notify)));
        id
    }

    fn forget(&mut self, id: u64) {
        let Some((target, _)) = self.waiters.remove(&id) else { return };
        self.pods.remove(&id);
        self.without_label.remove(&id);
        if let Some(ids) = self.by_key.get_mut(target.key()) {
            ids.remove(&id);
        }
        if let Some(ids) = label(&target).and_then(|label| self.by_label.get_mut(&label)) {
            ids.remove(&id);
        }
    }

    fn put(&mut self, mut object: Object) {
        let key = object.key().clone();
        let known = self.objects.entry(key.kind.clone()).or_default();
        // The answer to our own write may be newer than what the watch tells next.
        if known.get(&key).is_some_and(|old| version(old) > version(&object)) {
            return;
        }
        let told = self.interested(&object);
        if object.kind() == "Pod" {
            // Not every provider leaves it out.
            object = object.state_only();
            for id in &told {
                self.pods.entry(*id).or_default().insert(key.clone());
            }
        }
        self.objects.entry(key.kind.clone()).or_default().insert(key, object);
        self.tell(&told);
    }

    /// One of a name is gone; what was made again under it since is another one.
    fn deleted(&mut self, object: &Object) {
        let known = self.objects.get(&object.key().kind).and_then(|known| known.get(object.key()));
        if known.is_some_and(|known| known.uid() == object.uid()) {
            self.remove(object.key());
        }
    }

    fn remove(&mut self, key: &ObjectKey) {
        let Some(object) = self.objects.get_mut(&key.kind).and_then(|known| known.remove(key)) else {
            return;
        };
        let told = self.interested(&object);
        for id in &told {
            if let Some(pods) = self.pods.get_mut(id) {
                pods.remove(key);
            }
        }
        self.tell(&told);
    }

    fn replace(&mut self, scope: &Scope, objects: Vec<Object>, as_of: u64) {
        let listed: BTreeSet<ObjectKey> = objects.iter().map(|object| object.key().clone()).collect();
        let gone: Vec<ObjectKey> = self
            .objects
            .get(&scope.0)
            .into_iter()
            .flatten()
            .filter(|(key, object)| {
                // What was written after the list was made is not on it.
                key.namespace == scope.1 && !listed.contains(key) && version(object) <= as_of
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            self.remove(&key);
        }
        for object in objects {
            self.put(object);
        }
    }

    fn interested(&self, object: &Object) -> Vec<u64> {
        let mut ids: Vec<u64> = self.by_key.get(object.key()).into_iter().flatten().copied().collect();
        if object.kind() == "Pod" {
            let labels = object.at("/metadata/labels").and_then(|labels| labels.as_object());
            let by_label = labels
                .into_iter()
                .flatten()
                .filter_map(|(key, value)| self.by_label.get(&(key.clone(), value.as_str()?.to_owned())));
            let candidates = by_label.flatten().chain(&self.without_label);
            let selected = candidates
                .filter(|id| self.waiters.get(id).is_some_and(|(target, _)| target.selects(object)));
            ids.extend(selected.copied());
        }
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    fn tell(&self, ids: &[u64]) {
        for id in ids {
            if let Some((_, notify)) = self.waiters.get(id) {
                notify.notify_one();
            }
        }
    }

    fn fail(&mut self, scope: Scope, failure: Failure) {
        self.broken.insert(scope, failure);
        for (_, notify) in self.waiters.values() {
            notify.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;

/// A replica set as it was read (none: gone), and the revision of its Deployment at that time.
type ReadSet = (Option<String>, Option<Object>);

/// One waiter's view.
pub(crate) struct Follower {
    cluster: Arc<dyn Cluster>,
    runtime: Arc<dyn Runtime>,
    store: Arc<Mutex<Store>>,
    target: Arc<Target>,
    notify: Arc<Notify>,
    id: u64,
    scopes: Vec<Scope>,
    /// Replica sets that were asked for, with the revision of the Deployment at that time.
    sets: Mutex<BTreeMap<ObjectKey, ReadSet>>,
    patience: Patience,
    serving_only: bool,
}

/// A pod that is not ready.
pub(super) struct Unready {
    pub(super) pod: ObjectKey,
    pub(super) since: Option<Timestamp>,
    /// The container whose log may tell why, and whether that is the log of an earlier start.
    pub(super) log: Option<(String, bool)>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        lock(&self.store).forget(self.id);
    }
}

impl Follower {
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// The same, to see only whether it serves: pods on their way out take nothing from that.
    pub(super) fn serving_only(mut self) -> Self {
        self.serving_only = true;
        self
    }

    /// Whose Events tell why an object of this rollout failed: the target, or one of its pods.
    pub(super) fn involved(&self, object: &ObjectKey) -> Involved {
        let store = lock(&self.store);
        let uid = |key: &ObjectKey| store.objects.get(&key.kind)?.get(key)?.uid().map(str::to_owned);
        let whole = object == self.target.key();
        let pods = store.pods.get(&self.id).into_iter().flatten().filter(|_| whole);
        Involved {
            uid: uid(object),
            pods: pods.filter_map(uid).collect(),
            since: if whole { self.target.written_at() } else { None },
            key: object.clone(),
        }
    }

    /// The newest pod that is not ready.
    pub(super) fn unready(&self) -> Option<Unready> {
        let store = lock(&self.store);
        let found = store.pods_of(self.id).filter_map(|pod| Some((pod, unready(pod)?)));
        let newest = found.max_by_key(|(pod, _)| pod.text("/metadata/creationTimestamp").map(str::to_owned));
        newest.map(|(pod, log)| Unready { pod: pod.key().clone(), since: unready_since(pod), log })
    }

    /// Which images it runs, as far as its pods report it.
    pub(super) fn digests(&self) -> Digests {
        let store = lock(&self.store);
        // Of a pod the store has its state alone, and nobody changes what it runs.
        let written = Some(self.target.written()).filter(|written| written.kind() == "Pod");
        let Some(live) = written.or_else(|| store.live(&self.target)) else { return Digests::new() };
        digests(live, &store.pods_of(self.id).collect::<Vec<_>>())
    }

    /// Whether watches tell everything that the verdict is made from.
    pub(super) fn sees_all(&self) -> bool {
        let store = lock(&self.store);
        self.scopes.iter().all(|scope| store.whole.contains(scope))
    }

    /// Ends when something relevant has changed since the last call, or a failure has lasted that might have passed.
    pub(crate) async fn changed(&self) {
        let notified = self.notify.notified();
        let Some(left) = self.patience.left(&*self.runtime) else { return notified.await };
        let timer = self.runtime.sleep(left);
        futures::pin_mut!(notified);
        futures::future::select(notified, timer).await;
    }

    /// The verdict on what is known now; what it needs and cannot be read for the moment is to be asked for again.
    pub(crate) async fn health(&self) -> Result<Health, Failure> {
        // Each round reads one replica set more.
        for _ in 0..16 {
            match self.judge()? {
                Health::Ask(key) => {
                    let set = match self.cluster.get(&key).await {
                        Ok(set) => set,
                        // Who waits comes again, and has a deadline of his own.
                        Err(error) if error.is_transient() => return Ok(Health::Ask(key)),
                        Err(error) => return Err(Failure::of(&error)),
                    };
                    let revision = self.revision();
                    self.sets.lock().unwrap_or_else(PoisonError::into_inner).insert(key, (revision, set));
                }
                health => return Ok(health),
            }
        }
        Ok(Health::Waiting {
            ready: 0,
            desired: 0,
            why: "its pods change faster than they can be read".to_owned(),
        })
    }

    fn revision(&self) -> Option<String> {
        let store = lock(&self.store);
        store.live(&self.target)?.annotation(REVISION).map(str::to_owned)
    }

    /// Its pods that stop, and when the grace of each is over.
    fn ends(&self) -> Vec<(ObjectKey, Moment)> {
        let store = &mut *lock(&self.store);
        let Some(known) = store.objects.get(&pod_kind()) else { return Vec::new() };
        let pods = store.pods.get(&self.id).into_iter().flatten().filter_map(|key| known.get(key));
        let ends = pods.filter_map(|pod| Some((pod.key().clone(), store.stopping.end(pod, &*self.runtime)?)));
        ends.collect()
    }

    /// Whether a pod of it stops and is in its grace still.
    pub(super) fn is_stopping(&self) -> bool {
        let now = self.runtime.now();
        self.ends().iter().any(|(_, end)| *end > now)
    }

    fn judge(&self) -> Result<Health, Failure> {
        let revision = self.revision();
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        // A replica set is taken up again when the Deployment goes back to it: what was read is true for one
        // revision of the Deployment.
        sets.retain(|_, (known, _)| *known == revision);
        let ends = self.ends();
        let store = lock(&self.store);
        if let Some(failure) = self.scopes.iter().find_map(|scope| store.broken.get(scope)) {
            return Err(failure.clone());
        }
        let now = self.runtime.now();
        let pods = store.pods_of(self.id).collect();
        let replica_sets: Vec<&Object> = sets.values().filter_map(|(_, set)| set.as_ref()).collect();
        let all_pods = self.scopes.iter().any(|scope| scope.0 == pod_kind() && store.whole.contains(scope));
        // A replica set that is gone has no pods that matter.
        let gone_sets = sets.iter().filter(|(_, (_, set))| set.is_none()).map(|(key, _)| key).collect();
        let evidence = Evidence {
            live: store.live(&self.target),
            pods,
            all_pods,
            replica_sets,
            patient: false,
            gone_sets,
            serving_only: self.serving_only,
            late: ends.iter().filter(|(_, end)| now > *end + LATE).map(|(key, _)| key).collect(),
        };
        Ok(self.patiently(&evidence))
    }

    fn patiently(&self, evidence: &Evidence<'_>) -> Health {
        let health = judge(&self.target, evidence);
        if let Health::Failed(reason) = &health {
            let patient = judge(&self.target, &Evidence { patient: true, ..evidence.clone() });
            if !matches!(patient, Health::Failed(_)) {
                return if self.patience.is_over(&*self.runtime, reason.at) { health } else { patient };
            }
        }
        self.patience.forget();
        health
    }
}

impl Store {
    fn live(&self, target: &Target) -> Option<&Object> {
        self.objects.get(&target.key().kind)?.get(target.key())
    }

    /// The pods of a waiter, of all revisions.
    fn pods_of(&self, id: u64) -> impl Iterator<Item = &Object> {
        let known = self.objects.get(&pod_kind());
        self.pods.get(&id).into_iter().flatten().filter_map(move |key| known?.get(key))
    }
}
