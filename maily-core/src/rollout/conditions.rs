//! Kinds that tell their state by conditions or phases.

use jiff::Timestamp;
use serde_json::Value;

use super::judge::Health;
use crate::{
    object::Object,
    planted::{Defect, is_planted},
};

/// A condition of an object.
pub(super) fn find<'a>(object: &'a Object, name: &str) -> Option<&'a Value> {
    object.items("/status/conditions").iter().find(|c| text(c, "type") == Some(name))
}

pub(super) fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field)?.as_str()
}

pub(super) fn time(value: &Value, field: &str) -> Option<Timestamp> {
    text(value, field)?.parse().ok()
}

pub(super) fn condition(live: &Object, name: &str) -> Health {
    match find(live, name) {
        Some(condition) if text(condition, "status") == Some("True") => Health::Done,
        Some(condition) => {
            let why = text(condition, "message").or(text(condition, "reason")).unwrap_or("no reason given");
            Health::waiting(0, 1, format!("not yet {}: {why}", name.to_lowercase()))
        }
        None => Health::waiting(0, 1, format!("not yet {}", name.to_lowercase())),
    }
}

pub(super) fn namespace(live: &Object) -> Health {
    match live.text("/status/phase") {
        Some("Active") => Health::Done,
        other => Health::waiting(0, 1, format!("phase {}", other.unwrap_or("unknown"))),
    }
}

pub(super) fn load_balancer(live: &Object) -> Health {
    if live.items("/status/loadBalancer/ingress").is_empty() && !is_planted(Defect::AddressNotAwaited) {
        Health::waiting(0, 1, "the load balancer has no address yet")
    } else {
        Health::Done
    }
}
