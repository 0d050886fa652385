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
        // The revision that was whole last, and what its pods are made of.
        let whole = set.text("/status/currentRevision").unwrap_or(&hash).to_owned();
        let made_of = set.at("/status/maily-current").cloned().unwrap_or_else(|| template.clone());
        let rolls = set.text("/spec/updateStrategy/type") != Some("OnDelete");
        let of = |hash: &str| pods.iter().filter(|pod| pod.label(label) == Some(hash)).count();
        // A strategy with a type and nothing else keeps as many first pods as there are of it.
        let partition = match set.at("/spec/updateStrategy/rollingUpdate") {
            Some(rolling) => {
                rolling["partition"].as_u64().and_then(|pods| usize::try_from(pods).ok()).unwrap_or(0)
            }
            None => of(&whole),
        };
        // Up in order, one after the other, unless it says that all may come at once.
        let mut waits = false;
        for index in 0..desired {
            match find(index) {
                None if rolls && index < partition => {
                    self.make_pod(set, &format!("{}-{index}", set.name()), &made_of, &[(label, &whole)]);
                }
                None => self.make_pod(set, &format!("{}-{index}", set.name()), &template, &[(label, &hash)]),
                Some(pod) if is_ready(pod) => continue,
                Some(_) => {}
            }
            waits = true;
            if !parallel {
                break;
            }
        }
        let held_back = set.int("/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0);
        let held_back = usize::try_from(held_back).unwrap_or_default();
        // Changed from the last to the first, one at a time. In order nothing is changed before every pod is ready, also
        // where the one that is not is the one to change (kubernetes/kubernetes#67250).
        if rolls && (parallel || !waits) {
            let changed = |pod: &&Object| pod.label(label) == Some(&hash);
            let next = (held_back..desired)
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
        let (current, made_of) =
            if updated == desired && ready == desired { (hash.clone(), template) } else { (whole, made_of) };
        let of_current = pods.iter().filter(|pod| pod.label(label) == Some(&current)).count();
        let status = json!({"observedGeneration": set.generation(), "replicas": pods.len(), "readyReplicas": ready,
            "availableReplicas": ready, "updatedReplicas": updated, "currentReplicas": of_current,
            "currentRevision": current, "updateRevision": hash, "maily-current": made_of});
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
        let text = generation.to_string();
        let labels = [("pod-template-generation", &*text), ("controller-revision-hash", &*hash)];
        // After a change that was taken back, those of before are of the template again.
        let is_new = |pod: &&Object| labels.iter().any(|(label, now)| pod.label(label) == Some(*now));
        let pods = self.pods_of(set);
        let stale = pods.iter().find(|pod| !is_new(pod));
        let all_ready = pods.iter().all(is_ready);
        let rolls = set.text("/spec/updateStrategy/type") != Some("OnDelete");
        if let Some(pod) = stale.filter(|pod| rolls && (all_ready || !is_ready(pod))) {
            let key = pod.key().clone();
            let _ = self.delete(&key, &Precondition::Any);
        }
        for node in &nodes {
            let name = format!("{}-{node}", set.name());
            if self.get(&pod_key(set.namespace(), &name)).is_none() {
                self.make_pod(set, &name, &template, &labels);
            }
        }
        let pods = self.pods_of(set);
        let updated = pods.iter().filter(is_new).count();
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
