//! Helm's hooks: the Jobs that a chart runs around its release become jobs around the service. A hook whose moment does
//! not exist here is refused: applied with everything else it would run at the wrong one.

use crate::engine::planner::JobSpec;

use super::manifests::{Found, SourceError, SourceErrors};

const HOOK: &str = "helm.sh/hook";
const WEIGHT: &str = "helm.sh/hook-weight";
const DELETE: &str = "helm.sh/hook-delete-policy";

/// Seconds that a Job stays after its end. The end is read from it, also by whoever resumes the run.
const STAYS_S: i64 = 86_400;

/// On which side of the service's rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Before.
    Before,
    /// After it serves.
    After,
}

/// For which releases of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// Every one.
    Every,
    /// The first one.
    Install,
    /// Each one but the first.
    Upgrade,
}

/// A Job that a chart runs around its release.
#[derive(Clone, Debug)]
pub struct HookJob {
    /// The Job.
    pub spec: JobSpec,
    /// Before the rollout, or after it.
    pub side: Side,
    /// When.
    pub occasion: Occasion,
}

/// A hook of a chart, as it was found.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Hook {
    pub(super) found: Found,
    pub(super) side: Side,
    pub(super) occasion: Occasion,
    pub(super) weight: i64,
}

/// What a bundle holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Sorted {
    /// What is applied.
    pub(super) objects: Vec<Found>,
    /// What runs around it, in Helm's order.
    pub(super) hooks: Vec<Hook>,
    /// What is for `helm test`.
    pub(super) tests: Vec<Found>,
}

/// Whether an object is a hook of any kind.
pub(super) fn is_hook(found: &Found) -> bool {
    found.object.annotation(HOOK).is_some()
}

/// Takes the hooks out of what was found.
///
/// # Errors
/// Hooks that cannot be carried out as they are meant, each with its place.
pub(super) fn sort_out(found: Vec<Found>) -> Result<Sorted, SourceErrors> {
    let mut sorted = Sorted::default();
    let mut errors = Vec::new();
    for found in found {
        let Some(words) = found.object.annotation(HOOK).map(str::to_owned) else {
            sorted.objects.push(found);
            continue;
        };
        // Tests are nothing of a release, whatever else stands beside them.
        let moments: Vec<&str> =
            words.split(',').map(str::trim).filter(|word| !word.is_empty() && !is_test(word)).collect();
        if moments.is_empty() && words.split(',').any(|word| is_test(word.trim())) {
            sorted.tests.push(found);
            continue;
        }
        match hook(&found, &moments) {
            Ok((side, occasion, weight)) => {
                sorted.hooks.push(Hook { found: as_job(found), side, occasion, weight });
            }
            Err((message, help)) => {
                let message = format!("{} is a Helm hook (`{words}`): {message}", found.object.key().short());
                errors.push(SourceError::File { path: found.place, message, help: help.to_owned() });
            }
        }
    }
    sorted.hooks.sort_by(|a, b| {
        a.weight.cmp(&b.weight).then_with(|| a.found.object.name().cmp(b.found.object.name()))
    });
    if errors.is_empty() { Ok(sorted) } else { Err(SourceErrors(errors)) }
}

fn is_test(word: &str) -> bool {
    matches!(word, "test" | "test-success" | "test-failure")
}

type Refusal = (String, &'static str);

fn hook(found: &Found, moments: &[&str]) -> Result<(Side, Occasion, i64), Refusal> {
    const ELSE: &str =
        "turn it off by the chart's values, and describe it as a `job` with `before` or `after`";
    if found.object.kind() != "Job" {
        return Err((
            "only Jobs can run around a release".to_owned(),
            "take the annotation off (by the chart's values, or a kustomization over it), so that it is applied like everything else",
        ));
    }
    let (mut before, mut after, mut install, mut upgrade) = (false, false, false, false);
    for moment in moments {
        match *moment {
            "pre-install" => (before, install) = (true, true),
            "pre-upgrade" => (before, upgrade) = (true, true),
            "post-install" => (after, install) = (true, true),
            "post-upgrade" => (after, upgrade) = (true, true),
            "pre-rollback" | "post-rollback" => {
                return Err((
                    format!("there is no `{moment}`, a rollback restores objects and runs no Jobs"),
                    "turn it off by the chart's values; what a Job did is taken back by the `undo` of a `job`",
                ));
            }
            "pre-delete" | "post-delete" => {
                return Err((
                    format!("there is no `{moment}`, a removal runs no Jobs"),
                    "turn it off by the chart's values, and run it by hand when the service is removed",
                ));
            }
            "crd-install" => {
                return Err((
                    "`crd-install` is of Helm 2".to_owned(),
                    "take the annotation off: definitions are applied first in any case",
                ));
            }
            other => return Err((format!("`{other}` is none of Helm's moments"), "correct the annotation")),
        }
    }
    let side = match (before, after) {
        (true, false) => Side::Before,
        (false, true) => Side::After,
        (false, false) => {
            return Err(("it names no moment".to_owned(), "name one, such as `pre-install,pre-upgrade`"));
        }
        (true, true) => return Err(("it runs before and after the release".to_owned(), ELSE)),
    };
    let occasion = match (install, upgrade) {
        (true, false) => Occasion::Install,
        (false, true) => Occasion::Upgrade,
        _ => Occasion::Every,
    };
    let weight = match found.object.annotation(WEIGHT) {
        None => 0,
        Some(text) => text.trim().parse().map_err(|_| {
            (format!("`{text}` is no weight"), "write a whole number in quotation marks, such as \"-5\"")
        })?,
    };
    let policies = found.object.annotation(DELETE).unwrap_or_default();
    let known = ["before-hook-creation", "hook-succeeded", "hook-failed", ""];
    if let Some(other) = policies.split(',').map(str::trim).find(|policy| !known.contains(policy)) {
        return Err((
            format!("`{other}` is no policy of deletion"),
            "write `before-hook-creation`, `hook-succeeded` or `hook-failed`",
        ));
    }
    Ok((side, occasion, weight))
}

/// The Job without what Helm reads. It has a name of its own in each run, so that no earlier one stands in its way, and
/// goes by itself a day after its end.
fn as_job(mut found: Found) -> Found {
    for key in [HOOK, WEIGHT, DELETE] {
        found.object.set_annotation(key, None);
    }
    let own = found.object.int("/spec/ttlSecondsAfterFinished").unwrap_or_default();
    found.object.edit(|body| {
        if let Some(spec) = body.get_mut("spec").and_then(|spec| spec.as_object_mut()) {
            spec.insert("ttlSecondsAfterFinished".to_owned(), own.max(STAYS_S).into());
        }
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::read_manifests;

    fn job(name: &str, annotations: &str) -> String {
        format!(
            "---\napiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}, annotations: {{{annotations}}}}}\nspec: {{template: {{spec: {{containers: [{{name: x, image: 'a:1'}}]}}}}}}\n"
        )
    }

    fn sorted(text: &str) -> Sorted {
        sort_out(read_manifests("m.yaml", text).expect("is read")).expect("is sorted")
    }

    fn refusal(text: &str) -> String {
        sort_out(read_manifests("m.yaml", text).expect("is read")).expect_err("is refused").to_string()
    }

    #[test]
    fn jobs_stand_on_their_side_in_the_order_of_their_weights() {
        let text = [
            job("b", "helm.sh/hook: 'pre-install,pre-upgrade', helm.sh/hook-weight: '5'"),
            job("c", "helm.sh/hook: 'pre-upgrade', helm.sh/hook-weight: '-5'"),
            job("a", "helm.sh/hook: 'pre-install, pre-upgrade', helm.sh/hook-weight: '5'"),
            job("d", "helm.sh/hook: post-install"),
            job("plain", "a: b"),
        ]
        .concat();
        let sorted = sorted(&text);
        let hooks: Vec<_> =
            sorted.hooks.iter().map(|hook| (hook.found.object.name(), hook.side, hook.occasion)).collect();
        assert_eq!(
            hooks,
            [
                ("c", Side::Before, Occasion::Upgrade),
                ("d", Side::After, Occasion::Install),
                ("a", Side::Before, Occasion::Every),
                ("b", Side::Before, Occasion::Every),
            ]
        );
        let names: Vec<_> = sorted.objects.iter().map(|found| found.object.name()).collect();
        assert_eq!(names, ["plain"]);
    }

    #[test]
    fn a_job_loses_what_helm_reads_and_stays_for_a_day() {
        let policy = "helm.sh/hook: pre-upgrade, helm.sh/hook-delete-policy: 'before-hook-creation,hook-succeeded', keep: me";
        let object = &sorted(&job("a", policy)).hooks[0].found.object.clone();
        assert_eq!(object.annotation("keep"), Some("me"));
        assert!(!object.to_value().to_string().contains("helm.sh/"), "{object:?}");
        assert_eq!(object.int("/spec/ttlSecondsAfterFinished"), Some(STAYS_S));
    }

    #[test]
    fn tests_are_left_out() {
        let text = [
            job("a", "helm.sh/hook: test"),
            job("b", "helm.sh/hook: test-success"),
            job("c", "helm.sh/hook: 'post-install,test'"),
        ]
        .concat();
        let sorted = sorted(&text);
        assert_eq!((sorted.tests.len(), sorted.hooks.len(), sorted.objects.len()), (2, 1, 0));
    }

    #[test]
    fn what_has_no_moment_here_is_refused_with_its_place() {
        for (words, said) in [
            ("pre-delete", "a removal runs no Jobs"),
            ("'post-upgrade,post-delete'", "a removal runs no Jobs"),
            ("pre-rollback", "a rollback restores objects"),
            ("crd-install", "Helm 2"),
            ("'pre-install,post-install'", "before and after"),
            ("pre-instal", "none of Helm's moments"),
            ("''", "names no moment"),
        ] {
            let refusal = refusal(&job("a", &format!("helm.sh/hook: {words}")));
            assert!(refusal.starts_with("`m.yaml:2`: Job/a is a Helm hook"), "{refusal}");
            assert!(refusal.contains(said) && refusal.contains("help: "), "{refusal}");
        }
        assert!(
            refusal(&job("a", "helm.sh/hook: pre-upgrade, helm.sh/hook-weight: first")).contains("weight")
        );
        assert!(
            refusal(&job("a", "helm.sh/hook: pre-upgrade, helm.sh/hook-delete-policy: never"))
                .contains("`never` is no policy")
        );
        let account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a, annotations: {helm.sh/hook: pre-install}}\n";
        assert!(refusal(account).contains("only Jobs can run around a release"));
    }
}
