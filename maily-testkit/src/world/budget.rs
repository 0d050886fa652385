//! What the world says of disruption budgets and of load balancers.

use jiff::SignedDuration;
use maily_core::object::Object;
use serde_json::{Value, json};

use super::{World, pods::is_ready};

/// Time until a load balancer has its address.
const ADDRESS: SignedDuration = SignedDuration::from_secs(1);

impl World {
    /// How many pods a budget lets go.
    pub(super) fn budget(&mut self, budget: &Object) {
        let pods: Vec<&Object> =
            self.objects.beside("Pod", budget.namespace()).filter(|pod| covers(budget, pod)).collect();
        let expected = pods.len();
        let healthy = pods.iter().filter(|pod| is_ready(pod)).count();
        let needed =
            match (amount(budget, "minAvailable", expected), amount(budget, "maxUnavailable", expected)) {
                (Some(least), _) => least,
                (None, Some(most)) => expected.saturating_sub(most),
                (None, None) => expected.saturating_sub(1),
            };
        let status = json!({"observedGeneration": budget.generation(), "expectedPods": expected,
            "currentHealthy": healthy, "desiredHealthy": needed, "disruptionsAllowed": healthy.saturating_sub(needed)});
        self.report_status(budget.key(), status);
    }

    /// A Service of type `LoadBalancer` gets an address after a while.
    pub(super) fn balance(&mut self, service: &Object) {
        if service.text("/spec/type") != Some("LoadBalancer")
            || !service.items("/status/loadBalancer/ingress").is_empty()
        {
            return;
        }
        let made: Option<jiff::Timestamp> =
            service.text("/metadata/creationTimestamp").and_then(|time| time.parse().ok());
        if made.is_some_and(|made| self.now < made + ADDRESS) {
            return self.look_after(service.key(), ADDRESS);
        }
        let status = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}});
        self.report_status(service.key(), status);
    }
}

/// Whether a budget is about a pod of its namespace.
pub(super) fn covers(budget: &Object, pod: &Object) -> bool {
    let selector = budget.at("/spec/selector/matchLabels").and_then(Value::as_object);
    selector
        .is_some_and(|labels| pod.has_labels(labels.iter().map(|(k, v)| (k, v.as_str().unwrap_or_default()))))
}

/// A number of pods, or a share of them in percent, rounded up as the API does.
fn amount(budget: &Object, field: &str, of: usize) -> Option<usize> {
    match budget.at(&format!("/spec/{field}"))? {
        Value::Number(number) => usize::try_from(number.as_u64()?).ok(),
        Value::String(text) => {
            let percent: usize = text.trim_end_matches('%').parse().ok()?;
            Some((of * percent).div_ceil(100))
        }
        _ => None,
    }
}
