//! How much a release asks of the API server.

use serde_json::json;

use crate::site::{Site, app, done};

/// Workloads of an upgrade, of a ConfigMap, a Service and a Deployment each.
const WORKLOADS: u32 = 20;
/// Requests per workload: a dry run and a write for each of the two objects that change, and a share of what is
/// read and recorded once.
const REQUESTS: u32 = 6;

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
    run(&["deploy", "--version", "v1", "--yes"]);
    site.until("the server counts", async || {
        run(&["status"]);
        counted(&site, &flow) > 0
    })
    .await;
    let before = counted(&site, &flow);
    run(&["deploy", "--version", "v2", "--yes"]);
    let requests = counted(&site, &flow) - before;
    site.kubectl(&["delete", "flowschema,clusterrolebinding", &flow]).expect(0);
    assert!(requests > WORKLOADS, "{requests} requests: they are counted");
    assert!(requests < WORKLOADS * REQUESTS, "{requests} requests for {WORKLOADS} workloads");
}
