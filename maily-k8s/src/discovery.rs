//! Which kinds the server serves, remembered per group and version.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use maily_core::{
    object::{Object, ObjectKind},
    provider::{ApiResource, ProviderError},
    runtime::Moment,
};
use serde_json::Value;

use crate::{
    error::{About, unserved},
    request::{CALL, Wire, group_path, is_absent},
};

type Known = HashMap<String, Arc<Vec<ApiResource>>>;

/// How long the kinds of a new definition are waited for: it is established a moment before discovery tells of it.
const LAG: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
pub(crate) struct Discovery {
    known: Mutex<Known>,
    /// One question at a time for each group: who comes meanwhile waits for its answer.
    asking: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// Groups of definitions that we wrote, and when.
    awaited: Mutex<HashMap<String, Moment>>,
}

impl Discovery {
    /// How a kind is served; an error of kind `Unsupported` where it is not.
    pub(crate) async fn resource(
        &self,
        wire: &Wire,
        kind: &ObjectKind,
    ) -> Result<ApiResource, ProviderError> {
        let name = kind.to_string();
        loop {
            if let Some(resource) = self.find(wire, kind).await? {
                return Ok(resource);
            }
            if !self.is_awaited(wire, kind) {
                let error = unserved(About { operation: "discover", resource: &name });
                return Err(error.with_served_in(self.versions(wire, kind).await?));
            }
            wire.runtime.sleep(PAUSE).await;
        }
    }

    /// Where there is no such path: whether a kind is served still, which was known before. A definition may have lost the
    /// version since, and its objects are there in another one. One that was just written discovery may not tell of yet:
    /// it is asked until it does, or its time is up.
    ///
    /// # Errors
    /// With `Unsupported` where it is not.
    pub(crate) async fn is_served_still(&self, wire: &Wire, kind: &ObjectKind) -> Result<(), ProviderError> {
        loop {
            self.lock().remove(&kind.api_version);
            if self.find(wire, kind).await?.is_some() {
                return Ok(());
            }
            if !self.is_awaited(wire, kind) {
                let name = kind.to_string();
                let error = unserved(About { operation: "discover", resource: &name });
                return Err(error.with_served_in(self.versions(wire, kind).await?));
            }
            wire.runtime.sleep(PAUSE).await;
        }
    }

    /// Notes what a definition that was written brings.
    pub(crate) fn expect(&self, wire: &Wire, definition: &Object) {
        if definition.kind() == "CustomResourceDefinition"
            && let Some(group) = definition.text("/spec/group")
        {
            let mut awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
            awaited.insert(group.to_owned(), wire.runtime.now());
        }
    }

    fn is_awaited(&self, wire: &Wire, kind: &ObjectKind) -> bool {
        let awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        awaited.get(kind.group()).is_some_and(|since| wire.runtime.now().since(*since) < LAG)
    }

    /// How a kind is served, if it is.
    pub(crate) async fn find(
        &self,
        wire: &Wire,
        kind: &ObjectKind,
    ) -> Result<Option<ApiResource>, ProviderError> {
        let of = |list: &Arc<Vec<ApiResource>>| {
            list.iter().find(|resource| resource.kind.kind == kind.kind).cloned()
        };
        let known = || self.lock().get(&kind.api_version).cloned();
        if let Some(found) = known().as_ref().and_then(of) {
            return Ok(Some(found));
        }
        let turn = {
            let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(asking.entry(kind.api_version.clone()).or_default())
        };
        let _turn = turn.lock().await;
        if let Some(found) = known().as_ref().and_then(of) {
            return Ok(Some(found));
        }
        // Also after a miss: the definition may have come since.
        let list = Arc::new(fetch(wire, &kind.api_version).await?);
        if !list.is_empty() {
            self.lock().insert(kind.api_version.clone(), Arc::clone(&list));
        }
        Ok(of(&list))
    }

    /// In which versions of its group a kind is served. What is of no group has one version.
    async fn versions(&self, wire: &Wire, kind: &ObjectKind) -> Result<Vec<String>, ProviderError> {
        let group = kind.group();
        if group.is_empty() {
            return Ok(Vec::new());
        }
        let about = About { operation: "discover", resource: group };
        let answer = match wire.get(about, &format!("/apis/{group}"), CALL).await {
            Ok(answer) => answer.json(about)?,
            Err(error) if is_absent(&error) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let versions = answer.get("versions").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut served = Vec::new();
        for version in versions.iter().filter_map(|one| one.get("version")?.as_str()) {
            let other = ObjectKind::new(format!("{group}/{version}"), &kind.kind);
            if self.find(wire, &other).await?.is_some() {
                served.push(version.to_owned());
            }
        }
        Ok(served)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn fetch(wire: &Wire, api_version: &str) -> Result<Vec<ApiResource>, ProviderError> {
    let about = About { operation: "discover", resource: api_version };
    let answer = match wire.get(about, &group_path(api_version), CALL).await {
        Ok(answer) => answer.json(about)?,
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let resources = answer.get("resources").and_then(Value::as_array).cloned().unwrap_or_default();
    let resource = |entry: &Value| {
        let plural = entry.get("name")?.as_str()?;
        // `deployments/scale` and the like are parts of a kind.
        (!plural.contains('/')).then_some(())?;
        Some(ApiResource {
            kind: ObjectKind::new(api_version, entry.get("kind")?.as_str()?),
            plural: plural.to_owned(),
            namespaced: entry.get("namespaced")?.as_bool()?,
        })
    };
    Ok(resources.iter().filter_map(resource).collect())
}
