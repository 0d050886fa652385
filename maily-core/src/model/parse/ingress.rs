//! The way in from outside.

use std::net::IpAddr;

use super::{
    super::{
        fields::{Errors, Fields},
        workload,
    },
    workload::{existing, object_name, path},
};
use crate::yaml::Node;

pub(super) fn ingress(node: &Node, errors: &Errors<'_>) -> Option<workload::Ingress> {
    let mut fields = Fields::of(node, "an ingress", errors)?;
    let host = fields.text("host");
    let path = path(&mut fields, "path").unwrap_or_else(|| "/".to_owned());
    let unclear = ["//", "/./", "/../", "%2f", "%2F"].iter().any(|part| path.contains(part))
        || ["/.", "/.."].iter().any(|end| path.ends_with(end));
    if unclear {
        let place = node.get("path").map_or(node.place, |node| node.place);
        let help = "write it without `//`, `/.`, `/..` and `%2F`, which an Ingress cannot have";
        errors.add(place, format!("`{path}` is no path of an ingress"), Some(help.into()));
    }
    let tls = existing(&mut fields, "tls");
    let class = existing(&mut fields, "class");
    let gateway = fields.text("gateway");
    let listener = existing(&mut fields, "listener");
    match &host {
        None => errors.add(node.place, "the host is missing", Some("write `host: api.example.com`".into())),
        Some((text, place))
            if !object_name(text.strip_prefix("*.").unwrap_or(text)) || text.parse::<IpAddr>().is_ok() =>
        {
            errors.add(*place, format!("`{text}` is no host name"), Some("write `api.example.com`".into()));
        }
        Some(_) => {}
    }
    if let Some((text, place)) = &gateway {
        if !text.split('/').all(object_name) || text.split('/').count() > 2 {
            let help = "write `NAME`, or `NAMESPACE/NAME`";
            errors.add(*place, format!("`{text}` is no Gateway"), Some(help.into()));
        }
        for key in ["tls", "class"] {
            if let Some(found) = node.get(key) {
                let help = "the Gateway's listener has the certificate: choose it with `listener: NAME`";
                let message = format!("`{key}` belongs to an Ingress, not to a route on a Gateway");
                errors.add(found.place, message, Some(help.into()));
            }
        }
    } else if let Some(found) = node.get("listener") {
        errors.add(found.place, "`listener` belongs to a `gateway`", None);
    }
    fields.finish();
    let gateway = gateway.map(|(text, _)| text);
    Some(workload::Ingress { host: host?.0, path, tls, class, gateway, listener })
}
