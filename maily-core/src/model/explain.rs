//! A project in an environment with everything resolved, and where each value comes from.

use super::{
    Approval, Resolved,
    service::Source,
    workload::{Scale, Workload},
};
use crate::yaml::{Content, Node};

/// A resolved value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// Its path, such as `services.api.workload.port`.
    pub path: String,
    /// The value.
    pub value: String,
    /// `maily.yaml:12`, or `default`.
    pub origin: String,
}

impl Resolved {
    /// Every value with its origin, in the order of the file.
    pub fn explain(&self) -> Vec<Explained> {
        let mut values = Vec::new();
        let mut default = |path: String, value: String| {
            values.push(Explained { path, value, origin: "default".to_owned() });
        };
        let environment = &self.environment;
        default("namespace".into(), environment.namespace.clone());
        let approval = if environment.approval == Approval::Required { "required" } else { "none" };
        default("approval".into(), approval.to_owned());
        default("fence".into(), environment.fence.as_str().to_owned());
        for phase in &self.phases {
            let takes = self.services.values().filter(|service| phase.services.takes(service));
            let takes: Vec<&str> = takes.map(|service| &*service.name).collect();
            default(format!("phases.{}", phase.name), takes.join(", "));
        }
        for value in &mut values {
            value.origin = self.origin_of_environment(&value.path);
        }
        for (name, service) in &self.services {
            let change =
                environment.services.iter().find(|(changed, _)| changed == name).map(|(_, node)| node);
            let mut written = Vec::new();
            if let Some(node) = change {
                leaves(node, "", &mut written);
            }
            if let Some(node) = self.project.raw.get(name) {
                let mut base = Vec::new();
                leaves(node, "", &mut base);
                let free = |path: &String| !written.iter().any(|(known, ..)| overlap(known, path));
                let base: Vec<_> = base.into_iter().filter(|(path, ..)| free(path)).collect();
                written.extend(base);
            }
            let fallbacks = defaults(service, &self.project);
            for (path, value, line) in &written {
                values.push(Explained {
                    path: format!("services.{name}.{path}"),
                    value: value.clone(),
                    origin: format!("{}:{line}", self.project.origin),
                });
            }
            for (path, value) in fallbacks {
                let inside = |known: &str| known == path || known.starts_with(&format!("{path}."));
                let known = written.iter().any(|(known, ..)| inside(known));
                // An image of the service, or of all, stands elsewhere in the file.
                let elsewhere =
                    path == "workload.image" && written.iter().any(|(known, ..)| known == "image");
                if !known && !elsewhere {
                    let from = if path == "workload.image" { self.origin_of(&["images"]) } else { None };
                    let origin = from.unwrap_or_else(|| "default".to_owned());
                    let path = format!("services.{name}.{path}");
                    values.push(Explained { path, value, origin });
                }
            }
        }
        values
    }

    fn origin_of_environment(&self, key: &str) -> String {
        let path: &[&str] = match key.split_once('.') {
            Some(("phases", _)) => &["phases"],
            _ => &["environments", &self.environment.name, key],
        };
        self.origin_of(path).unwrap_or_else(|| "default".to_owned())
    }

    /// The file and line of a key.
    fn origin_of(&self, path: &[&str]) -> Option<String> {
        let text = &self.project.text;
        let parsed = crate::yaml::parse(&self.project.origin, text, super::project::LIMITS).ok()?;
        let found = path.iter().try_fold(parsed.first()?, |node, key| node.get(key))?;
        Some(format!("{}:{}", self.project.origin, found.place.line))
    }
}

/// Values of a tree with their paths and lines; lists and scalars are leaves.
fn leaves(node: &Node, path: &str, out: &mut Vec<(String, String, usize)>) {
    if let Content::Map(entries) = &node.content {
        for (key, value) in entries {
            let path = if path.is_empty() { key.name.clone() } else { format!("{path}.{}", key.name) };
            leaves(value, &path, out);
        }
        return;
    }
    let value = match &node.content {
        Content::Scalar { text, .. } => text.clone(),
        _ => crate::yaml::to_json(node).to_string(),
    };
    out.push((path.to_owned(), value, node.place.line));
}

/// Whether one path is the other or stands inside it: a map in the place of a word replaces it, and the other way round.
fn overlap(one: &str, other: &str) -> bool {
    let inside = |outer: &str, inner: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    inside(one, other) || inside(other, one)
}

fn defaults(service: &super::Service, project: &super::Project) -> Vec<(&'static str, String)> {
    let mut values = vec![("critical", service.critical.to_string())];
    if let Source::Workload(workload) = &service.source {
        let Workload { cpu, memory, scale, port, health, ingress, .. } = &**workload;
        values.push(("workload.name", workload.name.clone().unwrap_or_else(|| service.name.to_string())));
        let image = workload.image.as_ref().or(service.image.as_ref()).or(project.images.first());
        values.extend(image.map(|image| ("workload.image", image.clone())));
        values.push(("workload.cpu", format!("{}..{}", cpu.0, cpu.1)));
        values.push(("workload.memory", format!("{}..{}", memory.0, memory.1)));
        let scale = match scale {
            Scale::Fixed(count) => count.to_string(),
            Scale::Range { min, max, cpu } => format!("{{range: {min}..{max}, cpu: {}%}}", cpu.0),
        };
        values.push(("workload.scale", scale));
        if let (Some(port), None) = (port, &health.ready) {
            values.push(("workload.health.ready", format!("port {port} takes connections")));
        }
        values.extend(ingress.as_ref().map(|ingress| ("workload.ingress.path", ingress.path.clone())));
    }
    if matches!(service.source, Source::Workload(_) | Source::Bundle(_) | Source::From(_)) {
        let seconds = service.timeout.map_or(super::TIMEOUT.0, |time| time.0);
        values.push(("timeout", format!("{seconds}s")));
    }
    values
}

#[cfg(test)]
mod tests {
    use crate::model::Project;

    #[test]
    fn a_change_of_another_form_replaces_the_value() {
        let text = "
maily: 1
project: shop
images: 'r.example/{service}:{version}'
environments:
  staging:
    namespace: a
    services:
      api: {workload: {scale: {range: 2..20}}}
      web: {workload: {scale: 3}}
services:
  api: {workload: {port: 1, scale: 1}}
  web: {workload: {port: 1, scale: {range: 2..4}}}
";
        let project = Project::parse(text, "maily.yaml").expect("is a project");
        let values = project.resolve("staging").expect("is there").explain();
        let scales: Vec<String> = values
            .iter()
            .filter(|value| value.path.contains("scale"))
            .map(|value| format!("{}: {}", value.path, value.value))
            .collect();
        assert_eq!(scales, ["services.api.workload.scale.range: 2..20", "services.web.workload.scale: 3"]);
    }
}
