//! How much a release asks of the API server.

use serde_json::json;

use crate::site::{Site, app, done};

/// Workloads of an upgrade, of a ConfigMap, a Service and a Deployment each.
const WORKLOADS: u32 = 20;
/// Requests for each ten workloads that an install may take: a write for each of the three objects, and a share of what
/// is read and recorded once. `kubectl apply` takes twice as many as there are objects.
const INSTALL: u32 = 60;
/// The same for an upgrade, or the way back: a write for each of the two objects that change. A dry run of each would be
/// too much.
const UPGRADE: u32 = 50;
/// The same for a release of what is there: it is read and compared, not written.
const NOTHING: u32 = 10;

/// Requests that the server has counted in this flow.
fn counted(site: &Site, flow: &str) -> u32 {
    let metrics = site.kubectl(&["get", "--raw", "/metrics"]).expect(0).out;
    let flow = format!(r#"flow_schema="{flow}""#);
    metrics
        .lines()
        .filter(|line| line.starts_with("apiserver_flowcontrol_dispatched_requests_total"))
        .filter(|line| line.contains(&flow))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u32>().ok())
        .sum()
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn an_upgrade_asks_little_of_the_server() {
    let all = |version: &str| -> String {
        (0..WORKLOADS).map(|number| app(&format!("svc-{number}"), version, json!({}))).collect()
    };
    let site = Site::bound("budget", &[("v1", all("v1")), ("v2", all("v2"))]).await;
    // A user and a flow of its own: the server counts requests by flow.
    let flow = site.namespace.clone();
    let account = json!({"kind": "ServiceAccount", "serviceAccount": {"name": "counted", "namespace": flow}});
    let schema = json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema",
        "metadata": {"name": flow}, "spec": {"matchingPrecedence": 100,
            "priorityLevelConfiguration": {"name": "workload-high"}, "rules": [{"subjects": [account],
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true,
                "namespaces": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}]}});
    site.write("flow.json", &schema.to_string());
    site.kubectl(&["create", "-f", "flow.json"]).expect(0);
    site.kubectl(&["create", "serviceaccount", "counted"]).expect(0);
    let user = format!("--serviceaccount={flow}:counted");
    site.kubectl(&["create", "clusterrolebinding", &flow, "--clusterrole=cluster-admin", &user]).expect(0);
    let token = site.kubectl(&["create", "token", "counted"]).expect(0).out;
    let own = std::fs::read_to_string(site.kubeconfig()).expect("can be read");
    let users = own.find("users:").expect("has users");
    let config = format!("{}users: [{{name: admin, user: {{token: '{}'}}}}]\n", &own[..users], token.trim());
    site.write("counted.kubeconfig", &config);
    let run = |args: &[&str]| {
        let mut command = site.command(args);
        command.arg("--kubeconfig").arg("counted.kubeconfig").env_remove("KUBECONFIG");
        done(command).expect(0)
    };
    site.until("the server counts", async || {
        run(&["status"]);
        counted(&site, &flow) > 0
    })
    .await;
    let asked = |args: &[&str]| {
        let before = counted(&site, &flow);
        run(args);
        counted(&site, &flow) - before
    };
    let spent = [
        ("install", 30, INSTALL, asked(&["deploy", "--version", "v1", "--yes"])),
        ("upgrade", 20, UPGRADE, asked(&["deploy", "--version", "v2", "--yes"])),
        ("nothing to do", 0, NOTHING, asked(&["deploy", "--version", "v2", "--yes"])),
        ("way back", 20, UPGRADE, asked(&["rollback", "--to-version", "v1", "--yes"])),
    ];
    site.kubectl(&["delete", "flowschema,clusterrolebinding", &flow]).expect(0);
    for (what, least, most, requests) in spent {
        assert!(
            requests * 10 > WORKLOADS * least,
            "{what}: {requests} requests: they are counted: {spent:?}"
        );
        assert!(requests * 10 < WORKLOADS * most, "{what}: {requests} requests for {WORKLOADS}: {spent:?}");
    }
}
