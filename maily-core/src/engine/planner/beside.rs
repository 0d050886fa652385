//! What becomes of what a release does not set itself: what others have set on its objects, and claims of pods.

use super::{
    change::{Comparison, REPLICAS, Verdict, is_stopped},
    replace::other_number,
    volumes::{claim, coming, gone_when_scaled, in_words},
};
use crate::{
    engine::{MANAGER, Note, Operation, PROJECT, told_added, told_written_over},
    object::{FieldSet, Object},
};

impl Comparison<'_> {
    /// What others have set on an object beside the release, and what becomes of it.
    pub(super) fn note_beside(&mut self, live: &Object, verdict: &Verdict) {
        let (desired, change) = match verdict {
            Verdict::Keep(kept) => (Some(&kept.desired), None),
            Verdict::Change(change) => (change.desired.as_ref(), Some(change)),
        };
        let Some(desired) = desired else { return };
        let key = desired.key();
        let replaced = change.filter(|change| change.operation == Operation::Replace);
        if let (true, Some(added)) = (live.label(PROJECT).is_some(), told_added(live, desired)) {
            let end = match replaced {
                Some(_) => "it goes with the object, and is not made again",
                None => "it stays",
            };
            let text = format!("{key}: {added}, which the release does not set: {end}");
            self.notes.push(Note { topic: "foreign".into(), text });
        }
        let over = self.observed.written_over.get(key);
        // What a change takes away its fields tell.
        let over =
            change.is_none().then(|| told_written_over(self.sealer, live, over, self.observed.since()));
        if let Some(told) = over.flatten() {
            self.notes.push(Note { topic: "left".into(), text: format!("{key}: {told}") });
        }
        let stopped = || format!("{key} is scaled to 0 and stays so: none of its pods will run");
        let (topic, number) = match replaced {
            Some(change) => ("replace", other_number(live, change.hand_over_replicas)),
            None => ("stopped", is_stopped(live).then(stopped)),
        };
        // What was ours and is given up the fields tell of.
        let ours = || FieldSet::owned_by(live, |manager| manager == MANAGER).contains(&REPLICAS);
        if let Some(text) = number.filter(|_| desired.at("/spec/replicas").is_none() && !ours()) {
            self.notes.push(Note { topic: topic.into(), text });
        }
    }

    /// The number of pods that serves now, for a workload of a release that is brought back and says none: an autoscaler
    /// that does not come back may have set it, and the server would make one of none.
    pub(super) fn keeps_number(&mut self, desired: &Object) -> Option<i64> {
        let key = desired.key();
        let is_meant = self.goes_back
            && matches!(desired.kind(), "Deployment" | "StatefulSet")
            && desired.at("/spec/replicas").is_none()
            && !self.is_scaled(desired);
        let live = self.observed.objects.get(key).filter(|_| is_meant)?;
        let ours = FieldSet::owned_by(live, |manager| manager == MANAGER).contains(&REPLICAS);
        let number = live.int("/spec/replicas").filter(|number| ours && *number > 1)?;
        let text = format!(
            "{key} keeps its {number} pods: the release that comes back says no number (an autoscaler had set it, or none was \
             written); `kubectl scale` sets another"
        );
        self.notes.push(Note { topic: "replicas".into(), text });
        Some(number)
    }

    /// Claims that go with their pods, now or on a way back.
    pub(super) fn note_claims(&mut self, before: &Object, live: &Object, wanted: &Object) {
        let key = live.key();
        if let Some(claims) = in_words(gone_when_scaled(before, live, wanted)) {
            let text = format!(
                "{key} gets fewer pods, and with `whenScaled: Delete` their claims go with them ({claims}): no way back \
                 brings their data"
            );
            self.notes.push(Note { topic: "claims".into(), text });
        }
        let mut claims = coming(before, live, wanted);
        claims.retain(|name| self.observed.claims.contains(&claim(key, name)));
        if let Some(claims) = in_words(claims) {
            let text = format!(
                "{key} gets more pods, and with `whenScaled: Delete` a way back takes their claims along, also those of \
                 before ({claims}): nothing brings their data"
            );
            self.notes.push(Note { topic: "claims".into(), text });
        }
    }
}
