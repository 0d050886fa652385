//! Pods and how they come up.

use jiff::{SignedDuration, Timestamp};
use maily_core::object::{Object, ObjectKey, ObjectKind};
use serde_json::{Value, json};

use super::{
    World,
    fault::{Fault, PodTrouble},
};

/// Label by which a fault finds the pods of a service.
const NAMES: &[&str] = &["app.kubernetes.io/name", "app"];
/// Milliseconds until the fastest pod is ready.
const FIRST_MS: i64 = 300;
/// Pods are ready within this many milliseconds more.
const SPREAD_MS: u64 = 600;
/// How much longer a slow pod takes.
const SLOW: SignedDuration = SignedDuration::from_secs(30);

impl World {
    /// Makes a pod of a template for an owner.
    pub(super) fn make_pod(&mut self, owner: &Object, name: &str, template: &Value, labels: &[(&str, &str)]) {
        // One of a former owner of this name still stops: its end wakes whoever owns the name now.
        if self.get(&pod_key(owner.namespace(), name)).is_some() {
            return;
        }
        let uid = self.uid();
        let time = self.time();
        let mut metadata = template.get("metadata").cloned().unwrap_or_else(|| json!({}));
        metadata["name"] = json!(name);
        metadata["namespace"] = json!(owner.namespace());
        metadata["uid"] = json!(uid);
        metadata["creationTimestamp"] = json!(time);
        for (key, value) in labels {
            metadata["labels"][key] = json!(value);
        }
        metadata["ownerReferences"] = json!([{"apiVersion": owner.key().kind.api_version, "kind": owner.kind(),
            "name": owner.name(), "uid": owner.uid(), "controller": true}]);
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata,
            "spec": template.get("spec").cloned().unwrap_or_default(),
            "status": {"phase": "Pending", "conditions": []}});
        if let Ok(pod) = Object::from_value(pod) {
            self.put(pod);
        }
    }

    /// The trouble that a pod is in.
    pub(crate) fn trouble(&self, pod: &Object) -> Option<PodTrouble> {
        if !self.faults.iter().any(|fault| matches!(fault, Fault::Pods { .. })) {
            return None;
        }
        let service = pod.label("maily.dev/service");
        let names: Vec<&str> = NAMES.iter().filter_map(|label| pod.label(label)).chain(service).collect();
        let tags: Vec<&str> = pod
            .items("/spec/containers")
            .iter()
            .filter_map(|container| container.get("image")?.as_str()?.rsplit_once(':').map(|(_, tag)| tag))
            .collect();
        self.faults.iter().find_map(|fault| match fault {
            Fault::Pods { trouble, service, version } => {
                let named = names.iter().any(|name| name == service)
                    || pod.name().strip_prefix(service.as_str()).is_some_and(|rest| rest.starts_with('-'))
                    || names.iter().any(|name| {
                        name.strip_suffix(service.as_str()).is_some_and(|rest| rest.ends_with('-'))
                    });
                let version = version.as_deref().is_none_or(|version| tags.contains(&version));
                (named && version).then_some(*trouble)
            }
            _ => None,
        })
    }

    /// Whether a pod of a Deployment's present template is ready; a Deployment of no pods serves as it should.
    pub fn serves(&self, deployment: &ObjectKey) -> bool {
        let Some(object) = self.get(deployment) else { return false };
        let image = |object: &Object, at: &str| object.text(at).map(str::to_owned);
        let wanted = image(object, "/spec/template/spec/containers/0/image");
        let selector = object.at("/spec/selector/matchLabels").and_then(Value::as_object);
        object.int("/spec/replicas") == Some(0)
            || self.objects.beside("Pod", object.namespace()).any(|pod| {
                selector.is_some_and(|s| s.iter().all(|(k, v)| pod.label(k) == v.as_str()))
                    && image(pod, "/spec/containers/0/image") == wanted
                    && is_ready(pod)
            })
    }

    /// When a pod that is in no trouble is ready: between 300 and 900 ms after it was made, by its name.
    fn due(&self, pod: &Object) -> Timestamp {
        let made: Timestamp =
            pod.text("/metadata/creationTimestamp").and_then(|time| time.parse().ok()).unwrap_or(self.now);
        made + self.time_of(pod)
    }

    /// How long a pod in no trouble takes to be ready.
    pub(super) fn time_of(&self, pod: &Object) -> SignedDuration {
        let spread = i64::try_from(spread(self.seed, pod.name())).unwrap_or_default();
        SignedDuration::from_millis(FIRST_MS + spread)
    }

    /// Brings a pod on.
    pub(super) fn play_pod(&mut self, pod: &Object) {
        let old = pod.at("/status").cloned().unwrap_or_default();
        if matches!(old.get("phase").and_then(Value::as_str), Some("Succeeded" | "Failed")) {
            return;
        }
        if self.now < self.due(pod) {
            return self.look_after(pod.key(), self.due(pod).duration_since(self.now));
        }
        if self.trouble(pod) == Some(PodTrouble::Slow) && self.now < self.due(pod) + SLOW {
            let ready = self.due(pod) + SLOW;
            self.look_after(pod.key(), ready.duration_since(self.now));
        }
        let status = self.status(pod, &old);
        if status != old {
            if let Some((reason, message)) = self.trouble(pod).and_then(told) {
                self.tell_event(pod, reason, message);
            }
            self.edit(pod.key(), |body| {
                body.insert("status".into(), status);
            });
        }
    }

    /// Writes an Event about a pod. The API forgets Events after an hour; here they go with their pod.
    fn tell_event(&mut self, pod: &Object, reason: &str, message: &str) {
        let time = self.time();
        let name = format!("{}.{}", pod.name(), reason.to_lowercase());
        let about = json!({"apiVersion": "v1", "kind": "Pod", "name": pod.name(), "namespace": pod.namespace(),
            "uid": pod.uid()});
        let event = json!({"apiVersion": "v1", "kind": "Event",
            "metadata": {"name": name, "namespace": pod.namespace(), "uid": self.uid(), "creationTimestamp": time,
                "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": pod.name(), "uid": pod.uid()}]},
            "involvedObject": about, "type": "Warning", "reason": reason, "message": message, "count": 1,
            "firstTimestamp": time, "lastTimestamp": time, "source": {"component": "sandbox"}});
        if let Ok(event) = Object::from_value(event) {
            self.put(event);
        }
    }

    fn status(&self, pod: &Object, old: &Value) -> Value {
        let time = self.time();
        let of_job = pod.items("/metadata/ownerReferences").iter().any(|owner| owner["kind"] == "Job");
        let trouble = self.trouble(pod);
        let slow = trouble == Some(PodTrouble::Slow) && self.now < self.due(pod) + SLOW;
        let containers = pod.items("/spec/containers");
        let entry = |state: Value, ready: bool, restarts: u32, last: Value| -> Vec<Value> {
            containers
                .iter()
                .map(|container| {
                    let pulled = state.get("waiting").is_none() || restarts > 0;
                    let image = container["image"].as_str().unwrap_or_default();
                    let id = if pulled { self.image_id(image) } else { String::new() };
                    json!({"name": container["name"], "image": image, "imageID": id, "ready": ready,
                        "started": ready, "restartCount": restarts, "state": state, "lastState": last})
                })
                .collect()
        };
        let waiting =
            |reason: &str, message: &str| json!({"waiting": {"reason": reason, "message": message}});
        let running = json!({"running": {"startedAt": time}});
        let ended = |code: i32| {
            json!({"terminated": {"exitCode": code, "reason": if code == 0 { "Completed" } else { "Error" },
                "startedAt": time, "finishedAt": time}})
        };
        let (phase, ready, statuses) = match trouble {
            Some(PodTrouble::Unschedulable) => {
                return json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
                    "reason": "Unschedulable", "message": "0/3 nodes are available: 3 Insufficient cpu."}]});
            }
            Some(PodTrouble::Crash) if of_job => ("Failed", false, entry(ended(1), false, 0, json!({}))),
            Some(PodTrouble::Crash) => (
                "Running",
                false,
                entry(
                    waiting("CrashLoopBackOff", "back-off 10s restarting failed container"),
                    false,
                    3,
                    ended(1),
                ),
            ),
            Some(PodTrouble::ImageMissing) => (
                "Pending",
                false,
                entry(
                    waiting("ImagePullBackOff", "Back-off pulling image: manifest unknown: not found"),
                    false,
                    0,
                    json!({}),
                ),
            ),
            Some(PodTrouble::ConfigError) => (
                "Pending",
                false,
                entry(
                    waiting("CreateContainerConfigError", "secret \"absent\" not found"),
                    false,
                    0,
                    json!({}),
                ),
            ),
            Some(PodTrouble::NeverReady) => ("Running", false, entry(running, false, 0, json!({}))),
            Some(PodTrouble::Slow) if slow => ("Running", false, entry(running, false, 0, json!({}))),
            _ if of_job => ("Succeeded", false, entry(ended(0), false, 0, json!({}))),
            _ => ("Running", true, entry(running, true, 0, json!({}))),
        };
        // A status that says the same keeps its times.
        let same = old.get("phase").and_then(Value::as_str) == Some(phase)
            && old.pointer("/containerStatuses/0/ready") == Some(&json!(ready))
            && old.pointer("/containerStatuses/0/restartCount")
                == statuses.first().map(|s| &s["restartCount"]);
        if same {
            return old.clone();
        }
        let word = if ready { "True" } else { "False" };
        let condition = |name: &str| json!({"type": name, "status": word, "lastTransitionTime": time});
        json!({"phase": phase, "startTime": time, "containerStatuses": statuses,
            "conditions": [condition("Ready"), condition("ContainersReady")]})
    }

    /// Moves the tag of an image: pods that are made from now on run another one.
    pub fn move_tag(&mut self, image: &str) {
        *self.moved_tags.entry(image.to_owned()).or_default() += 1;
    }

    /// What a container of this image reports: its repository and digest.
    fn image_id(&self, image: &str) -> String {
        let (name, digest) =
            image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
        let tag = name.rfind('/').map_or(0, |at| at + 1);
        let repository = name[tag..].find(':').map_or(name, |colon| &name[..tag + colon]);
        match digest {
            Some(digest) => format!("{repository}@{digest}"),
            None => {
                let moves = self.moved_tags.get(image).copied().unwrap_or_default();
                // FNV-1a: a registry has one digest for one content, and a simulation makes many pods.
                let hash =
                    image.bytes().chain(moves.to_le_bytes()).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
                    });
                format!("{repository}@sha256:{}", format!("{hash:016x}").repeat(4))
            }
        }
    }

    /// The log of a pod.
    pub fn log(&self, key: &ObjectKey, previous: bool) -> Option<Vec<(Timestamp, String)>> {
        let pod = self.get(key)?;
        let made: Timestamp =
            pod.text("/metadata/creationTimestamp").and_then(|time| time.parse().ok()).unwrap_or(self.now);
        let image = pod.text("/spec/containers/0/image").unwrap_or("unknown");
        let mut lines = vec![(made, format!("starting {image}"))];
        let crashed =
            pod.text("/status/containerStatuses/0/state/waiting/reason") == Some("CrashLoopBackOff");
        let failed = pod.text("/status/phase") == Some("Failed");
        if (crashed && previous) || failed {
            lines.push((made, "fatal: simulated crash: cannot reach its database".to_owned()));
        } else if is_ready(pod) {
            let port = pod.at("/spec/containers/0/ports/0/containerPort").and_then(Value::as_i64);
            lines.push((
                self.due(pod),
                port.map_or("working".to_owned(), |port| format!("listening on :{port}")),
            ));
        }
        let said = self.said.iter().filter(|(pod, ..)| pod == key && !previous);
        lines.extend(said.map(|(_, time, text)| (*time, text.clone())));
        Some(lines)
    }

    /// Lets a pod say one more line.
    pub fn say(&mut self, pod: &ObjectKey, line: &str) {
        self.said.push((pod.clone(), self.now, line.to_owned()));
    }
}

/// What the cluster tells of a trouble, as reason and message of an Event.
fn told(trouble: PodTrouble) -> Option<(&'static str, &'static str)> {
    Some(match trouble {
        PodTrouble::Crash => ("BackOff", "Back-off restarting failed container"),
        PodTrouble::ImageMissing => ("Failed", "Failed to pull image: manifest unknown: not found"),
        PodTrouble::ConfigError => ("Failed", "Error: secret \"absent\" not found"),
        PodTrouble::NeverReady => {
            ("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503")
        }
        PodTrouble::Unschedulable => ("FailedScheduling", "0/3 nodes are available: 3 Insufficient cpu."),
        PodTrouble::Slow | PodTrouble::Errors | PodTrouble::Lagging => return None,
    })
}

/// Milliseconds that a pod of this name takes longer than the fastest.
fn spread(seed: u64, name: &str) -> u64 {
    name.bytes().fold(seed, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte))) % SPREAD_MS
}

/// Whether a pod is ready.
pub(crate) fn is_ready(pod: &Object) -> bool {
    pod.items("/status/conditions").iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

pub(super) fn pod_key(namespace: Option<&str>, name: &str) -> ObjectKey {
    ObjectKey::new(ObjectKind::new("v1", "Pod"), namespace, name)
}
