//! A workload with everything that the project file can say of one, as a real API server takes it.

use maily_core::object::{Object, ObjectKey, ObjectKind};
use serde_json::{Value, json};

use crate::site::{Site, documents};

const FILE: &str = "maily: 1
project: shop
images: registry.example/shop/{service}:{version}
environments: {}
data:
  archive: {host: archive.example}
services:
  worker: {workload: {command: [worker], scale: 1}}
  web:
    workload:
      port: 8080
      scale: 1
      ingress: {host: www.example, path: /shop, gateway: infra/public, listener: https}
  api:
    needs: [worker]
    workload:
      port: 8080
      ports: {metrics: 9090}
      command: [serve]
      args: [--all]
      scale: {range: 2..6, cpu: 60%}
      cpu: 200m..1
      memory: 64Mi..128Mi
      health: {ready: /ready, live: /live, start: /start}
      env: {LEVEL: info}
      secrets: {DATABASE_URL: 'secret:db#url'}
      config: {limits.yaml: 'most: 5'}
      volumes:
        cache: {mount: /cache}
        shared: {mount: /data, size: 1Gi, access: many-nodes, class: CLASS}
        old: {mount: /old, claim: old}
        cert: {mount: /cert, secret: cert}
        extra: {mount: /extra, config: extra}
      ingress: {host: api.example, path: /v1, tls: api-tls, class: inner}
      permissions:
        - {resources: [configmaps], verbs: [get, list]}
        - {group: apps, resources: [deployments], verbs: [get]}
      talks-to: [worker, archive]
";

/// What Gateway API defines of routes, as far as they are made here, with the defaults that its server adds.
fn route_definition() -> Value {
    let text = || json!({"type": "string"});
    let list =
        |properties: Value| json!({"type": "array", "items": {"type": "object", "properties": properties}});
    let parents = list(json!({"group": {"type": "string", "default": "gateway.networking.k8s.io"},
        "kind": {"type": "string", "default": "Gateway"}, "namespace": text(), "name": text(), "sectionName": text()}));
    let matches = list(json!({"path": {"type": "object", "properties": {"type": text(), "value": text()}}}));
    let backends = list(
        json!({"group": {"type": "string", "default": ""}, "kind": {"type": "string", "default": "Service"},
        "name": text(), "port": {"type": "integer"}, "weight": {"type": "integer", "default": 1}}),
    );
    let spec = json!({"type": "object", "properties": {"parentRefs": parents,
        "hostnames": {"type": "array", "items": text()},
        "rules": list(json!({"matches": matches, "backendRefs": backends}))}});
    let group = "gateway.networking.k8s.io";
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("httproutes.{group}"),
            "annotations": {"api-approved.kubernetes.io": "unapproved, a part for tests"}},
        "spec": {"group": group, "scope": "Namespaced", "names": {"kind": "HTTPRoute", "plural": "httproutes"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": spec}}}}]}})
}

/// Everything that is there before: a volume for each claim, a claim, Secrets and a ConfigMap.
fn surroundings(namespace: &str) -> String {
    let volume = |name: &str| {
        json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": format!("{namespace}-{name}")},
            "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany"], "storageClassName": namespace,
                "hostPath": {"path": format!("/nowhere/{name}")}}})
    };
    documents(&[
        volume("a"),
        volume("b"),
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "old"},
            "spec": {"accessModes": ["ReadWriteMany"], "storageClassName": namespace,
                "resources": {"requests": {"storage": "1Gi"}}}}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "stringData": {"url": "db://"}}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cert"}, "stringData": {"a": "b"}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "extra"}, "data": {"a": "b"}}),
        route_definition(),
    ])
}

async fn part(site: &Site, version: &str, kind: &str, name: &str) -> Object {
    site.get(version, kind, name).await.unwrap_or_else(|| panic!("no {kind} {name}"))
}

/// What stands at these places.
#[track_caller]
fn holds(object: &Object, fields: &[(&str, Value)]) {
    for (path, value) in fields {
        assert_eq!(object.at(path), Some(value), "{path} of {}", object.key());
    }
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn everything_that_a_workload_can_have_is_taken_by_the_server_and_settled() {
    let site = Site::new("described").await;
    site.write("maily.yaml", &FILE.replace("CLASS", &site.namespace));
    site.write("there.yaml", &surroundings(&site.namespace));
    site.kubectl(&["apply", "-f", "there.yaml"]).expect(0);
    let definition = "httproutes.gateway.networking.k8s.io";
    site.kubectl(&["wait", "--for=condition=Established", "--timeout=30s", "crd", definition]).expect(0);
    site.bind();
    site.run(&["deploy", "--version", "v1", "--yes", "--timeout", "60s"]).expect(0);
    site.until("the autoscaler has seen it", async || {
        let api = part(&site, "apps/v1", "Deployment", "api").await;
        api.int("/status/availableReplicas") == Some(2)
    })
    .await;
    // What the server adds and the autoscaler does is no change.
    site.run(&["plan", "--version", "v1", "--exit-code"]).expect(0);
    let status = site.run(&["status", "-o", "json"]).expect(0).json();
    for service in status["services"].as_array().expect("is a list") {
        assert_eq!(service["drift"], json!([]), "{service}");
    }

    pods(&part(&site, "apps/v1", "Deployment", "api").await);
    let scaler = part(&site, "autoscaling/v2", "HorizontalPodAutoscaler", "api").await;
    holds(
        &scaler,
        &[
            ("/spec/minReplicas", json!(2)),
            ("/spec/maxReplicas", json!(6)),
            ("/spec/scaleTargetRef", json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"})),
            (
                "/spec/metrics/0/resource",
                json!({"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}),
            ),
        ],
    );
    let budget = part(&site, "policy/v1", "PodDisruptionBudget", "api").await;
    holds(&budget, &[("/spec/maxUnavailable", json!(1)), ("/status/disruptionsAllowed", json!(1))]);
    around(&site).await;
    ways_in(&site).await;
    site.kubectl(&["delete", "crd", definition, "--wait=false"]).expect(0);
    let volumes = ["a", "b"].map(|name| format!("{}-{name}", site.namespace));
    site.kubectl(&["delete", "persistentvolume", &volumes[0], &volumes[1], "--wait=false"]).expect(0);
}

fn pods(api: &Object) {
    let container = |field: &str| format!("/spec/template/spec/containers/0/{field}");
    let probe = |path: &str, period: u32, failures: u32| {
        json!({"httpGet": {"path": path, "port": "http", "scheme": "HTTP"}, "periodSeconds": period,
            "failureThreshold": failures, "successThreshold": 1, "timeoutSeconds": 1})
    };
    let env = json!([{"name": "LEVEL", "value": "info"},
        {"name": "DATABASE_URL", "valueFrom": {"secretKeyRef": {"name": "db", "key": "url"}}}]);
    holds(
        api,
        &[
            (&container("image"), json!("registry.example/shop/api:v1")),
            (&container("command"), json!(["serve"])),
            (&container("args"), json!(["--all"])),
            (&container("env"), env),
            (&container("readinessProbe"), probe("/ready", 5, 3)),
            (&container("livenessProbe"), probe("/live", 10, 6)),
            (&container("startupProbe"), probe("/start", 5, 60)),
            (
                &container("resources"),
                json!({"requests": {"cpu": "200m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "128Mi"}}),
            ),
            ("/spec/strategy/type", json!("RollingUpdate")),
            ("/spec/replicas", json!(2)),
            ("/spec/template/spec/serviceAccountName", json!("api")),
            ("/status/availableReplicas", json!(2)),
        ],
    );
    let volumes: Vec<&Value> = api.items("/spec/template/spec/volumes").iter().collect();
    let mounts: Vec<&Value> = api.items(&container("volumeMounts")).iter().collect();
    let mode = 0o644;
    for (name, path, kind, what) in [
        ("cache", "/cache", "emptyDir", json!({})),
        ("shared", "/data", "persistentVolumeClaim", json!({"claimName": "api-shared"})),
        ("old", "/old", "persistentVolumeClaim", json!({"claimName": "old"})),
        ("cert", "/cert", "secret", json!({"secretName": "cert", "defaultMode": mode})),
        ("extra", "/extra", "configMap", json!({"name": "extra", "defaultMode": mode})),
        ("config", "/etc/config", "configMap", json!({"name": "api-config", "defaultMode": mode})),
    ] {
        let volume = volumes.iter().find(|volume| volume["name"] == name).expect("is there");
        assert_eq!(volume[kind], what, "{name}");
        let mount = mounts.iter().find(|mount| mount["name"] == name).expect("is mounted");
        let read_only = matches!(kind, "secret" | "configMap").then_some(true);
        assert_eq!(
            (mount["mountPath"].as_str(), mount["readOnly"].as_bool()),
            (Some(path), read_only),
            "{name}"
        );
    }
}

/// Account, rights, claim, configuration and network.
async fn around(site: &Site) {
    let account = part(site, "v1", "ServiceAccount", "api").await;
    holds(&account, &[("/automountServiceAccountToken", json!(true))]);
    let role = part(site, "rbac.authorization.k8s.io/v1", "Role", "api").await;
    let rules = json!([
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]}]);
    holds(&role, &[("/rules", rules)]);
    // By what the server allows, not by what the objects say.
    let user = format!("--as=system:serviceaccount:{}:api", site.namespace);
    for (verb, resource, code) in
        [("list", "configmaps", 0), ("get", "deployments.apps", 0), ("get", "secrets", 1)]
    {
        site.kubectl(&["auth", "can-i", verb, resource, &user]).expect(code);
    }
    let claim = part(site, "v1", "PersistentVolumeClaim", "api-shared").await;
    holds(
        &claim,
        &[
            ("/spec/accessModes", json!(["ReadWriteMany"])),
            ("/spec/storageClassName", json!(site.namespace)),
            ("/spec/resources/requests/storage", json!("1Gi")),
            ("/status/phase", json!("Bound")),
        ],
    );
    let config = part(site, "v1", "ConfigMap", "api-config").await;
    holds(&config, &[("/data", json!({"limits.yaml": "most: 5"}))]);
    let policy = part(site, "networking.k8s.io/v1", "NetworkPolicy", "api").await;
    let pods = |name: &str| json!({"podSelector": {"matchLabels": {"app.kubernetes.io/name": name}}});
    holds(
        &policy,
        &[
            ("/spec/policyTypes", json!(["Egress"])),
            ("/spec/podSelector", pods("api")["podSelector"].clone()),
            (
                "/spec/egress/0/ports",
                json!([{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]),
            ),
            ("/spec/egress/1/to", json!([pods("worker")])),
            ("/spec/egress/2/to", json!([{"ipBlock": {"cidr": "0.0.0.0/0"}}, {"ipBlock": {"cidr": "::/0"}}])),
        ],
    );
}

async fn ways_in(site: &Site) {
    let service = part(site, "v1", "Service", "api").await;
    let port =
        |name: &str, port: u16| json!({"name": name, "port": port, "targetPort": name, "protocol": "TCP"});
    holds(&service, &[("/spec/ports", json!([port("http", 8080), port("metrics", 9090)]))]);
    let ingress = part(site, "networking.k8s.io/v1", "Ingress", "api").await;
    let backend = json!({"service": {"name": "api", "port": {"number": 8080}}});
    let rule = json!({"host": "api.example",
        "http": {"paths": [{"path": "/v1", "pathType": "Prefix", "backend": backend}]}});
    holds(
        &ingress,
        &[
            ("/spec/ingressClassName", json!("inner")),
            ("/spec/tls", json!([{"hosts": ["api.example"], "secretName": "api-tls"}])),
            ("/spec/rules", json!([rule])),
        ],
    );
    let key = ObjectKey::new(
        ObjectKind::new("gateway.networking.k8s.io/v1", "HTTPRoute"),
        Some(&site.namespace),
        "web",
    );
    let route = site.cluster.get(&key).await.expect("answers").expect("is there");
    holds(
        &route,
        &[
            ("/spec/hostnames", json!(["www.example"])),
            ("/spec/parentRefs/0/namespace", json!("infra")),
            ("/spec/parentRefs/0/name", json!("public")),
            ("/spec/parentRefs/0/sectionName", json!("https")),
            ("/spec/rules/0/matches", json!([{"path": {"type": "PathPrefix", "value": "/shop"}}])),
            ("/spec/rules/0/backendRefs/0/name", json!("web")),
            ("/spec/rules/0/backendRefs/0/port", json!(8080)),
        ],
    );
}
