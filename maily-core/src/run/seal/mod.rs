//! Values of Secrets never stand in a plan, a journal or a release: a keyed hash of each value does, and the value
//! itself lives in an immutable Secret of ours in the environment's own namespace, named by that hash.
//!
//! A plain hash of a short secret would give it away; the key stays in the cluster.

mod values;

use std::{collections::BTreeMap, fmt, sync::Mutex};

use base64::{
    Engine as _, alphabet,
    engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret, SecretSlice};
use serde_json::{Value, json};
use sha2::Sha256;

pub(crate) use values::forget;

use super::{
    RECORDS_MANAGER,
    canonical::hex,
    stamp::{ENVIRONMENT, LAST_APPLIED, strip_bookkeeping},
};
use crate::{
    object::{FieldSet, Object, ObjectKey, ObjectKind},
    planted::{Defect, is_planted},
    provider::{Cluster, ErrorKind, Precondition, ProviderError, WriteOptions},
    runtime::Runtime,
};

const MARK: &str = "maily.dev/sealed:";

/// All that a Secret has.
const FIELDS: &[&str] = &["apiVersion", "kind", "metadata", "type", "data", "stringData", "immutable"];

/// Base64 as the API server reads it: line breaks count for nothing, unused bits of the end neither.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// Whether values may be stored in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Hash with the environment's key where there is one, else with a passing one; store nothing.
    Passing,
    /// Make the environment's key if it is missing, and store values when asked.
    Lasting,
}

/// Seals and opens the Secrets of one environment.
pub struct Sealer {
    namespace: String,
    environment: String,
    key: SecretSlice<u8>,
    storage: Storage,
    values: Mutex<BTreeMap<String, SecretSlice<u8>>>,
    stored: Mutex<std::collections::BTreeSet<String>>,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("environment", &self.environment).finish_non_exhaustive()
    }
}

fn secret_kind() -> ObjectKind {
    ObjectKind::new("v1", "Secret")
}

/// Whether an object's values have to be sealed.
pub fn is_secret(object: &Object) -> bool {
    is_secret_key(object.key())
}

impl Sealer {
    /// Reads the environment's key, or makes one.
    ///
    /// # Errors
    /// When the cluster cannot be reached, or the key may not be read or written.
    pub async fn open(
        cluster: &dyn Cluster,
        runtime: &dyn Runtime,
        environment: &str,
        namespace: &str,
        storage: Storage,
    ) -> Result<Self, ProviderError> {
        let name = Self::key_of(environment, namespace);
        let mut found = cluster.get(&name).await?;
        if found.is_none() && storage == Storage::Lasting {
            let fresh = STANDARD.encode(random_key(runtime));
            let object = ours(&name, environment, "key", &fresh);
            let options = WriteOptions::apply(RECORDS_MANAGER, Precondition::Absent);
            found = match cluster.write(&object, &options).await {
                Ok(object) => Some(object),
                // Somebody was faster: theirs counts.
                Err(error) if error.kind() == ErrorKind::Conflict => cluster.get(&name).await?,
                Err(error) => return Err(error),
            };
        }
        let key = match &found {
            Some(object) => value_of(object, "key")
                .ok_or_else(|| damaged(&name, "the environment's key cannot be read"))?,
            None => random_key(runtime).to_vec(),
        };
        Ok(Self {
            namespace: namespace.to_owned(),
            environment: environment.to_owned(),
            key: key.into(),
            storage,
            values: Mutex::default(),
            stored: Mutex::default(),
        })
    }

    /// The object with each value of a Secret replaced by its keyed hash; other kinds unchanged.
    pub fn seal(&self, object: &Object) -> Object {
        if !is_secret(object) || is_planted(Defect::SecretsUnsealed) {
            return object.clone();
        }
        let mut sealed = object.clone();
        let mut values = BTreeMap::new();
        sealed.set_annotation(LAST_APPLIED, None);
        sealed.edit(|body| {
            // Reading has refused all else; what came another way is not told either.
            body.retain(|field, _| FIELDS.contains(&field.as_str()));
            merge_string_data(body);
            let Some(Value::Object(data)) = body.get_mut("data") else {
                body.remove("data");
                return;
            };
            for value in data.values_mut() {
                let bytes = match &*value {
                    Value::String(text) if text.starts_with(MARK) => continue,
                    Value::String(text) => decoded(text),
                    Value::Null => Some(Vec::new()),
                    _ => None,
                };
                let hash = match &bytes {
                    Some(bytes) => self.hash(bytes),
                    // No value that could be opened again: whoever tries is told.
                    None => self.hash(value.to_string().as_bytes()),
                };
                *value = Value::String(format!("{MARK}{hash}"));
                values.extend(bytes.map(|bytes| (hash, SecretSlice::from(bytes))));
            }
        });
        lock(&self.values).extend(values);
        sealed
    }

    /// The part of a live object inside a scope, sealed, without our bookkeeping.
    pub(crate) fn view(&self, live: &Object, scope: &FieldSet) -> Object {
        let mut view = self.seal(&scope.project(live));
        strip_bookkeeping(&mut view);
        view
    }

    /// The object with its values again.
    ///
    /// # Errors
    /// When a value is not known here and not stored in the cluster.
    pub async fn unseal(&self, cluster: &dyn Cluster, sealed: &Object) -> Result<Object, ProviderError> {
        let mut open = BTreeMap::new();
        for hash in hashes(sealed) {
            let known = lock(&self.values).get(&hash).map(|value| value.expose_secret().to_vec());
            let value = match known {
                Some(value) => value,
                None => {
                    let key = self.payload(&hash);
                    let stored =
                        cluster.get(&key).await?.as_ref().and_then(|object| value_of(object, "value"));
                    let value =
                        stored.ok_or_else(|| damaged(&key, "a stored value of a Secret is missing"))?;
                    // The name is a promise about the content.
                    if self.hash(&value) != hash {
                        return Err(damaged(&key, "a stored value of a Secret was changed"));
                    }
                    lock(&self.values).insert(hash.clone(), SecretSlice::from(value.clone()));
                    lock(&self.stored).insert(hash.clone());
                    value
                }
            };
            open.insert(hash, STANDARD.encode(value));
        }
        let mut object = sealed.clone();
        if !open.is_empty() {
            object.edit(|body| {
                let Some(Value::Object(data)) = body.get_mut("data") else { return };
                for value in data.values_mut() {
                    let plain =
                        value.as_str().and_then(|text| text.strip_prefix(MARK)).and_then(|h| open.get(h));
                    if let Some(plain) = plain {
                        *value = Value::String(plain.clone());
                    }
                }
            });
        }
        Ok(object)
    }

    /// The Secret with an environment's key.
    pub(crate) fn key_of(environment: &str, namespace: &str) -> ObjectKey {
        ObjectKey::new(secret_kind(), Some(namespace), format!("maily-key-{environment}"))
    }

    /// The Secret with a value.
    pub(crate) fn payload(&self, hash: &str) -> ObjectKey {
        ObjectKey::new(secret_kind(), Some(&self.namespace), format!("{}{hash}", values::NAME))
    }

    fn hash(&self, value: &[u8]) -> String {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.key.expose_secret()).expect("any length of key fits");
        mac.update(value);
        // 128 bits are enough to never meet by chance, and keep names short.
        hex(&mac.finalize().into_bytes()[..16])
    }
}

/// Whether an object of that name has values that are sealed.
pub(crate) fn is_secret_key(key: &ObjectKey) -> bool {
    key.kind == secret_kind()
}

/// The hash in a sealed value.
pub(crate) fn sealed_value(text: &str) -> Option<&str> {
    text.strip_prefix(MARK)
}

/// What a sealed Secret refers to.
pub(crate) fn hashes(sealed: &Object) -> Vec<String> {
    if !is_secret(sealed) {
        return Vec::new();
    }
    let Some(Value::Object(data)) = sealed.at("/data") else { return Vec::new() };
    data.values().filter_map(|v| v.as_str()?.strip_prefix(MARK).map(str::to_owned)).collect()
}

/// The bytes of a value in `data`; `None` where the API server would refuse it.
pub(crate) fn decoded(text: &str) -> Option<Vec<u8>> {
    let text: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    LENIENT.decode(text).ok()
}

/// `stringData` is write-only sugar for `data`; the server never shows it again.
fn merge_string_data(body: &mut serde_json::Map<String, Value>) {
    let Some(Value::Object(plain)) = body.remove("stringData") else { return };
    let data = body.entry("data").or_insert(Value::Null);
    if data.is_null() {
        *data = json!({});
    }
    let Value::Object(data) = data else { return };
    for (key, value) in plain {
        let value = match value {
            Value::String(text) => Value::String(STANDARD.encode(text)),
            other => other,
        };
        data.insert(key, value);
    }
}

fn ours(key: &ObjectKey, environment: &str, field: &str, value: &str) -> Object {
    let body = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "maily.dev/record", "immutable": true,
        "metadata": {"name": key.name, "namespace": key.namespace, "labels": {ENVIRONMENT: environment, "maily.dev/record": field}},
        "data": {field: value},
    });
    Object::from_value(body).expect("has kind and name")
}

fn value_of(object: &Object, field: &str) -> Option<Vec<u8>> {
    STANDARD.decode(object.text(&format!("/data/{field}"))?).ok()
}

fn random_key(runtime: &dyn Runtime) -> [u8; 32] {
    let mut key = [0; 32];
    for chunk in key.chunks_mut(8) {
        chunk.copy_from_slice(&runtime.random().to_le_bytes());
    }
    key
}

fn damaged(key: &ObjectKey, message: &str) -> ProviderError {
    ProviderError::new(ErrorKind::NotFound, "records", "read", key.to_string(), message)
        .with_hint("restore the Secret from a backup of the cluster, or deploy a version from its files")
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer() -> Sealer {
        Sealer {
            namespace: "shop".into(),
            environment: "production".into(),
            key: vec![7; 32].into(),
            storage: Storage::Passing,
            values: Mutex::default(),
            stored: Mutex::default(),
        }
    }

    fn secret(content: Value) -> Object {
        let mut body = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "web"}});
        for (field, value) in content.as_object().expect("is a map") {
            body[field] = value.clone();
        }
        Object::from_value(body).expect("is an object")
    }

    /// What another reader of the same value sees: bytes, whichever way they are written.
    fn opened(content: Value) -> Vec<u8> {
        let sealer = sealer();
        let sealed = sealer.seal(&secret(content));
        let [hash] = hashes(&sealed).try_into().expect("has one value");
        lock(&sealer.values).get(&hash).expect("is known").expose_secret().to_vec()
    }

    #[test]
    fn a_value_is_what_the_api_server_takes_it_for() {
        for wrapped in ["aHVudGVyMg==", "aHVu\ndGVyMg==\n", "aHVu\r\ndGVy\r\nMg=\n=", "aHVudGVyMh=="] {
            assert_eq!(opened(json!({"data": {"p": wrapped}})), b"hunter2", "{wrapped:?}");
        }
        assert_eq!(opened(json!({"stringData": {"p": "hunter2"}})), b"hunter2");
        assert_eq!(opened(json!({"data": null, "stringData": {"p": "hunter2"}})), b"hunter2");
        assert_eq!(opened(json!({"data": {"p": "YQ=="}, "stringData": {"p": "hunter2"}})), b"hunter2");
        assert_eq!(opened(json!({"data": {"p": null}})), b"");
    }

    #[test]
    fn no_value_stands_in_a_sealed_secret_however_it_is_written() {
        let last = r#"{"stringData":{"p":"hunter2"}}"#;
        for content in [
            json!({"data": {"p": 31337}}),
            json!({"data": {"p": {"nested": "hunter2"}, "q": ["hunter2"]}}),
            json!({"data": {"p": "hunter2 is no base64"}}),
            json!({"data": "hunter2"}),
            json!({"data": ["hunter2"], "stringData": {"p": "hunter2"}}),
            json!({"stringData": {"p": 31337, "q": {"r": "hunter2"}}}),
            json!({"stringData": "hunter2"}),
            json!({"stringdata": {"p": "hunter2"}}),
            json!({"metadata": {"name": "web", "annotations": {LAST_APPLIED: last}}}),
        ] {
            let text = sealer().seal(&secret(content.clone())).to_value().to_string();
            assert!(!text.contains("hunter2") && !text.contains("31337"), "{content} became {text}");
        }
    }

    #[test]
    fn what_was_no_value_cannot_be_opened() {
        let sealer = sealer();
        let sealed = sealer.seal(&secret(json!({"data": {"p": "hunter2 is no base64"}})));
        let [hash] = hashes(&sealed).try_into().expect("has one");
        assert!(lock(&sealer.values).get(&hash).is_none());
    }
}
