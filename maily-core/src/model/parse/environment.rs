//! Environments and the clusters that they stand in.

use indexmap::IndexMap;

use super::{
    super::{
        EnvironmentName, ServiceName,
        fields::{Errors, Fields},
        project::{Approval, ClusterBinding, Environment, Fencing},
    },
    project::named,
};
use crate::{provider::ClusterIdentity, yaml::Node};

pub(super) fn environments(
    fields: &mut Fields<'_, '_>,
    project: &str,
) -> IndexMap<EnvironmentName, Environment> {
    let errors = fields.errors();
    let mut environments = IndexMap::new();
    for (name, node) in named::<EnvironmentName>(fields.map("environments"), errors) {
        let Some(mut fields) = Fields::of(&node, "an environment", errors) else { continue };
        let cluster = fields.take("cluster").map(|node| cluster(node, errors)).unwrap_or_default();
        let namespace = fields
            .text("namespace")
            .and_then(|(text, place)| match text.parse::<EnvironmentName>() {
                Ok(_) => Some(text),
                Err(_) => {
                    errors.add(place, format!("`{text}` is no name of a namespace"), None);
                    None
                }
            })
            .unwrap_or_else(|| project.to_owned());
        let approval = match fields.text("approval") {
            None => Approval::None,
            Some((text, _)) if text == "required" => Approval::Required,
            Some((text, _)) if text == "none" => Approval::None,
            Some((text, place)) => {
                errors.add(place, format!("`approval` is `required` or `none`, not `{text}`"), None);
                Approval::None
            }
        };
        let fence = match fields.text("fence") {
            None => Fencing::None,
            Some((text, _)) if text == "installed" => Fencing::Installed,
            Some((text, _)) if text == "none" => Fencing::None,
            Some((text, place)) => {
                errors.add(place, format!("`fence` is `installed` or `none`, not `{text}`"), None);
                Fencing::None
            }
        };
        let services = named::<ServiceName>(fields.map("services"), errors).into_iter().collect();
        fields.finish();
        let environment = Environment { name: name.clone(), cluster, namespace, approval, fence, services };
        environments.insert(name, environment);
    }
    environments
}

pub(super) fn cluster(node: &Node, errors: &Errors<'_>) -> ClusterBinding {
    let Some(mut fields) = Fields::of(node, "a cluster", errors) else { return ClusterBinding::default() };
    let context = fields.text("context").map(|(text, _)| text);
    let identity = fields.take("identity").and_then(|node| {
        let mut fields = Fields::of(node, "an identity", errors)?;
        let uid = fields.text("uid").map(|(text, _)| text);
        let ca = fields
            .text("ca")
            .map(|(text, _)| text.trim_start_matches("sha256:").to_owned())
            .unwrap_or_default();
        let place = fields.place();
        fields.finish();
        match uid {
            Some(uid) => Some(ClusterIdentity { uid, ca }),
            None => {
                errors.add(place, "the identity has no `uid`", Some("`mailyctl env bind` writes it".into()));
                None
            }
        }
    });
    fields.finish();
    ClusterBinding { context, identity }
}
