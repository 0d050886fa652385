//! Jobs.

use jiff::{SignedDuration, Timestamp};
use maily_core::{object::Object, provider::Precondition};
use serde_json::{Value, json};

use super::World;

impl World {
    /// Brings a Job on.
    pub(super) fn job(&mut self, job: &Object) {
        let ended = |condition: &&Value| condition["status"] == "True" && condition["type"] != "Suspended";
        if let Some(condition) = job.items("/status/conditions").iter().find(ended) {
            return self.clear_away(job, condition);
        }
        let pods = self.pods_of(job);
        let suspended = job.at("/spec/suspend") == Some(&json!(true));
        let over = |pod: &Object| matches!(pod.text("/status/phase"), Some("Succeeded" | "Failed"));
        let (ended, running): (Vec<Object>, Vec<Object>) = pods.into_iter().partition(over);
        if suspended {
            for pod in &running {
                let _ = self.delete(pod.key(), &Precondition::Any);
            }
        }
        let pods = if suspended { ended } else { ended.into_iter().chain(running).collect() };
        let count = |phase: &str| pods.iter().filter(|pod| pod.text("/status/phase") == Some(phase)).count();
        let (succeeded, failed) = (count("Succeeded"), count("Failed"));
        let wanted = usize::try_from(job.int("/spec/completions").unwrap_or(1)).unwrap_or(1);
        let limit = usize::try_from(job.int("/spec/backoffLimit").unwrap_or(6)).unwrap_or(6);
        let active = pods.len() - succeeded - failed;
        let time = self.time();
        let mut status =
            json!({"active": active, "succeeded": succeeded, "failed": failed, "startTime": time});
        if let Some(start) = job.at("/status/startTime") {
            status["startTime"] = start.clone();
        }
        let condition = |name: &str, reason: &str, message: &str| json!([{"type": name, "status": "True", "reason": reason, "message": message, "lastTransitionTime": time}]);
        if succeeded >= wanted {
            status["conditions"] = condition("Complete", "CompletionsReached", "");
        } else if failed > limit {
            status["conditions"] =
                condition("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit");
        } else if suspended {
            status["conditions"] = condition("Suspended", "JobSuspended", "Job suspended");
        } else if active == 0 {
            let template: Value = job.at("/spec/template").cloned().unwrap_or_default();
            let name = format!("{}-{}", job.name(), pods.len());
            self.make_pod(job, &name, &template, &[("job-name", job.name())]);
            status["active"] = json!(1);
        }
        let over = status.pointer("/conditions/0/type").is_some_and(|kind| kind != "Suspended");
        self.report_status(job.key(), status);
        if over && let Some(stays) = stays(job) {
            self.look_after(job.key(), stays);
        }
    }

    /// A Job that is over stays as long as it says, or for ever.
    fn clear_away(&mut self, job: &Object, condition: &Value) {
        let Some(stays) = stays(job) else { return };
        let ended = condition["lastTransitionTime"].as_str().and_then(|time| time.parse().ok());
        let left = ended
            .unwrap_or(self.now)
            .saturating_add(stays)
            .map(|due: Timestamp| due.duration_since(self.now));
        match left {
            Ok(left) if left.is_positive() => self.look_after(job.key(), left),
            _ => drop(self.delete(job.key(), &Precondition::Any)),
        }
    }
}

fn stays(job: &Object) -> Option<SignedDuration> {
    job.int("/spec/ttlSecondsAfterFinished").map(SignedDuration::from_secs)
}
