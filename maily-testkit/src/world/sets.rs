//! StatefulSets and DaemonSets over time.

use maily_core::{object::Object, provider::Precondition};
use serde_json::json;

use super::{World, pods::is_ready, pods::pod_key};

impl World {
    pub(super) fn stateful_set(&mut self, set: &Object) {
        let template = set.at("/spec/template").cloned().unwrap_or_default();
        let hash = format!("{}-{}", set.name(), self.template_hash(set, &template));
        let desired = usize::try_from(set.int("/spec/replicas").unwrap_or(1)).unwrap_or_default();
        let label = "controller-revision-hash";
        let pods = self.pods_of(set);
        let find = |index: usize| pods.iter().find(|pod| pod.name() == format!("{}-{index}", set.name()));
        let parallel = set.text("/spec/podManagementPolicy") == Some("Parallel");
        // Up in order, one after the other, unless it says that all may come at once.
        let mut waits = false;
        for index in 0..desired {
            match find(index) {
                None => self.make_pod(set, &format!("{}-{index}", set.name()), &template, &[(label, &hash)]),
                Some(pod) if is_ready(pod) => continue,
                Some(_) => {}
            }
            waits = true;
            if !parallel {
                break;
            }
        }
        let rolls = set.text("/spec/updateStrategy/type") != Some("OnDelete");
        let partition = set.int("/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0);
        let partition = usize::try_from(partition).unwrap_or_default();
        // Changed from the last to the first, one at a time. In order nothing is changed before every pod is ready, also
        // where the one that is not is the one to change (kubernetes/kubernetes#67250).
        if rolls && (parallel || !waits) {
            let changed = |pod: &&Object| pod.label(label) == Some(&hash);
            let next = (partition..desired)
                .rev()
                .map(find)
                .find(|pod| !pod.is_some_and(|pod| is_ready(pod) && changed(&pod)));
            if let Some(pod) = next.flatten().filter(|pod| !changed(pod)) {
                let key = pod.key().clone();
                let _ = self.delete(&key, &Precondition::Any);
            }
        }
        for index in desired..pods.len() {
            let _ = self
                .delete(&pod_key(set.namespace(), &format!("{}-{index}", set.name())), &Precondition::Any);
        }
        let pods = self.pods_of(set);
        let updated = pods.iter().filter(|pod| pod.label(label) == Some(&hash)).count();
        let ready = pods.iter().filter(|pod| is_ready(pod)).count();
        let old = set.text("/status/currentRevision").unwrap_or(&hash).to_owned();
        let current = if updated == desired && ready == desired { hash.clone() } else { old };
        let status = json!({"observedGeneration": set.generation(), "replicas": pods.len(), "readyReplicas": ready,
            "availableReplicas": ready, "updatedReplicas": updated, "currentRevision": current, "updateRevision": hash});
        self.report(set.key(), |body| {
            body.insert("status".into(), status);
        });
    }

    pub(super) fn daemon_set(&mut self, set: &Object) {
        let template = set.at("/spec/template").cloned().unwrap_or_default();
        let hash = self.template_hash(set, &template);
        let known = set.text("/status/maily-template").unwrap_or_default().to_owned();
        let generation = set.int("/status/maily-generation").unwrap_or(0) + i64::from(known != hash);
        let nodes: Vec<String> = self.of_kind("Node").iter().map(|node| node.name().to_owned()).collect();
        let (label, text) = ("pod-template-generation", generation.to_string());
        let pods = self.pods_of(set);
        let stale = pods.iter().find(|pod| pod.label(label) != Some(&text));
        let all_ready = pods.iter().all(is_ready);
        let rolls = set.text("/spec/updateStrategy/type") != Some("OnDelete");
        if let Some(pod) = stale.filter(|pod| rolls && (all_ready || !is_ready(pod))) {
            let key = pod.key().clone();
            let _ = self.delete(&key, &Precondition::Any);
        }
        for node in &nodes {
            let name = format!("{}-{node}", set.name());
            if self.get(&pod_key(set.namespace(), &name)).is_none() {
                self.make_pod(set, &name, &template, &[(label, &text)]);
            }
        }
        let pods = self.pods_of(set);
        let updated = pods.iter().filter(|pod| pod.label(label) == Some(&text)).count();
        let ready = pods.iter().filter(|pod| is_ready(pod)).count();
        let status = json!({"observedGeneration": set.generation(), "desiredNumberScheduled": nodes.len(),
            "currentNumberScheduled": pods.len(), "updatedNumberScheduled": updated, "numberReady": ready,
            "numberAvailable": ready, "maily-template": hash, "maily-generation": generation});
        self.report(set.key(), |body| {
            body.insert("status".into(), status);
            let metadata = &mut body["metadata"];
            if metadata.get("annotations").is_none() {
                metadata["annotations"] = json!({});
            }
            metadata["annotations"]["deprecated.daemonset.template.generation"] = json!(text);
        });
    }
}
