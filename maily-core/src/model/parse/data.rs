//! Files of a workload's configuration, and keys of ConfigMaps and Secrets.

use super::{
    super::{
        fields::{Errors, Fields},
        workload::Workload,
    },
    service::pairs,
};
use crate::yaml::Node;

/// Where the files of `config` are mounted.
const MOUNTED: &str = "/etc/config";
/// What the API server takes of the values of a ConfigMap.
const MOST_BYTES: usize = 1024 * 1024;
/// The rule in words.
pub(super) const DATA_KEY: &str =
    "up to 253 letters, digits, `_`, `-` and `.`, not `.`, and not beginning with `..`";

/// A key of a ConfigMap or a Secret, as the API server checks it: it is the name of a file.
pub(super) fn data_key(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        && text != "."
        && !text.starts_with("..")
}

/// Files of configuration by name.
pub(super) fn files(fields: &mut Fields<'_, '_>) -> Vec<(String, String)> {
    let errors = fields.errors();
    let map = fields.key_place("config");
    let entries = fields.map("config");
    for (key, _) in entries.iter().filter(|(key, _)| !data_key(&key.name)) {
        errors.add(key.place, format!("`{}` is no name of a file", key.name), Some(DATA_KEY.into()));
    }
    let files = pairs(entries, errors);
    let size: usize = files.iter().map(|(_, text)| text.len()).sum();
    if let Some(place) = map.filter(|_| size > MOST_BYTES) {
        let message = format!("the files have {size} bytes; a ConfigMap holds {MOST_BYTES}");
        errors.add(place, message, Some("put large files into the image or a volume".into()));
    }
    files
}

/// Nothing else is mounted where the files are.
pub(super) fn config_is_free(workload: &Workload, node: &Node, errors: &Errors<'_>) {
    if workload.config.is_empty() {
        return;
    }
    let same = workload.volumes.iter().filter(|volume| volume.mount.trim_end_matches('/') == MOUNTED);
    for volume in same {
        let path = ["volumes", &volume.name, "mount"];
        let found = path.iter().try_fold(node, |node, key| node.get(key));
        let help = "mount the volume somewhere else";
        let message = format!("`{MOUNTED}` is where the files of `config` are mounted");
        errors.add(found.map_or(node.place, |node| node.place), message, Some(help.into()));
    }
}
