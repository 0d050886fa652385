//! Volumes of a workload.

use super::{
    super::{Quantity, ServiceName, fields::Fields, workload},
    amount::wrong_unit,
    workload::{existing, path},
};
use crate::yaml::Node;

pub(super) fn volumes(fields: &mut Fields<'_, '_>) -> Vec<workload::Volume> {
    let errors = fields.errors();
    let mut found: Vec<workload::Volume> = Vec::new();
    for (key, node) in fields.map("volumes") {
        if let Err(error) = key.name.parse::<ServiceName>() {
            errors.add(key.place, error.to_string(), None);
        }
        let Some(mut fields) = Fields::of(node, "a volume", errors) else { continue };
        let mount = path(&mut fields, "mount");
        let source = volume_source(&mut fields, node);
        if mount.is_none() && node.get("mount").is_none() {
            errors.add(node.place, "the volume is mounted nowhere", Some("write `mount: /PATH`".into()));
        }
        fields.finish();
        if let Some(mount) = mount {
            let bare = mount.trim_end_matches('/');
            if found.iter().any(|other| other.mount.trim_end_matches('/') == bare) {
                let help = "mount one of them somewhere else";
                errors.add(node.place, format!("two volumes are mounted at `{bare}`"), Some(help.into()));
            }
            found.push(workload::Volume { name: key.name.clone(), mount, source });
        }
    }
    found
}

fn volume_source(fields: &mut Fields<'_, '_>, node: &Node) -> workload::VolumeSource {
    let errors = fields.errors();
    let size = fields.value::<Quantity>("size");
    if let Some((message, help)) = size.as_ref().and_then(|size| wrong_unit("size", size)) {
        errors.add(node.get("size").map_or(node.place, |node| node.place), message, Some(help));
    }
    if let Some(size) = size.as_ref().filter(|size| size.value() <= 0.0) {
        let place = node.get("size").map_or(node.place, |node| node.place);
        errors.add(place, format!("`size`: `{size}` is nothing"), Some("write `size: 10Gi`".into()));
    }
    let class = existing(fields, "class");
    let many = match fields.text("access") {
        None => false,
        Some((text, _)) if text == "one-node" => false,
        Some((text, _)) if text == "many-nodes" => true,
        Some((text, place)) => {
            let message = format!("`access` is `one-node` or `many-nodes`, not `{text}`");
            errors.add(place, message, None);
            false
        }
    };
    if size.is_none() && node.get("size").is_none() {
        for key in ["class", "access"] {
            if let Some(found) = node.get(key) {
                errors.add(found.place, format!("`{key}` belongs to a volume with a `size`"), None);
            }
        }
    }
    let others = [
        existing(fields, "claim").map(workload::VolumeSource::Claim),
        existing(fields, "secret").map(workload::VolumeSource::Secret),
        existing(fields, "config").map(workload::VolumeSource::Config),
    ];
    let own = size.map(|size| workload::VolumeSource::Own { size, class, many });
    let mut given = own.into_iter().chain(others.into_iter().flatten());
    let first = given.next();
    if given.next().is_some() {
        let message = "a volume is one of `size`, `claim`, `secret`, `config`, or empty";
        errors.add(node.place, message, Some("keep one of them".into()));
    }
    first.unwrap_or(workload::VolumeSource::Empty)
}
