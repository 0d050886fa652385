//! A workload that the project file describes, as plain objects with safe defaults.

use serde_json::{Map, Value, json};

use super::patch::patch;
use crate::{
    model::{Health, Ingress, Scale, SecretRef, Volume, VolumeSource, Workload},
    object::Object,
    planted::{Defect, is_planted},
    run::digest,
};

/// Label that names the workload: selectors use it and nothing else, as they can never change.
pub(super) const NAME: &str = "app.kubernetes.io/name";
/// Seconds that a pod keeps serving after it was told to end, until no load balancer sends to it any more (T18).
const PRE_STOP_S: u32 = 5;
/// Seconds until a pod is killed; more than the above.
const GRACE_S: u32 = 30;

/// What surrounds a workload.
pub(super) struct Surroundings<'a> {
    /// Name of its objects.
    pub(super) name: &'a str,
    /// Its image.
    pub(super) image: &'a str,
    /// Namespace.
    pub(super) namespace: &'a str,
    /// Kubernetes names of the services that it talks to; none where it talks to something outside the cluster.
    pub(super) peers: Vec<Option<String>>,
}

/// Renders a workload.
///
/// # Errors
/// A patch of something that it does not have.
pub(super) fn render(workload: &Workload, around: &Surroundings<'_>) -> Result<Vec<Object>, String> {
    let name = around.name;
    let mut objects = vec![service_account(workload, name)];
    objects.extend(rbac(workload, around));
    if !workload.config.is_empty() {
        objects.push(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("{name}-config")},
            "data": workload.config.iter().cloned().map(|(k, v)| (k, Value::String(v))).collect::<Map<_, _>>()}));
    }
    objects.extend(workload.volumes.iter().filter_map(|volume| claim(name, volume)));
    objects.extend(network_policy(workload, around));
    let ports: Vec<Value> = ports(workload)
        .map(|(port_name, port)| json!({"name": port_name, "port": port, "targetPort": port_name, "protocol": "TCP"}))
        .collect();
    if !ports.is_empty() {
        objects.push(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": {NAME: name}, "ports": ports}}));
    }
    objects.push(deployment(workload, around));
    let several = match &workload.scale {
        Scale::Fixed(replicas) => *replicas > 1,
        Scale::Range { max, .. } => *max > 1,
    };
    if several {
        objects.push(
            json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name},
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {NAME: name}}}}),
        );
    }
    if let Scale::Range { min, max, cpu } = &workload.scale {
        objects.push(json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": name},
            "spec": {"minReplicas": min, "maxReplicas": max,
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
                "metrics": [{"type": "Resource", "resource": {"name": "cpu",
                    "target": {"type": "Utilization", "averageUtilization": cpu.0}}}]}}));
    }
    if let (Some(ingress), Some(port)) = (&workload.ingress, workload.port) {
        objects.push(way_in(ingress, name, port));
    }
    for body in &mut objects {
        body["metadata"]["namespace"] = around.namespace.into();
        body["metadata"]["labels"] = json!({NAME: name});
    }
    patch(&mut objects, &workload.patch)?;
    objects.into_iter().map(|body| Object::from_value(body).map_err(|error| error.to_string())).collect()
}

/// Ports with their names: the one that it serves, and further ones.
fn ports(workload: &Workload) -> impl Iterator<Item = (&str, u16)> {
    let further = workload.ports.iter().map(|(name, port)| (name.as_str(), *port));
    workload.port.map(|port| ("http", port)).into_iter().chain(further)
}

fn service_account(workload: &Workload, name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name},
        "automountServiceAccountToken": !workload.permissions.is_empty()})
}

fn rbac(workload: &Workload, around: &Surroundings<'_>) -> Vec<Value> {
    if workload.permissions.is_empty() {
        return Vec::new();
    }
    let name = around.name;
    let rules: Vec<Value> = workload
        .permissions
        .iter()
        .map(|permission| {
            json!({"apiGroups": [permission.group], "resources": permission.resources, "verbs": permission.verbs})
        })
        .collect();
    let group = "rbac.authorization.k8s.io";
    vec![
        json!({"apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": {"name": name}, "rules": rules}),
        json!({"apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": around.namespace}]}),
    ]
}

fn claim(name: &str, volume: &Volume) -> Option<Value> {
    let VolumeSource::Own { size, class, many } = &volume.source else { return None };
    let access = if *many { "ReadWriteMany" } else { "ReadWriteOnce" };
    let mut claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": format!("{name}-{}", volume.name)},
        "spec": {"accessModes": [access], "resources": {"requests": {"storage": size}}}});
    if let Some(class) = class {
        claim["spec"]["storageClassName"] = class.clone().into();
    }
    Some(claim)
}

/// Once it is said whom a workload talks to, nothing else is let out, except for names to be resolved.
fn network_policy(workload: &Workload, around: &Surroundings<'_>) -> Option<Value> {
    workload.talks_to.as_ref()?;
    let mut egress =
        vec![json!({"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]})];
    let inside: Vec<Value> = around
        .peers
        .iter()
        .flatten()
        .map(|peer| json!({"podSelector": {"matchLabels": {NAME: peer}}}))
        .collect();
    if !inside.is_empty() {
        egress.push(json!({"to": inside}));
    }
    // Addresses of managed databases are not known here, and may be any.
    if around.peers.iter().any(Option::is_none) {
        egress.push(json!({"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}, {"ipBlock": {"cidr": "::/0"}}]}));
    }
    Some(
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": around.name},
        "spec": {"podSelector": {"matchLabels": {NAME: around.name}}, "policyTypes": ["Egress"], "egress": egress}}),
    )
}

fn way_in(ingress: &Ingress, name: &str, port: u16) -> Value {
    if let Some(gateway) = &ingress.gateway {
        let mut parent = match gateway.split_once('/') {
            Some((namespace, gateway)) => json!({"namespace": namespace, "name": gateway}),
            None => json!({"name": gateway}),
        };
        if let Some(listener) = &ingress.listener {
            parent["sectionName"] = listener.clone().into();
        }
        return json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": name},
            "spec": {"hostnames": [ingress.host], "parentRefs": [parent],
                "rules": [{"matches": [{"path": {"type": "PathPrefix", "value": ingress.path}}],
                    "backendRefs": [{"name": name, "port": port}]}]}});
    }
    let mut spec = json!({"rules": [{"host": ingress.host, "http": {"paths": [{"path": ingress.path,
        "pathType": "Prefix", "backend": {"service": {"name": name, "port": {"number": port}}}}]}}]});
    if let Some(class) = &ingress.class {
        spec["ingressClassName"] = class.clone().into();
    }
    if let Some(secret) = &ingress.tls {
        spec["tls"] = json!([{"hosts": [ingress.host], "secretName": secret}]);
    }
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name}, "spec": spec})
}

fn deployment(workload: &Workload, around: &Surroundings<'_>) -> Value {
    let name = around.name;
    let mut template = json!({"metadata": {"labels": {NAME: name}}, "spec": pod(workload, around)});
    if !workload.config.is_empty() && !is_planted(Defect::ConfigRestartsNothing) {
        // The content decides, not the time: an unchanged configuration rolls nothing.
        template["metadata"]["annotations"] = json!({"maily.dev/config": digest(&workload.config)[..16]});
    }
    let mut spec = json!({
        "selector": {"matchLabels": {NAME: name}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}},
        "template": template,
    });
    // A claim that one node holds cannot be held by two pods at once.
    if workload.volumes.iter().any(|volume| matches!(volume.source, VolumeSource::Own { many: false, .. })) {
        spec["strategy"] = json!({"type": "Recreate"});
    }
    if let Scale::Fixed(replicas) = &workload.scale {
        spec["replicas"] = (*replicas).into();
    }
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec})
}

fn pod(workload: &Workload, around: &Surroundings<'_>) -> Value {
    let name = around.name;
    let mut volumes = Vec::new();
    let mut mounts = Vec::new();
    for volume in &workload.volumes {
        let mut mount = json!({"name": volume.name, "mountPath": volume.mount});
        if matches!(volume.source, VolumeSource::Secret(_) | VolumeSource::Config(_)) {
            mount["readOnly"] = true.into();
        }
        mounts.push(mount);
        let claim = |claim: &str| json!({"name": volume.name, "persistentVolumeClaim": {"claimName": claim}});
        volumes.push(match &volume.source {
            VolumeSource::Own { .. } => claim(&format!("{name}-{}", volume.name)),
            VolumeSource::Claim(name) => claim(name),
            VolumeSource::Secret(secret) => json!({"name": volume.name, "secret": {"secretName": secret}}),
            VolumeSource::Config(config) => json!({"name": volume.name, "configMap": {"name": config}}),
            VolumeSource::Empty => json!({"name": volume.name, "emptyDir": {}}),
        });
    }
    if !workload.config.is_empty() {
        mounts.push(json!({"name": "config", "mountPath": "/etc/config", "readOnly": true}));
        volumes.push(json!({"name": "config", "configMap": {"name": format!("{name}-config")}}));
    }
    let env = environment(&workload.env, &workload.secrets);
    let mut container = json!({
        "name": name,
        "image": around.image,
        "resources": {
            "requests": {"cpu": workload.cpu.0, "memory": workload.memory.0},
            "limits": {"cpu": workload.cpu.1, "memory": workload.memory.1},
        },
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
    });
    let mut set = |key: &str, value: Value, given: bool| {
        if given {
            container[key] = value;
        }
    };
    set("command", json!(workload.command), !workload.command.is_empty());
    set("args", json!(workload.args), !workload.args.is_empty());
    let some_env = !env.is_empty();
    set("env", Value::Array(env), some_env);
    let some_mounts = !mounts.is_empty();
    set("volumeMounts", Value::Array(mounts), some_mounts);
    let ports: Vec<Value> = ports(workload)
        .map(|(name, port)| json!({"name": name, "containerPort": port, "protocol": "TCP"}))
        .collect();
    let some_ports = !ports.is_empty();
    set("ports", Value::Array(ports), some_ports);
    if workload.port.is_some() {
        set("readinessProbe", ready(&workload.health), true);
        let pause = json!({"preStop": {"sleep": {"seconds": PRE_STOP_S}}});
        set("lifecycle", pause, !is_planted(Defect::NoTimeToEnd));
    }
    if let Some(live) = &workload.health.live {
        set(
            "livenessProbe",
            json!({"httpGet": {"path": live, "port": "http"}, "periodSeconds": 10, "failureThreshold": 6}),
            true,
        );
    }
    if let Some(start) = &workload.health.start {
        set(
            "startupProbe",
            json!({"httpGet": {"path": start, "port": "http"}, "periodSeconds": 5, "failureThreshold": 60}),
            true,
        );
    }
    let mut pod = json!({
        "serviceAccountName": name,
        "terminationGracePeriodSeconds": GRACE_S,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone",
            "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": {NAME: name}}}],
        "containers": [container],
    });
    if !volumes.is_empty() {
        pod["volumes"] = Value::Array(volumes);
    }
    pod
}

/// Variables of a container.
pub(super) fn environment(env: &[(String, String)], secrets: &[(String, SecretRef)]) -> Vec<Value> {
    let plain = env.iter().map(|(key, value)| json!({"name": key, "value": value}));
    let secret = secrets.iter().map(|(key, secret)| {
        json!({"name": key, "valueFrom": {"secretKeyRef": {"name": secret.name, "key": secret.key}}})
    });
    plain.chain(secret).collect()
}

fn ready(health: &Health) -> Value {
    match &health.ready {
        Some(path) => json!({"httpGet": {"path": path, "port": "http"}, "periodSeconds": 5}),
        None => json!({"tcpSocket": {"port": "http"}, "periodSeconds": 5}),
    }
}
