//! Somebody takes the environment over while its holder lives, and the holder must not stand in the way.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use maily_core::{
    engine::{EPOCH, EnvironmentError, Head, Outcome, RunEnd, RunOptions, Wish},
    model::Version,
    runtime::Runtime as _,
};
use serde_json::json;

use super::{
    chance::Chance,
    content::{content, differences},
    drill::LANDED,
    place::{Place, lock},
    scheduler::{Scheduler, Seat},
    stage::{Stage, VERSIONS, environment, release},
};

/// The second process ends the first one's run and brings the third version; the first one, who lives, must not stand
/// in the way. Tells what is wrong.
pub(super) fn contest(
    stage: &Arc<Stage>,
    place: &Arc<Place>,
    scheduler: &Scheduler,
    first: &Seat,
    second: &Seat,
    chance: &mut Chance,
) -> Vec<String> {
    let contest = lock(&place.armed).as_ref().and_then(|armed| armed.drill.contest);
    let halted = contest.is_some_and(|contest| contest.halted);
    if contest.is_some_and(|contest| contest.stamped) {
        copy_stamp(stage, place);
    }
    let over: Arc<Mutex<Option<String>>> = Arc::default();
    {
        let (stage, place, over, seat) =
            (Arc::clone(stage), Arc::clone(place), Arc::clone(&over), second.clone());
        second.detach(async move {
            let end = bring_third(&stage, &place, &seat).await;
            *lock(&over) = Some(end);
        });
    }
    if !halted {
        let deleted = scheduler.now() + Duration::from_millis(700);
        scheduler.run(chance, deleted, || lock(&over).is_some());
        place.unlease(&stage.environments[0]);
    }
    let mut found = Vec::new();
    let limit = scheduler.now() + Duration::from_secs(3_600);
    if !scheduler.run(chance, limit, || lock(&over).is_some()) {
        found.push("the second process does not end".to_owned());
    }
    scheduler.halt(first.participant(), false);
    let landed = scheduler.now() + LANDED;
    scheduler.run(chance, landed, || false);
    type InForce = Result<Option<String>, EnvironmentError>;
    let inside: Arc<Mutex<Option<InForce>>> = Arc::default();
    {
        let (stage, place, inside, seat) =
            (Arc::clone(stage), Arc::clone(place), Arc::clone(&inside), second.clone());
        second.detach(async move {
            let head = environment(&place, &seat, &stage.environments[0]).head().await;
            let version =
                |head: Head| head.release.and_then(|(_, release)| release.versions.into_values().next());
            *lock(&inside) = Some(head.map(version));
        });
    }
    scheduler.run(chance, scheduler.now() + LANDED, || lock(&inside).is_some());
    let resolved = &stage.environments[0];
    let content = content(&place.world(), &resolved.environment.namespace);
    match lock(&inside).take() {
        Some(Ok(Some(version))) => {
            let wanted =
                stage.content_of(&resolved.environment.name, &version).map_or(&[][..], Vec::as_slice);
            if wanted != content {
                let differences = differences(wanted, &content).join("; ");
                found.push(format!("{version} is in force, and the world is another: {differences}"));
            }
        }
        other => found.push(format!("nothing is in force: {other:?}")),
    }
    if lock(&over).as_deref() != Some("succeeded") {
        found.push(format!("the second process cannot: {:?}", lock(&over)));
    }
    let mut witness = lock(&place.witness);
    found.append(&mut witness.violations);
    found.extend(witness.unfinished().into_iter().map(|run| format!("run {run} has no end")));
    found
}

/// A person gives an object the annotations of one in another environment, whose epochs are higher.
fn copy_stamp(stage: &Arc<Stage>, place: &Arc<Place>) {
    let namespace = &stage.environments[0].environment.namespace;
    let mut world = place.world();
    let found = world.of_kind("Deployment").into_iter().find(|o| o.namespace() == Some(namespace.as_str()));
    if let Some(key) = found.map(|object| object.key().clone()) {
        let copied = json!({"metadata": {"annotations": {EPOCH: "40"}}});
        let _ = world.edit_as("kubectl-edit", &key, copied);
    }
    drop(world);
    place.tell_changed();
}

async fn bring_third(stage: &Arc<Stage>, place: &Arc<Place>, seat: &Seat) -> String {
    let resolved = &stage.environments[0];
    let environment = environment(place, seat, resolved);
    let Ok(version) = VERSIONS[2].parse::<Version>() else { return String::new() };
    let mut options = RunOptions::new("second");
    options.wait = Some(Duration::from_secs(120));
    let mut said = String::new();
    for _ in 0..5 {
        if let Err(error) = environment.take_over(None, Wish::Abort, &options).await {
            said = error.to_string();
            seat.sleep(Duration::from_secs(5)).await;
            continue;
        }
        let rendered = stage.rendered_of(&resolved.environment.name, VERSIONS[2]);
        match release(&environment, resolved, rendered, &version, &options).await {
            Ok(RunEnd::Over { outcome: Outcome::Succeeded { .. }, .. }) => return "succeeded".to_owned(),
            Ok(end) => said = format!("{end:?}"),
            Err(error) => said = error.to_string(),
        }
        seat.sleep(Duration::from_secs(5)).await;
    }
    said
}
