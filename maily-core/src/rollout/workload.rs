//! Deployments, StatefulSets, DaemonSets, Jobs and pods.

use std::cmp::Ordering;

use jiff::Timestamp;
use serde_json::Value;

use super::{
    conditions::{find, text, time},
    judge::{Evidence, Health, Obstacle, Reason},
    lost::{held_by, lost},
    pod::{doomed, is_ready, why_not_ready},
    refused::{Counts, refused},
    target::{PARTITION, Target},
};
use crate::{
    object::{Object, ObjectKey, ObjectKind},
    planted::{Defect, is_planted},
    run::JOB_FAILED,
};

pub(crate) const REVISION: &str = "deployment.kubernetes.io/revision";

/// The label of a pod that says of which revision of its StatefulSet or DaemonSet it is.
const HASH: &str = "controller-revision-hash";

/// The label of a pod that says of which generation of its DaemonSet's template it is.
const DAEMON_REVISION: &str = "pod-template-generation";

const ROLLING: &str = "/spec/updateStrategy/rollingUpdate";
const START: &str = "/spec/ordinals/start";

const ON_DELETE: &str = "strategy OnDelete: pods take the new revision only when somebody deletes them";
const NOT_TOLD: &str = "some have it already, and their label `controller-revision-hash` tells which";

fn number(live: &Object, path: &str) -> i64 {
    live.int(path).unwrap_or_default()
}

/// T1: until the controller has seen what we wrote, and a restart of its pods since, the status tells of those before.
fn unobserved(target: &Target, live: &Object) -> bool {
    let restarted = live.generation().filter(|_| live.at("/spec/template") != target.template());
    let expected = target.generation().max(restarted.unwrap_or_default());
    number(live, "/status/observedGeneration") < expected && !is_planted(Defect::StatusOfBefore)
}

pub(super) fn deployment(target: &Target, live: &Object, evidence: &Evidence<'_>) -> Health {
    // An absent number is one replica.
    let desired = live.int("/spec/replicas").unwrap_or(1);
    if unobserved(target, live) {
        return Health::waiting(0, desired, "the controller has not seen the change yet");
    }
    let updated = number(live, "/status/updatedReplicas");
    let total = number(live, "/status/replicas");
    let available = number(live, "/status/availableReplicas");
    // T5: before Kubernetes 1.35 the status does not tell of pods that terminate, and no number of it counts them.
    let going = || evidence.pods.iter().filter(|pod| pod.is_terminating() && of_replica_set(pod)).count();
    let terminating =
        live.int("/status/terminatingReplicas").unwrap_or_else(|| i64::try_from(going()).unwrap_or(i64::MAX));
    let old = (total - updated).max(0);
    let not_ready = pods_say(evidence, of_replica_set);
    // The status counts the available pods of all revisions: where some pod is not ready while old ones still run,
    // the old ones are taken for the available ones.
    let ready =
        if not_ready.is_some() { (available - old).clamp(0, updated.max(0)) } else { updated.min(available) };
    let alone = (total <= updated && (terminating == 0 || evidence.serving_only))
        || is_planted(Defect::OldPodsForgotten);
    if updated >= desired && alone && available >= updated {
        return Health::Done;
    }
    if live.at("/spec/paused") == Some(&Value::Bool(true)) && !is_planted(Defect::PausedAwaited) {
        // T4: it would never progress, and never say so.
        let remedy = "`kubectl rollout resume` lets it go on";
        let told = find(live, "Progressing").filter(|c| text(c, "reason") == Some("DeploymentPaused"));
        let at = told.and_then(|condition| time(condition, "lastUpdateTime"));
        return failed(target, "paused", "the Deployment is paused".to_owned(), at, remedy);
    }
    match doomed_pod(target, live, evidence) {
        Suspicion::None => {}
        Suspicion::Ask(key) => return Health::Ask(key),
        Suspicion::Doomed(reason) => return Health::Failed(reason),
    }
    if let Some(condition) = find(live, "Progressing") {
        // T3: a deadline that passed before our write is the last rollout's.
        let fresh = match (time(condition, "lastUpdateTime"), target.written_at) {
            (Some(raised), Some(written)) => raised > written || is_planted(Defect::StaleDeadlineCounts),
            _ => true,
        };
        if text(condition, "reason") == Some("ProgressDeadlineExceeded") && fresh {
            let message = text(condition, "message").unwrap_or("no progress in time").to_owned();
            let at = time(condition, "lastUpdateTime");
            return failed(target, "progress-deadline", message, at, "see the events of its pods");
        }
    }
    if let Some(health) =
        refused(target, live, evidence, &Counts { ready, desired, updated, old, terminating })
    {
        return health;
    }
    if updated >= desired
        && ready >= updated
        && old == 0
        && let Some(pod) = lost(evidence.pods.iter().copied().filter(|pod| of_replica_set(pod)), evidence)
    {
        return held_by(pod, (ready, desired));
    }
    let why = if updated < desired || ready < updated {
        not_ready.unwrap_or_else(|| format!("{ready} of {desired} ready"))
    } else if old > 0 {
        format!("{old} {}", if old == 1 { "old pod still runs" } else { "old pods still run" })
    } else {
        let still = if terminating == 1 { "old pod still terminates" } else { "old pods still terminate" };
        format!("{terminating} {still}")
    };
    Health::waiting(ready, desired, why)
}

pub(super) fn of_replica_set(pod: &Object) -> bool {
    pod.label("pod-template-hash").is_some()
}

enum Suspicion {
    None,
    Ask(ObjectKey),
    Doomed(Box<Reason>),
}

/// A doomed pod of the new revision. A crashing pod of the old one is not our failure, nor one of somebody else with the
/// same labels.
fn doomed_pod(target: &Target, live: &Object, evidence: &Evidence<'_>) -> Suspicion {
    let mut ask = None;
    for pod in &evidence.pods {
        if pod.is_terminating() {
            continue;
        }
        let Some(reason) = doomed_since(target, pod) else { continue };
        let owner = controller(pod).filter(|owner| text(owner, "kind") == Some("ReplicaSet"));
        let Some(owner) = owner.and_then(|owner| text(owner, "name")) else { continue };
        match evidence.replica_sets.iter().find(|set| set.name() == owner) {
            Some(set) if is_another_ones(set, live) => {}
            Some(set) if set.annotation(REVISION) == live.annotation(REVISION) => {
                return Suspicion::Doomed(Box::new(reason));
            }
            Some(_) => {}
            None => {
                let key = ObjectKey::new(ObjectKind::new("apps/v1", "ReplicaSet"), pod.namespace(), owner);
                if !evidence.gone_sets.contains(&&key) {
                    ask = Some(key);
                }
            }
        }
    }
    ask.map_or(Suspicion::None, Suspicion::Ask)
}

/// Whether a replica set is of another Deployment.
fn is_another_ones(set: &Object, live: &Object) -> bool {
    controller(set).is_some_and(|owner| text(owner, "uid") != live.uid())
}

/// Why a pod is doomed, where it is so since the write: one that crashed before may be just what the write mends, and its
/// next crash tells.
fn doomed_since(target: &Target, pod: &Object) -> Option<Reason> {
    let is_of_before = |reason: &Reason| match (reason.at, target.written_at()) {
        (Some(at), Some(written)) => reason.cause == "crash-loop" && at < written,
        _ => false,
    };
    doomed(pod).filter(|reason| !is_of_before(reason))
}

/// The owner by whom a pod was made.
pub(crate) fn controller(pod: &Object) -> Option<&Value> {
    let mut owners = pod.items("/metadata/ownerReferences").iter();
    owners.find(|owner| owner.get("controller") == Some(&Value::Bool(true)))
}

fn pods_say(evidence: &Evidence<'_>, relevant: impl Fn(&Object) -> bool) -> Option<String> {
    // The newest pods are those of the new revision.
    let mut pods: Vec<&&Object> =
        evidence.pods.iter().filter(|pod| !pod.is_terminating() && relevant(pod)).collect();
    pods.sort_by(|a, b| {
        let key = |pod: &Object| pod.text("/metadata/creationTimestamp").unwrap_or_default().to_owned();
        key(b).cmp(&key(a)).then_with(|| a.name().cmp(b.name()))
    });
    pods.iter().find_map(|pod| why_not_ready(pod))
}

pub(super) fn failed(
    target: &Target,
    cause: &'static str,
    message: String,
    at: Option<jiff::Timestamp>,
    hint: &'static str,
) -> Health {
    Health::Failed(Box::new(Reason {
        cause,
        message,
        object: target.key().clone(),
        container: None,
        at,
        hint,
    }))
}

fn doomed_of_revision(
    target: &Target,
    evidence: &Evidence<'_>,
    label: &str,
    revision: Option<&str>,
) -> Option<Box<Reason>> {
    let revision = revision?;
    evidence
        .pods
        .iter()
        .filter(|pod| !pod.is_terminating() && pod.label(label) == Some(revision))
        .find_map(|pod| doomed_since(target, pod))
        .map(Box::new)
}

pub(super) fn stateful_set(target: &Target, live: &Object, evidence: &Evidence<'_>) -> Health {
    let desired = live.int("/spec/replicas").unwrap_or(1);
    if unobserved(target, live) {
        return Health::waiting(0, desired, "the controller has not seen the change yet");
    }
    let revision = live.text("/status/updateRevision");
    let updated = number(live, "/status/updatedReplicas");
    let total = number(live, "/status/replicas");
    // T7: ready is not available.
    let ready = is_planted(Defect::ReadyIsAvailable);
    let counted = if ready { "/status/readyReplicas" } else { "/status/availableReplicas" };
    let available = number(live, counted);
    let same = revision == live.text("/status/currentRevision");
    let on_delete = live.text("/spec/updateStrategy/type") == Some("OnDelete");
    let held_back = number(live, PARTITION);
    let partition = held_back.min(target.partition()).clamp(0, desired);
    // Where nothing rolls by itself, its controller never counts a revision as the current one, whatever its pods run;
    // and where both are one, a pod that is not of it is of one that was taken back.
    let stay = if on_delete || same { 0 } else { partition };
    let enough = updated >= desired - stay;
    // Its status counts none of a third revision, such as one that was taken back.
    let left_over = left_over(live, evidence);
    // A pod that terminates counts as available as long as it is ready, and the status of a moment ago still counts one
    // that is gone: what the pods themselves say is newer.
    let serve = evidence.pods.iter().filter(|pod| !pod.is_terminating() && is_ready(pod)).count();
    let all_serve = !evidence.all_pods || i64::try_from(serve).unwrap_or(i64::MAX) >= desired;
    if enough && left_over.is_none() && available >= desired && total == desired && all_serve {
        return Health::Done;
    }
    if let Some(reason) = doomed_of_revision(target, evidence, HASH, revision) {
        return Health::Failed(reason);
    }
    if !same && held_back > partition && updated < desired - partition {
        let message = format!(
            "`partition: {held_back}` is set on it, and the release says nothing of that: the pods before it stay of \
             another revision"
        );
        return failed(target, "partition", message, None, "take it out of its update strategy again");
    }
    let ready = updated.min(available);
    if let Some(pod) = in_the_way(live, desired, evidence) {
        return held_up(live, pod, (ready, desired));
    }
    if on_delete && !enough {
        let is_old = |pod: &&Object| revision.is_some() && pod.label(HASH) != revision;
        return left_to_people(own_pods(live, evidence).filter(is_old), (ready, desired));
    }
    if let Some(pod) = left_over.filter(|pod| is_ready(pod) && place(live, pod) < held_back) {
        let why =
            format!("{} is of another revision, and stays so before `partition: {held_back}`", pod.name());
        return Health::held_up((ready, desired), why, pod, Obstacle::ByHand, by_deletion(pod));
    }
    if let Some(pod) = lost(own_pods(live, evidence), evidence) {
        return held_by(pod, (ready, desired));
    }
    let why = if total > desired {
        let surplus = total - desired;
        format!(
            "{surplus} {}",
            if surplus == 1 { "surplus pod still runs" } else { "surplus pods still run" }
        )
    } else {
        pods_say(evidence, |_| true).unwrap_or_else(|| format!("{ready} of {desired} ready"))
    };
    Health::waiting(ready, desired, why)
}

/// The pod of another revision for whose readiness the controller of a StatefulSet waits, and which it never replaces
/// by itself: in order, it does nothing before every pod is ready (kubernetes/kubernetes#67250).
fn in_the_way<'a>(live: &Object, desired: i64, evidence: &Evidence<'a>) -> Option<&'a Object> {
    let strategy = live.text("/spec/updateStrategy/type");
    if live.text("/spec/podManagementPolicy") == Some("Parallel") || strategy == Some("OnDelete") {
        return None;
    }
    let start = number(live, START);
    let named = |ordinal: i64| {
        let name = format!("{}-{ordinal}", live.name());
        own_pods(live, evidence).find(|pod| pod.name() == name)
    };
    // One that is gone or goes is made anew first. Surplus ones go by themselves.
    let mut all = (start..start + desired).map_while(|at| Some((at, named(at)?)));
    let (ordinal, pod) = all.find(|(_, pod)| !is_ready(pod))?;
    // The pods before the partition are of the revision that was whole last.
    let before_partition = ordinal < start + number(live, PARTITION);
    let wanted = if before_partition { "/status/currentRevision" } else { "/status/updateRevision" };
    if pod.is_terminating() || pod.label(HASH) == Some(live.text(wanted)?) {
        return None;
    }
    // From the last one on none comes again; one that serves stays.
    let last = (start..start + desired).rev().filter_map(named).find(|pod| is_current(live, pod));
    Some(
        last.filter(|last| comes_again(live, pod) && !is_ready(last) && !last.is_terminating())
            .unwrap_or(pod),
    )
}

/// Whether a pod is of the revision that was whole last.
fn is_current(live: &Object, pod: &Object) -> bool {
    pod.label(HASH) == live.text("/status/currentRevision")
}

/// Whether a pod that is deleted is made anew of the revision that it is of. Where the update strategy has a type and
/// nothing else, the controller counts the pods of the revision that was whole last, and makes as many first ones of it.
fn comes_again(live: &Object, pod: &Object) -> bool {
    if live.at(ROLLING).is_some() || !is_current(live, pod) {
        return false;
    }
    place(live, pod) < number(live, "/status/currentReplicas") - 1
}

/// How many pods come before one.
fn place(live: &Object, pod: &Object) -> i64 {
    let ordinal = pod.name().rsplit_once('-').and_then(|(_, ordinal)| ordinal.parse::<i64>().ok());
    ordinal.unwrap_or_default() - number(live, START)
}

/// A pod that is neither of the wanted revision nor of the one that was whole last.
fn left_over<'a>(live: &Object, evidence: &Evidence<'a>) -> Option<&'a Object> {
    let update = live.text("/status/updateRevision")?;
    own_pods(live, evidence)
        .find(|pod| !pod.is_terminating() && pod.label(HASH) != Some(update) && !is_current(live, pod))
}

fn held_up(live: &Object, pod: &Object, (ready, desired): (i64, i64)) -> Health {
    let doomed = doomed(pod);
    let said = doomed.as_ref().map(|reason| reason.message.clone()).or_else(|| why_not_ready(pod));
    let said = said.unwrap_or_else(|| "it is not ready".to_owned());
    let mut why = format!("{} is of another revision and in the way: {said}", pod.name());
    if comes_again(live, pod) {
        why.push_str("; its StatefulSet would make it anew as it is");
        let (name, namespace) = (live.name(), live.key().namespace_option());
        let patch = r#"'{"spec":{"updateStrategy":{"rollingUpdate":{"partition":0}}}}'"#;
        let way_on = format!(
            "`kubectl patch statefulset {name}{namespace} --patch {patch}` makes it replace its pods one by one"
        );
        return Health::held_up((ready, desired), why, pod, Obstacle::Stays, way_on);
    }
    let obstacle = if doomed.is_some() { Obstacle::Doomed } else { Obstacle::Unready };
    Health::held_up((ready, desired), why, pod, obstacle, by_deletion(pod))
}

fn by_deletion(pod: &Object) -> String {
    let (name, namespace) = (pod.name(), pod.key().namespace_option());
    format!("`kubectl delete pod {name}{namespace}` lets its controller go on")
}

/// The first pod of another revision that nobody but a person replaces.
fn left_to_people<'a>(left: impl Iterator<Item = &'a Object>, counts: (i64, i64)) -> Health {
    match left.filter(|pod| !pod.is_terminating()).min_by_key(|pod| pod.name().to_owned()) {
        Some(pod) => {
            let why = ON_DELETE.to_owned();
            Health::held_up(counts, why, pod, Obstacle::ByHand, by_deletion(pod))
        }
        None => Health::waiting(counts.0, counts.1, ON_DELETE),
    }
}

/// Other controllers may have pods with the same labels, and of just that name.
fn own_pods<'a>(live: &Object, evidence: &Evidence<'a>) -> impl Iterator<Item = &'a Object> {
    let is_own = |pod: &&Object| controller(pod).is_some_and(|owner| owner["uid"].as_str() == live.uid());
    evidence.pods.iter().copied().filter(is_own)
}

pub(super) fn daemon_set(target: &Target, live: &Object, evidence: &Evidence<'_>) -> Health {
    let desired = number(live, "/status/desiredNumberScheduled");
    if unobserved(target, live) {
        return Health::waiting(0, desired, "the controller has not seen the change yet");
    }
    let updated = number(live, "/status/updatedNumberScheduled");
    let available = number(live, "/status/numberAvailable");
    let on_delete = live.text("/spec/updateStrategy/type") == Some("OnDelete");
    if updated >= desired && available >= desired {
        return Health::Done;
    }
    let generation = live.annotation("deprecated.daemonset.template.generation");
    if let Some(reason) = doomed_of_revision(target, evidence, DAEMON_REVISION, generation) {
        return Health::Failed(reason);
    }
    let ready = updated.min(available);
    if on_delete && updated < desired {
        return match of_another_template(live, evidence, generation) {
            Some(left) => left_to_people(left.into_iter(), (ready, desired)),
            None => Health::waiting(ready, desired, format!("{ON_DELETE}; {NOT_TOLD}")),
        };
    }
    if let Some(pod) = lost(own_pods(live, evidence), evidence) {
        return held_by(pod, (ready, desired));
    }
    let why = pods_say(evidence, |_| true).unwrap_or_else(|| format!("{available} of {desired} ready"));
    Health::waiting(ready, desired, why)
}

/// The pods of a DaemonSet that are not of its template; none where it cannot be told which. Its controller goes by the
/// hash of the template, which pods of an earlier generation have as well once a change was taken back; and nothing but a
/// pod of the wanted generation shows what that hash is.
fn of_another_template<'a>(
    live: &Object,
    evidence: &Evidence<'a>,
    generation: Option<&str>,
) -> Option<Vec<&'a Object>> {
    let Some(generation) = generation else { return Some(Vec::new()) };
    let is_new = |pod: &&Object| pod.label(DAEMON_REVISION) == Some(generation);
    let hash = own_pods(live, evidence).find(is_new).and_then(|pod| pod.label(HASH));
    let is_old = |pod: &&Object| !is_new(pod) && (hash.is_none() || pod.label(HASH) != hash);
    let old: Vec<&Object> = own_pods(live, evidence).filter(is_old).collect();
    let counted =
        number(live, "/status/currentNumberScheduled") - number(live, "/status/updatedNumberScheduled");
    let found = i64::try_from(old.len()).unwrap_or(i64::MAX);
    match found.cmp(&counted) {
        Ordering::Greater if hash.is_none() => None,
        // Not all of them are known yet.
        Ordering::Less if hash.is_none() => Some(Vec::new()),
        _ => Some(old),
    }
}

/// Whether a Job is over, however it went.
pub(super) fn has_ended(job: &Object) -> bool {
    let holds = |name: &str| find(job, name).is_some_and(|c| text(c, "status") == Some("True"));
    holds("Complete") || holds("Failed")
}

pub(super) fn job(live: &Object, evidence: &Evidence<'_>) -> Health {
    let desired = live.int("/spec/completions").unwrap_or(1);
    let done = number(live, "/status/succeeded");
    let holds = |name: &str| find(live, name).filter(|c| text(c, "status") == Some("True"));
    // T2: a failed Job is not a Job that is not complete yet.
    if let Some(condition) = holds("Failed").filter(|_| !is_planted(Defect::FailedJobAwaited)) {
        let message = text(condition, "message").unwrap_or("the Job failed").to_owned();
        let pod = evidence.pods.iter().find(|pod| pod.text("/status/phase") == Some("Failed"));
        let container = pod.and_then(|pod| {
            let status = pod.items("/status/containerStatuses").first()?;
            Some((text(status, "name")?.to_owned(), false))
        });
        let object = pod.map_or_else(|| live.key().clone(), |pod| pod.key().clone());
        let at = time(condition, "lastTransitionTime");
        let hint = "read the log of its pod";
        return Health::Failed(Box::new(Reason { cause: JOB_FAILED, message, object, container, at, hint }));
    }
    if holds("Complete").is_some() {
        return Health::Done;
    }
    if live.at("/spec/suspend") == Some(&Value::Bool(true)) {
        return Health::waiting(done, desired, "the Job is suspended");
    }
    if let Some(reason) = evidence
        .pods
        .iter()
        .filter(|p| !p.is_terminating())
        .find_map(|p| doomed(p))
        .filter(|r| r.cause != "crash-loop")
    {
        return Health::Failed(Box::new(reason));
    }
    let why = pods_say(evidence, |_| true).unwrap_or_else(|| format!("{done} of {desired} complete"));
    Health::waiting(done, desired, why)
}

pub(super) fn pod(target: &Target, live: &Object) -> Health {
    if let Some(reason) = doomed_since(target, live) {
        return Health::Failed(Box::new(reason));
    }
    match live.text("/status/phase") {
        Some("Succeeded") => Health::Done,
        Some("Failed") => {
            let said =
                live.text("/status/message").or(live.text("/status/reason")).unwrap_or("no reason given");
            Health::Failed(Box::new(Reason {
                cause: "pod-failed",
                message: format!("the pod failed: {said}"),
                object: live.key().clone(),
                container: None,
                at: ended_at(live),
                hint: "read its log",
            }))
        }
        _ if find(live, "Ready").is_some_and(|c| text(c, "status") == Some("True")) => Health::Done,
        _ => Health::waiting(0, 1, why_not_ready(live).unwrap_or_else(|| "not ready".to_owned())),
    }
}

/// When the last container of a pod ended.
fn ended_at(pod: &Object) -> Option<Timestamp> {
    let ended = pod
        .items("/status/containerStatuses")
        .iter()
        .filter_map(|container| container.pointer("/state/terminated/finishedAt")?.as_str()?.parse().ok());
    ended.max()
}
