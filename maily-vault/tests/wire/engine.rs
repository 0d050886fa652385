//! A key/value engine, version 2, that speaks Vault's HTTP API as documented at
//! <https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2>.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

use maily_testkit::harness::{HttpRequest, Reply, decode};
use serde_json::{Value, json};

/// The only token.
pub(crate) const TOKEN: &str = "hvs.token";
/// A secret that requires check-and-set.
pub(crate) const STRICT: &str = "prod/strict";

const TIME: &str = "2026-01-01T00:00:00.123456789Z";

#[derive(Debug, Default)]
struct Secret {
    current: u64,
    notes: Value,
    versions: BTreeMap<u64, Version>,
}

#[derive(Debug)]
struct Version {
    data: Value,
    deleted: bool,
    destroyed: bool,
}

impl Version {
    fn metadata(&self, number: u64) -> Value {
        let deletion = if self.deleted { TIME } else { "" };
        json!({"created_time": TIME, "deletion_time": deletion, "destroyed": self.destroyed, "version": number,
            "custom_metadata": null})
    }
}

#[derive(Debug, Default)]
pub(crate) struct Engine(Mutex<BTreeMap<String, Secret>>);

fn data(status: u16, data: &Value) -> Reply {
    let body = json!({"request_id": "1", "lease_id": "", "renewable": false, "lease_duration": 0, "data": data,
        "wrap_info": null, "warnings": null, "auth": null});
    Reply::new(status, body.to_string())
}

fn refuse(status: u16, errors: &[&str]) -> Reply {
    Reply::new(status, json!({"errors": errors}).to_string())
}

impl Engine {
    pub(crate) fn answer(&self, request: &HttpRequest) -> Reply {
        if request.header("x-vault-token") != Some(TOKEN) {
            return refuse(403, &["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]);
        }
        let path = decode(&request.path);
        let Some(rest) = path.strip_prefix("/v1/secret/") else {
            return refuse(404, &[&format!("no handler for route \"{path}\". route entry not found.")]);
        };
        let (part, path) = rest.split_once('/').unwrap_or((rest, ""));
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let mut secrets = self.0.lock().expect("is not poisoned");
        match (request.method.as_str(), part) {
            ("GET", "data") => read(&secrets, path, request),
            ("POST", "data") => write(&mut secrets, path, &body),
            ("LIST", "metadata") => list(&secrets, path),
            ("GET", "metadata") => metadata(&secrets, path),
            ("POST", "metadata") => {
                secrets.entry(path.to_owned()).or_default().notes = body["custom_metadata"].clone();
                Reply::new(204, "")
            }
            ("DELETE", "metadata") => {
                secrets.remove(path);
                Reply::new(204, "")
            }
            ("POST", change) => {
                let numbers = body["versions"].as_array().cloned().unwrap_or_default();
                for number in numbers.iter().filter_map(Value::as_u64) {
                    let found = secrets.get_mut(path).and_then(|secret| secret.versions.get_mut(&number));
                    let Some(version) = found else { continue };
                    match change {
                        "delete" => version.deleted = true,
                        "undelete" => version.deleted = false,
                        "destroy" => version.destroyed = true,
                        _ => return refuse(404, &["unsupported path"]),
                    }
                }
                Reply::new(204, "")
            }
            _ => refuse(405, &["unsupported operation"]),
        }
    }
}

fn read(secrets: &BTreeMap<String, Secret>, path: &str, request: &HttpRequest) -> Reply {
    let Some(secret) = secrets.get(path) else { return refuse(404, &[]) };
    let number = request.parameter("version").and_then(|n| n.parse().ok()).unwrap_or(secret.current);
    let Some(version) = secret.versions.get(&number) else { return refuse(404, &[]) };
    let gone = version.deleted || version.destroyed;
    let value = if gone { Value::Null } else { version.data.clone() };
    data(if gone { 404 } else { 200 }, &json!({"data": value, "metadata": version.metadata(number)}))
}

fn write(secrets: &mut BTreeMap<String, Secret>, path: &str, body: &Value) -> Reply {
    let secret = secrets.entry(path.to_owned()).or_default();
    match body.pointer("/options/cas").and_then(Value::as_u64) {
        None if path == STRICT => return refuse(400, &["check-and-set parameter required for this call"]),
        Some(cas) if cas != secret.current => {
            return refuse(400, &["check-and-set parameter did not match the current version"]);
        }
        _ => {}
    }
    secret.current += 1;
    let version = Version { data: body["data"].clone(), deleted: false, destroyed: false };
    let written = version.metadata(secret.current);
    secret.versions.insert(secret.current, version);
    data(200, &written)
}

fn list(secrets: &BTreeMap<String, Secret>, folder: &str) -> Reply {
    let prefix = if folder.is_empty() { String::new() } else { format!("{}/", folder.trim_end_matches('/')) };
    let keys: BTreeSet<String> = secrets
        .keys()
        .filter_map(|path| path.strip_prefix(&prefix))
        .map(|rest| rest.split_once('/').map_or(rest.to_owned(), |(folder, _)| format!("{folder}/")))
        .collect();
    if keys.is_empty() { refuse(404, &[]) } else { data(200, &json!({ "keys": keys })) }
}

fn metadata(secrets: &BTreeMap<String, Secret>, path: &str) -> Reply {
    let Some(secret) = secrets.get(path) else { return refuse(404, &[]) };
    let versions: BTreeMap<String, Value> = secret
        .versions
        .iter()
        .map(|(number, version)| (number.to_string(), version.metadata(*number)))
        .collect();
    let found = json!({"cas_required": path == STRICT, "created_time": TIME, "updated_time": TIME,
        "current_version": secret.current, "oldest_version": 0, "max_versions": 0, "delete_version_after": "0s",
        "custom_metadata": secret.notes, "versions": versions});
    data(200, &found)
}
