//! Reading what a plan depends on: few lists instead of many reads, and dry runs where they are wanted.

use std::collections::{BTreeMap, BTreeSet};

use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};

use super::{
    ENVIRONMENT, EnvironmentError, Goal, MANAGER, PROJECT, Plan, SERVICE, Sealer, changed_by, compared,
    history::Release,
    object_digest,
    planner::{
        Cut, DryRun, Observed, PlanProblem, PlanProblems, Wanted, claim, coming, to_ask_about, to_look_for,
    },
    told_edit,
};
use crate::{
    object::{Object, ObjectKey, ObjectKind, by_kind, last_editor},
    provider::{
        Cluster, ErrorKind, FrontendHost, LIST_FROM, ListQuery, Precondition, ProviderError, WriteOptions,
        unserved_is_none,
    },
    run::{Operation, Work, beyond_any_epoch},
    steps::PARALLEL,
};

/// How closely the server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Read what is there.
    Read,
    /// Ask the server also what it would make of every object that differs.
    DryRun,
}

/// Reads the live state of everything wanted, of everything of the last release, and of what a run left beside it.
///
/// # Errors
/// When something cannot be read, or the cluster does not serve a kind.
pub(super) async fn observe(
    cluster: &dyn Cluster,
    wanted: &Wanted,
    base: Option<&Release>,
    left: &BTreeMap<ObjectKey, Option<String>>,
    depth: Depth,
) -> Result<Observed, EnvironmentError> {
    let objects = objects(wanted);
    let known: BTreeSet<&ObjectKey> =
        base.into_iter().flat_map(|base| base.objects.keys()).chain(left.keys()).collect();
    let (served, unserved) = served_kinds(cluster, wanted, &objects, &known).await?;
    let otherwise = renamed(&known, &served);
    // What moves to another version of its group is read, and compared with what is written, in the new one: of keys that
    // are equal the first one stays.
    let mut keys: BTreeSet<&ObjectKey> = BTreeSet::new();
    let comes = objects.iter().map(|(_, object)| object.key()).filter(|key| served.contains(&key.kind));
    for key in comes.chain(&otherwise).chain(known.iter().copied()) {
        keys.insert(key);
    }
    let moved = |key: &&ObjectKey| keys.get(*key).is_some_and(|now| now.kind != key.kind);
    let moved: BTreeSet<&ObjectKey> = known.iter().copied().filter(moved).collect();
    let referred = to_look_for(wanted);
    let (read, released, autoscalers, (missing, unseen)) = futures::future::try_join4(
        read(cluster, keys),
        read(cluster, moved),
        autoscalers(cluster, &objects, matches!(wanted.goal, Goal::Rollback { .. })),
        missing(cluster, &referred),
    )
    .await?;
    let claims = claims(cluster, &objects, &read).await?;
    let closely = depth == Depth::DryRun;
    let left = left.clone();
    Ok(Observed {
        objects: read,
        released,
        unserved,
        autoscalers,
        missing,
        unseen,
        claims,
        left,
        closely,
        ..Observed::default()
    })
}

/// Claims of pods that StatefulSets are to get, and that a way back would take along: those that are there, and those that
/// may not be looked for.
async fn claims(
    cluster: &dyn Cluster,
    objects: &[(Option<&str>, &Object)],
    read: &BTreeMap<ObjectKey, Object>,
) -> Result<BTreeSet<ObjectKey>, EnvironmentError> {
    let sets = objects.iter().filter_map(|(_, object)| Some((read.get(object.key())?, object)));
    let claims: BTreeSet<ObjectKey> = sets
        .flat_map(|(live, object)| {
            let names = coming(live, live, object);
            names.into_iter().map(|name| claim(object.key(), &name)).collect::<Vec<_>>()
        })
        .collect();
    let (absent, _) = missing(cluster, &claims).await?;
    Ok(&claims - &absent)
}

/// What is wanted, by service.
fn objects(wanted: &Wanted) -> Vec<(Option<&str>, &Object)> {
    let shared = wanted.shared.iter().map(|object| (None, object));
    let of_services = wanted
        .services
        .iter()
        .flat_map(|(name, service)| service.objects.iter().map(move |object| (Some(name.as_str()), object)));
    shared.chain(of_services).collect()
}

/// Kinds that the cluster serves, of what is wanted and what is known, and those that it does not serve any more. One that
/// is to be written must be served, or come with a definition of its own.
async fn served_kinds(
    cluster: &dyn Cluster,
    wanted: &Wanted,
    objects: &[(Option<&str>, &Object)],
    known: &BTreeSet<&ObjectKey>,
) -> Result<(BTreeSet<ObjectKind>, BTreeSet<ObjectKind>), EnvironmentError> {
    let keys = objects.iter().map(|(_, object)| object.key()).chain(known.iter().copied());
    let kinds: BTreeSet<ObjectKind> = keys.map(|key| key.kind.clone()).collect();
    let mut asked: Vec<ObjectKind> = kinds.iter().cloned().collect();
    // Listed a moment later: asked for with the others it is no wait of its own.
    if !kinds.contains(&autoscaler()) {
        asked.push(autoscaler());
    }
    let served = cluster.resources(&asked).await.map_err(EnvironmentError::Provider)?;
    let served: BTreeSet<ObjectKind> = served.into_iter().map(|resource| resource.kind).collect();
    let defined = |kind: &ObjectKind| {
        objects.iter().any(|(_, object)| object.defines() == Some((kind.group(), &kind.kind)))
    };
    // What stays as it is is not written.
    let is_written = |service: &Option<&str>| {
        service.is_none_or(|name| {
            wanted.phases.iter().any(|phase| phase.services.iter().any(|service| service == name))
        })
    };
    let unknown: Vec<PlanProblem> = objects
        .iter()
        .filter(|(service, object)| {
            let kind = &object.key().kind;
            is_written(service) && !served.contains(kind) && !defined(kind)
        })
        .map(|(_, object)| PlanProblem::UnknownKind { key: object.key().clone() })
        .collect();
    if !unknown.is_empty() {
        return Err(EnvironmentError::Problems(PlanProblems(unknown), None));
    }
    let unserved: BTreeSet<ObjectKind> =
        kinds.into_iter().filter(|kind| !served.contains(kind) && !defined(kind)).collect();
    // Whoever answers so is no Kubernetes: what it does not know may run on, and is nothing to note and go past.
    if let Some(kind) = unserved.iter().find(|kind| kind.keeps_pods()) {
        let message = format!("the server says that it does not serve {kind}, which every Kubernetes does");
        let error =
            ProviderError::new(ErrorKind::Unavailable, "cluster", "discover", kind.to_string(), message);
        let hint = "look at what answers in place of the API server, such as a proxy that has just started";
        return Err(EnvironmentError::Provider(error.with_hint(hint)));
    }
    Ok((served, unserved))
}

/// Keys in a version of their group that is served, where their own is not any more.
fn renamed(known: &BTreeSet<&ObjectKey>, served: &BTreeSet<ObjectKind>) -> Vec<ObjectKey> {
    let gone = known.iter().filter(|key| !served.contains(&key.kind));
    let other = |kind: &ObjectKind| {
        served.iter().find(|other| other.kind == kind.kind && other.group() == kind.group()).cloned()
    };
    gone.filter_map(|key| Some(ObjectKey { kind: other(&key.kind)?, ..(*key).clone() })).collect()
}

fn autoscaler() -> ObjectKind {
    ObjectKind::new("autoscaling/v2", "HorizontalPodAutoscaler")
}

/// Autoscalers beside the wanted workloads: also one that is not of the project sets the replicas of its target.
async fn autoscalers(
    cluster: &dyn Cluster,
    objects: &[(Option<&str>, &Object)],
    goes_back: bool,
) -> Result<Option<Vec<Object>>, EnvironmentError> {
    // A workload of a release of before says no number where an autoscaler had set it.
    let may_say = |object: &Object| goes_back && matches!(object.kind(), "Deployment" | "StatefulSet");
    let fixed = objects.iter().filter(|(_, object)| object.at("/spec/replicas").is_some() || may_say(object));
    let namespaces: BTreeSet<Option<&str>> = fixed.map(|(_, object)| object.namespace()).collect();
    let mut found = Vec::new();
    for namespace in namespaces.into_iter().flatten() {
        match cluster.list(&ListQuery::new(autoscaler(), Some(namespace))).await {
            Ok(list) => found.extend(list),
            Err(error) if error.kind() == ErrorKind::Unsupported => {}
            // A role from before autoscalers were looked for: the plan says what is not known.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(None),
            Err(error) => return Err(EnvironmentError::Provider(error)),
        }
    }
    Ok(Some(found))
}

/// Which of these objects are not there; and which may not be looked for, of which that is not known.
async fn missing(
    cluster: &dyn Cluster,
    keys: &BTreeSet<ObjectKey>,
) -> Result<(BTreeSet<ObjectKey>, BTreeSet<ObjectKey>), EnvironmentError> {
    let (mut missing, mut unseen) = (BTreeSet::new(), BTreeSet::new());
    for ((kind, namespace), mut keys) in by_kind(keys) {
        match drop_known(cluster, kind, namespace, &mut keys).await {
            Ok(()) => missing.extend(keys.into_iter().cloned()),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                unseen.extend(keys.into_iter().cloned());
            }
            Err(error) if error.kind() == ErrorKind::Unsupported => {}
            Err(error) => return Err(EnvironmentError::Provider(error)),
        }
    }
    Ok((missing, unseen))
}

/// Takes those out that are there. Of many their names alone are listed: Secrets may be large.
async fn drop_known(
    cluster: &dyn Cluster,
    kind: ObjectKind,
    namespace: Option<String>,
    keys: &mut BTreeSet<&ObjectKey>,
) -> Result<(), ProviderError> {
    if keys.len() >= LIST_FROM {
        let found = cluster.list_metadata(&ListQuery::new(kind, namespace.as_deref())).await?;
        let names: BTreeSet<&str> = found.iter().map(Object::name).collect();
        keys.retain(|key| !names.contains(key.name.as_str()));
        return Ok(());
    }
    for key in keys.clone() {
        if cluster.get(key).await?.is_some() {
            keys.remove(key);
        }
    }
    Ok(())
}

/// Reads objects: a list where several of a kind stand in one namespace, else one by one.
pub(crate) async fn read<'a>(
    cluster: &dyn Cluster,
    keys: impl IntoIterator<Item = &'a ObjectKey>,
) -> Result<BTreeMap<ObjectKey, Object>, EnvironmentError> {
    // Boxed one by one: a stream over borrowing closures could not be sent to another thread.
    let mut reads: Vec<BoxFuture<'_, Result<Vec<Object>, ProviderError>>> = Vec::new();
    for ((kind, namespace), keys) in by_kind(keys) {
        reads.push(read_group(cluster, kind, namespace, keys).boxed());
    }
    let found: Vec<Vec<Object>> = stream::iter(reads)
        .buffered(8)
        .try_collect()
        .await
        .map_err(|error: ProviderError| EnvironmentError::Provider(error))?;
    Ok(found.into_iter().flatten().map(|object| (object.key().clone(), object)).collect())
}

/// The same of what is not served in its own version any more, in another one that is.
pub(crate) async fn read_otherwise<'a>(
    cluster: &dyn Cluster,
    keys: impl IntoIterator<Item = &'a ObjectKey>,
) -> Result<BTreeMap<ObjectKey, Object>, EnvironmentError> {
    let mut kinds: BTreeMap<&ObjectKind, Vec<&ObjectKey>> = BTreeMap::new();
    // Kinds of Kubernetes itself move with its version, and long after a release has.
    for key in keys.into_iter().filter(|key| !key.kind.is_of_kubernetes()) {
        kinds.entry(&key.kind).or_default().push(key);
    }
    let mut renamed = Vec::new();
    for (kind, keys) in kinds {
        let Some(first) = keys.first() else { continue };
        let version = match cluster.get(first).await {
            Err(error) if error.kind() == ErrorKind::Unsupported => error.served_in().first().cloned(),
            Err(error) => return Err(EnvironmentError::Provider(error)),
            Ok(_) => None,
        };
        let Some(version) = version else { continue };
        let other = ObjectKind::new(format!("{}/{version}", kind.group()), &kind.kind);
        renamed.extend(keys.into_iter().map(|key| ObjectKey { kind: other.clone(), ..key.clone() }));
    }
    read(cluster, &renamed).await
}

async fn read_group(
    cluster: &dyn Cluster,
    kind: ObjectKind,
    namespace: Option<String>,
    keys: BTreeSet<&ObjectKey>,
) -> Result<Vec<Object>, ProviderError> {
    // A list over the whole cluster may be large, and forbidden.
    if keys.len() >= LIST_FROM && namespace.is_some() {
        let query = ListQuery::new(kind, namespace.as_deref());
        let found = cluster.list(&query).await.or_else(unserved_is_none)?;
        return Ok(found.into_iter().filter(|object| keys.contains(object.key())).collect());
    }
    let mut found = Vec::new();
    for key in keys {
        found.extend(cluster.get(key).await.or_else(unserved_is_none)?);
    }
    Ok(found)
}

/// The answer of a dry run, unless there is nothing to ask for yet.
type Ask<'a> = BoxFuture<'a, Result<Option<(ObjectKey, DryRun)>, ProviderError>>;

/// What the server would make of what is wanted: of all of it, or of that alone of which it takes something away.
pub(super) async fn dry_runs(
    cluster: &dyn Cluster,
    sealer: &Sealer,
    wanted: &Wanted,
    observed: &Observed,
    base: Option<&Release>,
    all: bool,
) -> Result<BTreeMap<ObjectKey, DryRun>, EnvironmentError> {
    // Boxed one by one, as above.
    let mut asks: Vec<Ask<'_>> = Vec::new();
    for (service, object) in to_ask_about(wanted, observed, base, sealer, all) {
        let live = observed.objects.get(object.key());
        asks.push(dry_run(cluster, sealer, wanted, service, object, live).boxed());
    }
    let answers: Vec<Option<(ObjectKey, DryRun)>> = stream::iter(asks)
        .buffer_unordered(PARALLEL)
        .try_collect()
        .await
        .map_err(|error: ProviderError| EnvironmentError::Provider(error))?;
    Ok(answers.into_iter().flatten().collect())
}

async fn dry_run(
    cluster: &dyn Cluster,
    sealer: &Sealer,
    wanted: &Wanted,
    service: Option<&str>,
    object: &Object,
    live: Option<&Object>,
) -> Result<Option<(ObjectKey, DryRun)>, ProviderError> {
    // What a release has on record has its values elsewhere.
    let mut object = sealer.unseal(cluster, object).await?;
    object.set_label(PROJECT, Some(&wanted.project));
    object.set_label(ENVIRONMENT, Some(&wanted.environment));
    if let Some(service) = service {
        object.set_label(SERVICE, Some(service));
    }
    // A fence would judge an object without an epoch.
    beyond_any_epoch(&mut object);
    let options = WriteOptions::apply(MANAGER, Precondition::Any).dry_run();
    let mut answer = cluster.write(&object, &options).await;
    // No dry run moves fields and applies at once: what the apply would then take away is asked for by a patch.
    let applied = match &answer {
        Ok(applied) => Some(Some(applied)),
        Err(error) => (error.kind() == ErrorKind::Invalid && !immutable(error.message())).then_some(None),
    };
    if let (Some(applied), Some(live)) = (applied, live)
        && let Some(patch) = Cut::of(live, &object).and_then(|cut| cut.patch(live, &object, applied))
    {
        answer = cluster.write(&patch, &WriteOptions::merge(MANAGER, Precondition::Any).dry_run()).await;
    }
    let answer = match answer {
        Ok(answer) => DryRun::Would(Box::new(answer)),
        Err(error) if error.kind() == ErrorKind::Invalid && immutable(error.message()) => {
            DryRun::Immutable(error.message().to_owned())
        }
        Err(error) if error.kind() == ErrorKind::Invalid => DryRun::Refused(error.message().to_owned()),
        // Its namespace or its kind comes with this very plan; or it was just deleted.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Unsupported) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    Ok(Some((object.key().clone(), answer)))
}

/// Words by which servers refuse a change in place, by the kind of the object.
const IMMUTABLE: [&str; 5] = [
    "immutable",
    "updates to statefulset spec for fields other than",
    "pod updates may not change fields other than",
    "may not be changed in an update",
    "may not change once set",
];

fn immutable(message: &str) -> bool {
    IMMUTABLE.iter().any(|words| message.contains(words))
}

/// The deployment that each frontend service shows now.
pub(super) async fn frontends(
    host: Option<&dyn FrontendHost>,
    wanted: &Wanted,
) -> Result<BTreeMap<String, String>, EnvironmentError> {
    let mut shown = BTreeMap::new();
    for (name, service) in &wanted.services {
        let Some(frontend) = &service.frontend else { continue };
        let Some(host) = host else {
            let others = wanted.services.iter().filter(|(_, service)| service.frontend.is_none());
            let others: Vec<&str> = others.map(|(name, _)| name.as_str()).collect();
            let leave = match &others[..] {
                [] => String::new(),
                names => format!(
                    ": `mailyctl deploy --env {} --version VERSION --components {}` leaves the service out",
                    wanted.environment,
                    names.join(",")
                ),
            };
            let error = ProviderError::new(
                ErrorKind::Unsupported,
                "frontend",
                "read",
                frontend.project.clone(),
                format!("service `{name}` is a frontend, and no frontend host is set up"),
            )
            .with_hint(format!("the adapter for Vercel is not there yet{leave}"));
            return Err(EnvironmentError::Provider(error));
        };
        if let Some(id) = shown_by(host, &frontend.project, frontend.domain.as_deref()).await? {
            shown.insert(name.clone(), id);
        }
    }
    Ok(shown)
}

/// The deployment that a domain shows, or was told to.
async fn shown_by(
    host: &dyn FrontendHost,
    project: &str,
    domain: Option<&str>,
) -> Result<Option<String>, EnvironmentError> {
    let production = host.production(project, domain).await.map_err(EnvironmentError::Provider)?;
    Ok(production.coming.or(production.shown.map(|shown| shown.id)))
}

/// What domains do not show any more of what they showed when a plan was made.
pub(super) async fn promoted_since(
    host: Option<&dyn FrontendHost>,
    plan: &Plan,
) -> Result<Vec<String>, EnvironmentError> {
    let mut stale = Vec::new();
    // Without a host the step fails before it sends anything.
    let Some(host) = host else { return Ok(stale) };
    for step in &plan.steps {
        let Work::Frontend { project, domain, before, .. } = &step.work else { continue };
        let now = shown_by(host, project, domain.as_deref()).await?;
        if now != *before {
            let text = |id: &Option<String>| id.clone().unwrap_or_else(|| "nothing".to_owned());
            let (now, before) = (text(&now), text(before));
            stale
                .push(format!("  frontend {project} was promoted since: it shows {now} instead of {before}"));
        }
    }
    Ok(stale)
}

/// A live object over the fields that a release set, and its fingerprint.
pub(crate) fn released_view(sealer: &Sealer, live: &Object, desired: &Object) -> (Object, String) {
    let view = sealer.view(live, &compared(desired));
    let digest = object_digest(&view);
    (view, digest)
}

/// What of a plan does not fit what is there any more, object by object.
pub(super) fn out_of_date(plan: &Plan, seen: &BTreeMap<ObjectKey, Object>, sealer: &Sealer) -> Vec<String> {
    let mut stale = Vec::new();
    for change in plan.changes() {
        let live = seen.get(&change.key);
        let what = match (&change.before, live) {
            (None, None) => continue,
            (None, Some(_)) => "was made since".to_owned(),
            // Whether it is still there to be taken away makes no difference.
            (Some(before), None)
                if before.object.goes_by_itself() && change.operation == Operation::Delete =>
            {
                continue;
            }
            (Some(before), None) if before.object.goes_by_itself() => "has gone by itself since".to_owned(),
            (Some(_), None) => "was deleted since".to_owned(),
            (Some(before), Some(live)) if live.uid() != Some(&before.uid) => {
                "was deleted and made again since".to_owned()
            }
            (Some(before), Some(live)) => {
                let scope = change.scope();
                let now = sealer.view(live, &scope);
                if object_digest(&now) == before.fingerprint {
                    let Some(what) = touched(sealer, live, before.all.as_deref()) else { continue };
                    what
                } else {
                    let fields = super::difference(&scope.project(&before.object), &now);
                    let by = changed_by(sealer, live, &before.object);
                    format!("was changed since: {}", told_edit(&fields, &by))
                }
            }
        };
        stale.push(format!("  {} {what}", change.key));
    }
    // What the plan leaves as it is was read by whoever said yes to it, too.
    for kept in &plan.unchanged {
        let (key, Some(all)) = (kept.desired.key(), &kept.all) else { continue };
        let what = match seen.get(key) {
            None if kept.desired.goes_by_itself() => None,
            None => Some("was deleted since".to_owned()),
            Some(live) => touched(sealer, live, Some(all)),
        };
        stale.extend(what.map(|what| format!("  {key} {what}")));
    }
    stale
}

/// Whether anything on an object is not as it was, also what no release sets.
fn touched(sealer: &Sealer, live: &Object, all: Option<&str>) -> Option<String> {
    if all.is_none_or(|all| all == super::digest_of_all(sealer, live)) {
        return None;
    }
    let by = last_editor(live).map(|who| format!(" by {who}")).unwrap_or_default();
    Some(format!("was changed since{by}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::planner::{Frontend, WantedService};

    #[test]
    fn what_cannot_be_changed_in_place_is_known_by_the_words_of_the_server() {
        for message in [
            "Deployment.apps \"a\" is invalid: spec.selector: Invalid value: {}: field is immutable",
            "StatefulSet.apps \"a\" is invalid: spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'template' are forbidden",
            "Pod \"a\" is invalid: spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`",
            "PriorityClass.scheduling.k8s.io \"a\" is invalid: value: Forbidden: may not be changed in an update.",
            "Service \"a\" is invalid: spec.loadBalancerClass: Invalid value: \"b\": may not change once set",
        ] {
            assert!(immutable(message), "{message}");
        }
        for message in [
            "Service \"a\" is invalid: spec.ports: Required value",
            "admission webhook \"b\" denied the request: replicas may not be changed by night",
        ] {
            assert!(!immutable(message), "{message}");
        }
    }

    #[tokio::test]
    async fn a_frontend_without_a_host_names_a_command_that_goes_without_it() {
        let mut wanted = Wanted {
            project: "shop".to_owned(),
            environment: "staging".to_owned(),
            namespace: "shop".to_owned(),
            goal: crate::engine::Goal::Remove { only: None },
            services: indexmap::IndexMap::new(),
            shared: Vec::new(),
            phases: Vec::new(),
            notes: Vec::new(),
            prune: std::collections::BTreeSet::new(),
            prune_shared: false,
            left_out: Vec::new(),
        };
        let frontend = Frontend { project: "maily-web".to_owned(), domain: None, existing: None };
        let web = WantedService { frontend: Some(frontend), ..WantedService::default() };
        wanted.services.insert("web".to_owned(), web);
        for (others, hint) in [
            (&[][..], "the adapter for Vercel is not there yet"),
            (
                &["api", "worker"],
                "the adapter for Vercel is not there yet: `mailyctl deploy --env staging --version VERSION \
                 --components api,worker` leaves the service out",
            ),
        ] {
            for name in others {
                wanted.services.insert((*name).to_owned(), WantedService::default());
            }
            let error = frontends(None, &wanted).await.expect_err("there is no host");
            assert_eq!(error.hint().as_deref(), Some(hint));
        }
    }
}
