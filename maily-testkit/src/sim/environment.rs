//! An environment of a project in the simulated world.

use std::sync::Arc;

use maily_core::{
    Providers,
    engine::Environment,
    model::{Fencing, Resolved},
    object::{ObjectKey, ObjectKind},
    provider::{Cluster, ClusterIdentity, FrontendHost, Prober},
    records::ClusterRecords,
    runtime::Runtime,
};

use super::{Shared, SimCluster, SimFrontend, SimProber};

/// The environment with every provider simulated, bound to the world's cluster whatever the project file says.
pub fn environment(shared: &Arc<Shared>, resolved: &Resolved, runtime: Arc<dyn Runtime>) -> Environment {
    let name = resolved.environment.name.to_string();
    let namespace = resolved.environment.namespace.clone();
    let key = ObjectKey::new(ObjectKind::new("v1", "Namespace"), None, "kube-system");
    let uid =
        shared.world().get(&key).and_then(|namespace| namespace.uid().map(str::to_owned)).unwrap_or_default();
    let cluster: Arc<dyn Cluster> = Arc::new(SimCluster::new(Arc::clone(shared)));
    let frontend: Arc<dyn FrontendHost> = Arc::new(SimFrontend::new(Arc::clone(shared), &name));
    let prober: Arc<dyn Prober> = Arc::new(SimProber::new(Arc::clone(shared)));
    let records = Arc::new(ClusterRecords::new(Arc::clone(&cluster), &name, &namespace));
    Environment {
        project: resolved.project.name.to_string(),
        name,
        namespace,
        identity: Some(ClusterIdentity { uid, ca: String::new() }),
        // As the binding, the fence is that of a real cluster.
        fencing: Fencing::None,
        retention: resolved.project.history,
        providers: Providers { cluster, frontend: Some(frontend), prober: Some(prober) },
        records,
        runtime,
    }
}
