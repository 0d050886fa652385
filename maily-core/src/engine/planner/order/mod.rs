//! The steps and their order.

mod prune;

use std::collections::{BTreeMap, BTreeSet};

use super::{
    adopted,
    apart::{as_before, left_out, regrouped, strange_names},
    change::{Comparison, Observed, Scaled, Verdict},
    defined::Defined,
    needs,
    problem::{PlanProblem, PlanProblems},
    wanted::{JobSpec, Look, PlanOptions, Wanted, WantedPhase, WantedService},
};
use crate::{
    engine::{
        Change, Goal, Kept, Left, Note, PLAN_FORMAT, Plan, Reversibility, SERVICE, Sealer, Step, StepId,
        Work, belongs_to, history::Release,
    },
    model::{TIMEOUT, gate_job},
    object::{Object, ObjectKey},
    planted::{Defect, is_planted},
};

/// Makes the plan.
///
/// # Errors
/// All reasons why there is none.
pub fn plan(
    wanted: &Wanted,
    observed: &Observed,
    base: Option<&Release>,
    sealer: &Sealer,
    options: &PlanOptions,
) -> Result<Plan, PlanProblems> {
    let scaled = scaled_workloads(wanted, observed, base);
    let mut comparison = Comparison {
        project: &wanted.project,
        environment: &wanted.environment,
        namespace: &wanted.namespace,
        observed,
        base,
        sealer,
        options,
        scaled: &scaled,
        goes_back: matches!(wanted.goal, Goal::Rollback { .. }),
        notes: wanted.notes.clone(),
        problems: twice(wanted),
    };
    let defined = Defined::new(wanted, observed, base);
    comparison.problems.extend(needs::cycles(wanted, &defined));
    comparison.problems.extend(defined.problems(wanted));
    let mut order = Order {
        environment: &wanted.environment,
        defined: &defined,
        steps: Vec::new(),
        kept: Vec::new(),
        left: Vec::new(),
        entry: BTreeSet::new(),
        begun: 0,
        last: BTreeMap::new(),
        ends: BTreeSet::new(),
        timeout_s: options.timeout_s.unwrap_or(TIMEOUT.0),
    };
    order.shared(wanted, &mut comparison);
    for phase in &wanted.phases {
        order.phase(wanted, phase, options, &mut comparison);
    }
    order.fixed(wanted, base, &mut comparison);
    order.prune(wanted, base, &mut comparison);
    needs::look_at(wanted, &order.steps, &mut comparison);
    comparison.problems.extend(one_name(&order.steps));
    let Comparison { mut notes, problems, .. } = comparison;
    if !problems.is_empty() {
        return Err(PlanProblems(problems));
    }
    if observed.autoscalers.is_none() && observed.closely {
        let text =
            "autoscalers may not be listed: whether one sets the replicas of a workload with a fixed number \
                    is not known; allow `list` on `horizontalpodautoscalers.autoscaling`"
                .to_owned();
        notes.push(Note { topic: "autoscaler".into(), text });
    }
    let workloads = wanted.services.values().flat_map(|service| &service.objects).chain(&wanted.shared);
    notes.extend(super::configuration::notes(&order.steps, workloads));
    notes.extend(super::missing::notes(wanted, &observed.missing));
    if observed.closely {
        notes.extend(super::missing::unseen(&observed.unseen));
    }
    notes.extend(left_out(wanted, base, sealer));
    let changes: Vec<&Change> = order.steps.iter().flat_map(|step| step.work.changes()).collect();
    notes.extend(changes.iter().filter_map(|change| suspended(change)));
    notes.extend(adopted::note(&changes, &observed.objects, wanted));
    notes.extend(strange_names(options, &changes, &order.kept, observed.objects.values()));
    let real = order.steps.iter().any(|step| step.reversibility != Reversibility::NoEffect);
    let regrouped =
        base.filter(|_| !real).and_then(|base| regrouped(wanted, base, &order.kept, &observed.objects));
    let regroups = regrouped.is_some();
    // That nothing follows the version is why the objects are the same: one note says both.
    match (regrouped, notes.iter_mut().find(|note| note.topic == "version")) {
        (Some(same), Some(version)) => version.text = format!("{}; {}", same.text, version.text),
        (same, _) => notes.extend(same),
    }
    let as_before = base.map(|base| as_before(wanted, base, &order.steps, &order.kept)).unwrap_or_default();
    notes.sort();
    notes.dedup();
    Ok(Plan {
        format: PLAN_FORMAT,
        project: wanted.project.clone(),
        environment: wanted.environment.clone(),
        namespace: wanted.namespace.clone(),
        cluster: observed
            .identity
            .clone()
            .unwrap_or_else(|| crate::provider::ClusterIdentity { uid: String::new(), ca: String::new() }),
        goal: wanted.goal.clone(),
        base: base.map(|base| base.head.id),
        versions: wanted
            .services
            .iter()
            .map(|(name, service)| (name.clone(), service.version.clone()))
            .collect(),
        // Checks and gates of a release that changes nothing have nothing to say.
        steps: if real { order.steps } else { Vec::new() },
        unchanged: order.kept,
        regroups,
        as_before,
        left: order.left,
        notes,
        digest: String::new(),
    }
    .sealed())
}

/// Workloads whose replicas an autoscaler sets, with the fewest that it leaves: one of the same release, or one that is
/// there and not of what the plan is about. One that the last release had and this one lacks is on its way out. Labels do
/// not tell: operators give theirs those of what they are made for.
pub(super) fn scaled_workloads(wanted: &Wanted, observed: &Observed, base: Option<&Release>) -> Scaled {
    let objects = wanted.services.values().flat_map(|service| &service.objects).chain(&wanted.shared);
    let seen = observed.autoscalers.iter().flatten();
    // A part leaves alone what is of other services, or of none.
    let apart = |autoscaler: &&Object| {
        let only = wanted.goal.only();
        only.is_some_and(|only| {
            autoscaler.label(SERVICE).is_none_or(|of| !only.iter().any(|name| name == of))
        })
    };
    let is_known = |key: &ObjectKey| {
        base.is_some_and(|base| base.objects.contains_key(key)) || observed.left.contains_key(key)
    };
    let foreign = seen.filter(|autoscaler| {
        let ours = belongs_to(autoscaler, &wanted.project, &wanted.environment);
        !(ours && is_known(autoscaler.key())) || apart(autoscaler)
    });
    objects
        .chain(foreign)
        .filter(|object| object.kind() == "HorizontalPodAutoscaler")
        .filter_map(|hpa| {
            let target = |field: &str| hpa.text(&format!("/spec/scaleTargetRef/{field}")).map(str::to_owned);
            Some(((target("kind")?, target("name")?), hpa.int("/spec/minReplicas").unwrap_or(1)))
        })
        .collect()
}

/// A Job that its manifest suspends is not waited for, and whoever reads the plan should not think so.
fn suspended(change: &Change) -> Option<Note> {
    let job = change.desired.as_ref().filter(|desired| desired.is_suspended())?;
    let text = format!("{} is suspended in its manifest: it is written, and nobody waits for it", job.key());
    Some(Note { topic: "suspended".into(), text })
}

/// Two steps of one name would be one in a journal, and two Jobs of one name one in a run.
fn one_name(steps: &[Step]) -> impl Iterator<Item = PlanProblem> {
    let (mut seen, mut jobs) = (BTreeSet::new(), BTreeMap::new());
    steps.iter().filter_map(move |step| {
        if !seen.insert(&step.id) {
            return Some(PlanProblem::SameStep { id: step.id.clone() });
        }
        let Work::Job { job, .. } = &step.work else { return None };
        let first = jobs.insert(job.key(), &step.id)?.clone();
        Some(PlanProblem::SameJob { key: job.key().clone(), first, second: step.id.clone() })
    })
}

fn twice(wanted: &Wanted) -> Vec<PlanProblem> {
    let mut owners: BTreeMap<&ObjectKey, &str> = BTreeMap::new();
    let mut problems = Vec::new();
    let shared = wanted.shared.iter().map(|object| ("the shared objects", object));
    let services = wanted
        .services
        .iter()
        .flat_map(|(name, service)| service.objects.iter().map(move |o| (name.as_str(), o)));
    for (owner, object) in shared.chain(services) {
        if let Some(first) = owners.insert(object.key(), owner).filter(|_| !is_planted(Defect::TwicePlanned))
        {
            let (first, second) = (first.to_owned(), owner.to_owned());
            problems.push(PlanProblem::Twice { key: object.key().clone(), first, second });
        }
    }
    problems
}

struct Order<'a> {
    environment: &'a str,
    defined: &'a Defined<'a>,
    steps: Vec<Step>,
    kept: Vec<Kept>,
    left: Vec<Left>,
    /// What everything of the present phase waits for.
    entry: BTreeSet<StepId>,
    /// Steps of earlier phases. What stands before all phases belongs to the first.
    begun: usize,
    /// What waits for a service waits for these: its last step, or where it does not change those of what it needs.
    last: BTreeMap<String, BTreeSet<StepId>>,
    /// Steps of the present phase that nothing waits for yet.
    ends: BTreeSet<StepId>,
    timeout_s: u64,
}

impl Order<'_> {
    fn shared(&mut self, wanted: &Wanted, comparison: &mut Comparison<'_>) {
        let changes = self.compare(None, &wanted.shared, comparison);
        if changes.is_empty() {
            return;
        }
        let id = StepId::new(self.environment, "shared", "apply");
        self.add(Step {
            id: id.clone(),
            service: None,
            phase: wanted.phases.first().map(|phase| phase.name.clone()),
            needs: BTreeSet::new(),
            reversibility: Reversibility::Undoable,
            timeout_s: self.timeout_s,
            work: Work::Rollout { changes },
        });
        self.entry = BTreeSet::from([id]);
    }

    fn compare(
        &mut self,
        service: Option<&str>,
        objects: &[Object],
        comparison: &mut Comparison<'_>,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for object in objects {
            match comparison.wanted(service, object) {
                Some(Verdict::Change(change)) => changes.push(*change),
                Some(Verdict::Keep(kept)) => self.kept.push(kept),
                None => {}
            }
        }
        changes
    }

    fn add(&mut self, step: Step) {
        for need in &step.needs {
            self.ends.remove(need);
        }
        self.ends.insert(step.id.clone());
        self.steps.push(step);
    }

    fn phase(
        &mut self,
        wanted: &Wanted,
        phase: &WantedPhase,
        options: &PlanOptions,
        comparison: &mut Comparison<'_>,
    ) {
        for name in needs::in_order(wanted, self.defined, phase) {
            if let Some(service) = wanted.services.get(name) {
                self.service(phase, name, service, options, comparison);
            }
        }
        if self.steps.len() == self.begun {
            return;
        }
        let services = std::mem::take(&mut self.ends);
        for (name, gate) in &phase.gates {
            let id = StepId::new(self.environment, &format!("{}/gate", phase.name), name);
            let (work, reversibility) = match &gate.look {
                Look::Probe(probe) => {
                    (Work::Check { probe: probe.clone(), gate: true }, Reversibility::NoEffect)
                }
                // A gate's Job only looks; there is nothing to undo.
                Look::Job(job) => {
                    let job = job.clone().called(&gate_job(&phase.name, name));
                    let own_time = gate.timeout_s.is_some();
                    (Work::Job { job, undo: None, own_time }, Reversibility::NoEffect)
                }
            };
            self.add(Step {
                id,
                service: None,
                phase: Some(phase.name.clone()),
                needs: services.clone(),
                reversibility,
                timeout_s: gate.timeout_s.unwrap_or(self.timeout_s),
                work,
            });
        }
        let needs = if phase.gates.is_empty() { services } else { std::mem::take(&mut self.ends) };
        // No service has a step of this name, whatever it and the phase are called.
        let id = StepId::new(self.environment, &phase.name, "phase-end");
        self.add(Step {
            id: id.clone(),
            service: None,
            phase: Some(phase.name.clone()),
            needs,
            reversibility: Reversibility::NoEffect,
            timeout_s: self.timeout_s,
            work: Work::Barrier {},
        });
        self.begun = self.steps.len();
        self.entry = BTreeSet::from([id]);
    }

    fn service(
        &mut self,
        phase: &WantedPhase,
        name: &str,
        service: &WantedService,
        options: &PlanOptions,
        comparison: &mut Comparison<'_>,
    ) {
        let changes = self.compare(Some(name), &service.objects, comparison);
        let frontend = service.frontend.as_ref().filter(|_| {
            let released = comparison.base.and_then(|base| base.head.versions.get(name));
            let shown = comparison.base.and_then(|base| base.head.frontends.get(name));
            released != Some(&service.version) || shown != options.frontends.get(name)
        });
        let first = service.needs.iter().map(String::as_str).chain(self.defined.before(name));
        let behind: BTreeSet<StepId> =
            first.filter_map(|need| self.last.get(need)).flatten().cloned().collect();
        if changes.is_empty() && frontend.is_none() {
            self.last.insert(name.to_owned(), behind);
            return;
        }
        let mut needs = self.entry.clone();
        needs.extend(behind);
        let service_s = options.timeout_s.or(service.timeout_s).unwrap_or(self.timeout_s);
        let step = |verb: &str,
                    needs: BTreeSet<StepId>,
                    reversibility: Reversibility,
                    work: Work,
                    own_s: Option<u64>| Step {
            id: StepId::new(self.environment, name, verb),
            service: Some(name.to_owned()),
            phase: Some(phase.name.clone()),
            needs,
            reversibility,
            timeout_s: own_s.unwrap_or(service_s),
            work,
        };
        let mut steps = Vec::new();
        let mut chain = |verb: String, reversibility: Reversibility, work: Work, own_s: Option<u64>| {
            let made = step(&verb, std::mem::take(&mut needs), reversibility, work, own_s);
            needs = BTreeSet::from([made.id.clone()]);
            steps.push(made);
        };
        for spec in &service.before {
            chain(format!("job/{}", spec.name), reversibility(spec), job(spec), spec.timeout_s);
        }
        if !changes.is_empty() {
            chain("rollout".to_owned(), Reversibility::Undoable, Work::Rollout { changes }, None);
        }
        if let Some(frontend) = frontend {
            let work = Work::Frontend {
                project: frontend.project.clone(),
                domain: frontend.domain.clone(),
                version: service.version.clone(),
                existing: frontend.existing.clone(),
                before: options.frontends.get(name).cloned(),
            };
            chain("frontend".to_owned(), Reversibility::Undoable, work, None);
        }
        for (index, probe) in service.checks.iter().enumerate() {
            let work = Work::Check { probe: probe.clone(), gate: false };
            chain(format!("check/{}", index + 1), Reversibility::NoEffect, work, None);
        }
        for spec in &service.after {
            chain(format!("job/{}", spec.name), reversibility(spec), job(spec), spec.timeout_s);
        }
        if let Some(last) = steps.last() {
            self.last.insert(name.to_owned(), BTreeSet::from([last.id.clone()]));
        }
        for step in steps {
            self.add(step);
        }
    }

    /// Services that this plan leaves as they are stay part of the release.
    fn fixed(&mut self, wanted: &Wanted, base: Option<&Release>, comparison: &mut Comparison<'_>) {
        let planned: BTreeSet<&str> =
            wanted.phases.iter().flat_map(|phase| phase.services.iter().map(String::as_str)).collect();
        let Some(base) = base else { return };
        let left_out: BTreeSet<&ObjectKey> = wanted.left_out.iter().map(Object::key).collect();
        let services = wanted.services.iter().filter(|(name, _)| planned.contains(name.as_str()));
        let owned = services.flat_map(|(_, service)| &service.objects);
        let wished: BTreeSet<&ObjectKey> = owned.chain(&wanted.shared).map(Object::key).collect();
        for (key, released) in &base.objects {
            let stays = match released.service.as_deref() {
                // Who takes nothing of it away keeps it on record: whoever does has to find it there.
                None => !wanted.prune_shared,
                Some(service) => !planned.contains(service) && wanted.services.contains_key(service),
            };
            // What was one service's and would be shared from now on stays with the one.
            if left_out.contains(key) || stays && !wished.contains(key) {
                comparison.note_unserved(key, "it stays in the release as it was");
                self.kept.push(Kept {
                    service: released.service.clone(),
                    desired: released.desired.clone(),
                    fingerprint: released.fingerprint.clone().unwrap_or_default(),
                    all: comparison
                        .observed
                        .objects
                        .get(released.desired.key())
                        .and_then(|live| comparison.all(live)),
                });
            }
        }
    }
}

fn reversibility(spec: &JobSpec) -> Reversibility {
    if spec.undo.is_some() { Reversibility::Undoable } else { Reversibility::Irreversible }
}

fn job(spec: &JobSpec) -> Work {
    Work::Job { job: spec.job.clone(), undo: spec.undo.clone(), own_time: spec.timeout_s.is_some() }
}
