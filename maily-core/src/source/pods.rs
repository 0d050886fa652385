//! Where pods stand in an object.

/// Where the template of an object's pods stands, by its kind; of a Pod that is the object itself. Kinds of operators that
/// make pods have it where most of Kubernetes' own have it.
pub(super) fn template(kind: &str) -> &'static str {
    match kind {
        "Pod" => "",
        "CronJob" => "/spec/jobTemplate/spec/template",
        _ => "/spec/template",
    }
}

/// Where the specification of an object's pods stands.
pub(super) fn specification(kind: &str) -> String {
    format!("{}/spec", template(kind))
}
