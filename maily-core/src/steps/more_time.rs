//! What helps where the time of a rollout was up: more of it, or something else.

use super::{context::Context, watcher::Unready};
use crate::{
    object::ObjectKey,
    run::{Direction, Step, Work},
};

/// How a step gets more time. One that has its own in the project file gets no other, nor one whose plan can be given up
/// no more.
pub(super) fn more_time(context: &Context, step: &Step) -> String {
    if context.is_past_return() {
        return format!("`mailyctl resume --env {}` waits once more", context.environment);
    }
    time_of(step)
}

fn time_of(step: &Step) -> String {
    match &step.work {
        // A Job of a chart.
        Work::Job { job, own_time: false, .. }
            if job
                .int("/spec/activeDeadlineSeconds")
                .is_some_and(|own| own <= i64::try_from(step.timeout_s).unwrap_or(i64::MAX)) =>
        {
            format!(
                "`--timeout` and the `activeDeadlineSeconds` of its {} give it more time",
                job.key().short()
            )
        }
        Work::Job { job, own_time: true, .. }
            if job.int("/spec/activeDeadlineSeconds") == i64::try_from(step.timeout_s).ok() =>
        {
            let name = step.id.as_str().rsplit('/').next().unwrap_or_default();
            let what = if step.is_gate() { "gate" } else { "job" };
            format!("the `timeout` of {what} `{name}` gives it more time")
        }
        _ => "`--timeout` gives it more time".to_owned(),
    }
}

/// What to look at where the time was up, and how there is more where that may help. On the way back nobody gives any.
pub(super) fn what_helps(
    why: &str,
    target: &ObjectKey,
    unready: Option<&Unready>,
    direction: Direction,
    time: &str,
) -> String {
    let pod = unready.map_or(target, |unready| &unready.pod);
    let namespace = pod.namespace_option();
    if why.contains("unschedulable: ") {
        // "unbound immediate PersistentVolumeClaims", "available persistent volumes": words of the scheduler.
        return if why.to_lowercase().contains("persistent") {
            format!(
                "`kubectl get pvc{namespace}` shows which claim has no volume, `kubectl describe pvc{namespace}` why"
            )
        } else {
            format!(
                "`kubectl describe {} {}{namespace}` shows what no node offers: lower its requests, or add a node",
                pod.kind.named(),
                pod.name
            )
        };
    }
    if why.contains("exceeded quota") {
        return "raise the quota, or take away what is not needed".to_owned();
    }
    match (unready.and_then(|unready| unready.log.as_ref()), direction) {
        // It runs, so that it says itself what keeps it.
        (Some((container, false)), direction) => {
            let see = format!(
                "see in the end of its log what `{container}` waits for, or why its readiness probe does not succeed"
            );
            if direction == Direction::Forward { format!("{see}; {time}") } else { see }
        }
        (_, Direction::Forward) => time.to_owned(),
        (_, Direction::Back) => {
            format!("`kubectl describe {} {}{namespace}` shows what it waits for", pod.kind.named(), pod.name)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        object::ObjectKind,
        run::{Reversibility, StepId},
    };

    fn told(why: &str, log: Option<(String, bool)>, direction: Direction) -> String {
        let set = ObjectKey::new(ObjectKind::new("apps/v1", "StatefulSet"), Some("shop"), "db");
        let pod = ObjectKey::new(ObjectKind::new("v1", "Pod"), Some("shop"), "db-0");
        let time = "`--timeout` gives it more time";
        what_helps(why, &set, Some(&Unready { pod, since: None, log }), direction, time)
    }

    /// A hook of a chart may have the very time that its step has.
    #[test]
    fn the_time_of_a_hook_is_not_looked_for_in_the_project_file() {
        let told = |own: i64, own_time: Option<bool>| {
            let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "migrate"},
                "spec": {"activeDeadlineSeconds": own}});
            let mut work = json!({"kind": "job@1", "job": job});
            if let Some(own_time) = own_time {
                work["own_time"] = own_time.into();
            }
            time_of(&Step {
                id: StepId::new("production", "api", "job/migrate"),
                service: Some("api".to_owned()),
                phase: None,
                needs: std::collections::BTreeSet::new(),
                reversibility: Reversibility::Irreversible,
                timeout_s: 600,
                work: serde_json::from_value(work).expect("is a step's"),
            })
        };
        let of_the_file = "the `timeout` of job `migrate` gives it more time";
        assert_eq!(told(600, Some(true)), of_the_file);
        let of_the_chart = "`--timeout` and the `activeDeadlineSeconds` of its Job/migrate give it more time";
        assert_eq!(told(600, Some(false)), of_the_chart);
        assert_eq!(told(3_600, Some(false)), "`--timeout` gives it more time");
        // Plans of before do not say whose it is.
        assert_eq!(told(600, None), of_the_file);
    }

    #[test]
    fn more_time_is_named_where_time_may_help_and_counts() {
        use Direction::{Back, Forward};
        let helps = |why: &str, direction| told(why, None, direction);
        let cpu = "unschedulable: 0/3 nodes are available: 3 Insufficient cpu.";
        let nodes = "`kubectl describe Pod db-0 --namespace shop` shows what no node offers: lower its requests, or add a node";
        assert_eq!(helps(cpu, Forward), nodes);
        assert_eq!(helps(cpu, Back), nodes);
        let claims =
            "unschedulable: 0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.";
        assert!(helps(claims, Forward).starts_with("`kubectl get pvc --namespace shop`"));
        assert_eq!(helps("container `db`: ContainerCreating", Forward), "`--timeout` gives it more time");
        let full = "pods \"a\" is forbidden: exceeded quota: full, requested: pods=1";
        assert_eq!(helps(full, Forward), "raise the quota, or take away what is not needed");
        let runs = || Some(("db".to_owned(), false));
        assert!(told("container `db` runs but is not ready", runs(), Forward).contains("--timeout"));
        for log in [runs(), None] {
            assert!(!told("container `db` runs but is not ready", log, Back).contains("--timeout"));
        }
    }
}
