//! The least that anybody can do: parallel applies and one watch, no plan, no record, no verdict.

use std::{collections::BTreeSet, path::Path, process::Command};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use maily_core::{
    object::{Object, ObjectKind},
    provider::{Cluster as _, ListQuery, Precondition, WatchEvent, WriteOptions},
    source::read_manifests,
};
use maily_k8s::{ConnectOptions, KubeCluster};

/// First argument of the benchmark where it is the bare loop.
pub(crate) const NAME: &str = "bare";
/// Applies in flight.
const PARALLEL: usize = 16;

/// A command of its own, as all others are: it pays for its start, too.
pub(crate) fn command(kubeconfig: &Path, namespace: &str, size: usize, file: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("has a path"));
    command.arg(NAME).arg(kubeconfig).arg(namespace).arg(size.to_string()).arg(file);
    command
}

/// What that command does.
pub(crate) async fn main(args: &[String]) -> Result<(), String> {
    let [kubeconfig, namespace, size, file] = args else { return Err("needs four arguments".to_owned()) };
    let size = size.parse().map_err(|error| format!("{size}: {error}"))?;
    run(Path::new(kubeconfig), namespace, size, Path::new(file)).await
}

async fn run(kubeconfig: &Path, namespace: &str, size: usize, file: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(file).expect("can be read");
    let found = read_manifests(&file.display().to_string(), &text).expect("are manifests");
    let objects: Vec<Object> = found
        .into_iter()
        .map(|found| {
            let mut object = found.object;
            object.edit(|body| body["metadata"]["namespace"] = namespace.into());
            Object::from_value(object.to_value()).expect("is an object")
        })
        .collect();
    let options = ConnectOptions { kubeconfig: Some(kubeconfig.to_owned()), context: None };
    let cluster = KubeCluster::connect(&options).await.expect("connects");
    let query = ListQuery::new(ObjectKind::new("apps/v1", "Deployment"), Some(namespace));
    let mut watch = cluster.watch(&query).await.expect("opens");
    let writing = stream::iter(&objects).map(|object| {
        let cluster = cluster.clone();
        async move {
            let options = WriteOptions::apply("bare", Precondition::Any);
            cluster.write(object, &options).await.map(drop).map_err(|error| error.to_string())
        }
    });
    writing.buffer_unordered(PARALLEL).try_for_each(|()| async { Ok(()) }).await?;
    let mut ready: BTreeSet<String> = BTreeSet::new();
    while ready.len() < size {
        let changed = match watch.next().await.expect("goes on").expect("is no error") {
            WatchEvent::Listed { objects, .. } => objects,
            WatchEvent::Applied(object) => vec![object],
            _ => continue,
        };
        for object in changed {
            let int = |pointer: &str| object.int(pointer).unwrap_or_default();
            let seen = int("/status/observedGeneration") >= object.generation().unwrap_or(1);
            let done = seen
                && int("/status/updatedReplicas") == 1
                && int("/status/availableReplicas") == 1
                && int("/status/replicas") == 1;
            let at = text.contains(object.text("/spec/template/spec/containers/0/image").unwrap_or("none"));
            if done && at {
                ready.insert(object.name().to_owned());
            } else {
                ready.remove(object.name());
            }
        }
    }
    Ok(())
}
