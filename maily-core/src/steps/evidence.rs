//! What a person wants to see of a rollout that failed: the last lines of a log, and the cluster's Events. Neither
//! may hide the failure itself: what cannot be read is left out.

use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use serde_json::Value;

use super::{context::Context, watcher::version};
use crate::{
    object::{Object, ObjectKey, ObjectKind},
    provider::{ListQuery, LogOptions},
    runtime::within,
};

/// Lines of a failed container's log that travel with the failure.
const LOG_LINES: u32 = 20;
/// Events that travel with the failure.
const EVENTS: usize = 5;
/// Longest text of an Event or of a line of a log, in characters: they are on record more than once.
const LENGTH: usize = 500;
/// So much of a log is asked for, in bytes: more than so many lines have where a runtime splits them at 16 KiB.
const LOG_BYTES: u32 = 512 << 10;
/// How long the evidence is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whose Events tell of a failure.
#[derive(Debug)]
pub(super) struct Involved {
    /// The object that shows the failure.
    pub(super) key: ObjectKey,
    /// Its uid, where it is known: the pods of a StatefulSet have the names of those before them.
    pub(super) uid: Option<String>,
    /// uids of its pods.
    pub(super) pods: Vec<String>,
    /// Events before this are of another rollout.
    pub(super) since: Option<Timestamp>,
}

impl Involved {
    fn told_by(&self, event: &Object) -> bool {
        let (kind, name, uid) = (
            event.text("/involvedObject/kind").unwrap_or_default(),
            event.text("/involvedObject/name").unwrap_or_default(),
            event.text("/involvedObject/uid").unwrap_or_default(),
        );
        if kind == self.key.kind.kind && name == self.key.name {
            return self.uid.as_deref().is_none_or(|own| own == uid);
        }
        // Of its parts only what went wrong.
        if event.text("/type") != Some("Warning") {
            return false;
        }
        match kind {
            "Pod" => self.pods.iter().any(|pod| pod == uid),
            // A ReplicaSet has the name of its Deployment and one word more. It may have no pod to be known by.
            "ReplicaSet" => {
                self.key.kind.kind == "Deployment"
                    && name
                        .strip_prefix(self.key.name.as_str())
                        .and_then(|rest| rest.strip_prefix('-'))
                        .is_some_and(|hash| !hash.contains('-'))
            }
            _ => false,
        }
    }
}

/// The last Events of what failed, oldest first.
pub(super) async fn events(context: &Context, involved: &Involved) -> Vec<String> {
    let query = ListQuery::new(ObjectKind::new("v1", "Event"), involved.key.namespace.as_deref());
    let listed = within(&*context.runtime, PATIENCE, context.providers.cluster.list(&query)).await;
    let Some(Ok(listed)) = listed else { return Vec::new() };
    last_events(&listed, involved)
}

fn last_events(listed: &[Object], involved: &Involved) -> Vec<String> {
    // Some times have whole seconds alone: within one, the order is that of the writes.
    let second = |at: Timestamp| at.as_second();
    let mut told: Vec<(Option<i64>, u64, String)> = listed
        .iter()
        .filter(|event| involved.told_by(event))
        .map(|event| (last_seen(event).map(second), version(event), text(event)))
        .filter(|(at, ..)| match (at, involved.since.map(second)) {
            (Some(at), Some(since)) => *at >= since,
            _ => true,
        })
        .collect();
    told.sort();
    told.dedup_by(|next, kept| next.2 == kept.2);
    let surplus = told.len().saturating_sub(EVENTS);
    told.into_iter().skip(surplus).map(|(.., text)| text).collect()
}

/// Clients write Events in an old form, with a count, and in a new one, with a series.
fn last_seen(event: &Object) -> Option<Timestamp> {
    ["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"]
        .into_iter()
        .find_map(|path| event.text(path)?.parse().ok())
}

/// Over which time an Event was counted.
fn over(event: &Object) -> Option<String> {
    let first: Timestamp = event.text("/firstTimestamp").or(event.text("/eventTime"))?.parse().ok()?;
    let seconds = last_seen(event)?.as_second() - first.as_second();
    Some(match seconds {
        ..1 => return None,
        1..120 => format!(" over {seconds}s"),
        120..7_200 => format!(" over {}m", seconds / 60),
        _ => format!(" over {}h", seconds / 3_600),
    })
}

fn text(event: &Object) -> String {
    let message = event.text("/message").unwrap_or_default().trim();
    let text = cut(format!("{}: {message}", event.text("/reason").unwrap_or("Event")));
    let count =
        ["/series/count", "/count"].into_iter().find_map(|path| event.at(path).and_then(Value::as_i64));
    match count {
        // A count goes back to the first of them, which may be of another run.
        Some(count) if count > 1 => format!("{text} (x{count}{})", over(event).unwrap_or_default()),
        _ => text,
    }
}

fn cut(text: String) -> String {
    let mut text = text;
    if let Some((end, _)) = text.char_indices().nth(LENGTH) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// The last lines of a log.
pub(super) async fn last_lines(
    context: &Context,
    pod: &ObjectKey,
    container: String,
    previous: bool,
) -> Vec<String> {
    for previous in [previous, false] {
        let options = LogOptions {
            container: Some(container.clone()),
            tail: Some(LOG_LINES),
            previous,
            bytes: Some(LOG_BYTES),
            ..LogOptions::default()
        };
        let read = async {
            let mut stream = context.providers.cluster.logs(pod, &options).await.ok()?;
            let mut lines = Vec::new();
            while let Some(Ok(line)) = stream.next().await {
                lines.push(cut(line.text));
            }
            Some(lines)
        };
        let lines = within(&*context.runtime, PATIENCE, read).await.flatten();
        if let Some(lines) = lines.filter(|lines| !lines.is_empty()) {
            return lines;
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(kind: &str, name: &str, uid: &str, minute: u32, rest: Value) -> Object {
        let mut body = json!({"apiVersion": "v1", "kind": "Event",
            "metadata": {"name": format!("{name}.{minute}"), "namespace": "n"}, "type": "Warning",
            "involvedObject": {"kind": kind, "name": name, "uid": uid},
            "lastTimestamp": format!("2026-11-25T10:{minute:02}:00Z")});
        for (key, value) in rest.as_object().unwrap() {
            body[key] = value.clone();
        }
        Object::from_value(body).unwrap()
    }

    fn involved(kind: &str, name: &str) -> Involved {
        let key = ObjectKey::new(ObjectKind::new("v1", kind), Some("n"), name);
        Involved { key, uid: Some("u".into()), pods: vec!["p".into()], since: None }
    }

    #[test]
    fn the_last_five_of_the_object_are_told_in_order_with_their_counts() {
        let mut listed: Vec<Object> = (1..=7)
            .rev()
            .map(|n| event("Pod", "web-0", "u", n, json!({"reason": "BackOff", "message": format!("m{n}")})))
            .collect();
        listed.push(event(
            "Pod",
            "web-0",
            "u",
            8,
            json!({"reason": "Failed", "message": "no", "count": 4,
            "firstTimestamp": "2026-11-25T09:57:00Z"}),
        ));
        let new = json!({"reason": "Slow", "message": "yes", "lastTimestamp": null,
            "eventTime": "2026-11-25T10:09:00.000000Z", "series": {"count": 2}});
        listed.push(event("Pod", "web-0", "u", 9, new));
        listed.push(event("Pod", "web-0", "before", 10, json!({"reason": "Other", "message": "pod"})));
        listed.push(event("Pod", "web-1", "x", 10, json!({"reason": "Other", "message": "name"})));
        assert_eq!(
            last_events(&listed, &involved("Pod", "web-0")),
            ["BackOff: m5", "BackOff: m6", "BackOff: m7", "Failed: no (x4 over 11m)", "Slow: yes (x2)"]
        );
    }

    #[test]
    fn what_went_wrong_with_its_parts_counts_for_a_deployment() {
        let told = |reason: &str| json!({"reason": reason, "message": ""});
        let mut of_before = involved("Deployment", "web");
        of_before.since = Some("2026-11-25T10:03:00Z".parse().unwrap());
        let listed = [
            event("ReplicaSet", "web-5f9", "r", 2, told("BeforeThisRollout")),
            event("ReplicaSet", "web-5f9", "r", 3, told("FailedCreate")),
            event("ReplicaSet", "web-api-5f9", "r", 4, told("OfAnother")),
            event("Pod", "web-5f9-x", "p", 5, told("FailedScheduling")),
            event("Pod", "web-5f9-x", "p", 6, json!({"reason": "Pulled", "message": "", "type": "Normal"})),
            event("Pod", "web-5f9-y", "q", 7, told("OfAnotherPod")),
        ];
        assert_eq!(last_events(&listed, &of_before), ["FailedCreate: ", "FailedScheduling: "]);
    }
}
