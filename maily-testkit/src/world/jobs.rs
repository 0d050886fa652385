//! Jobs.

use maily_core::{object::Object, provider::Precondition};
use serde_json::{Value, json};

use super::World;

impl World {
    /// Brings a Job on.
    pub(super) fn job(&mut self, job: &Object) {
        let ended = |condition: &Value| condition["status"] == "True" && condition["type"] != "Suspended";
        let over = job.items("/status/conditions").iter().any(ended);
        if over {
            return;
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
        self.report_status(job.key(), status);
    }
}
