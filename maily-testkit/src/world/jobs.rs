//! Jobs.

use maily_core::object::Object;
use serde_json::{Value, json};

use super::World;

impl World {
    /// Brings a Job on.
    pub(super) fn job(&mut self, job: &Object) {
        let over = job.items("/status/conditions").iter().any(|c| c["status"] == "True");
        if over || job.at("/spec/suspend") == Some(&json!(true)) {
            return;
        }
        let pods = self.pods_of(job);
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
        } else if active == 0 {
            let template: Value = job.at("/spec/template").cloned().unwrap_or_default();
            let name = format!("{}-{}", job.name(), pods.len());
            self.make_pod(job, &name, &template, &[("job-name", job.name())]);
            status["active"] = json!(1);
        }
        self.report_status(job.key(), status);
    }
}
