//! A phased deploy over two environments of one cluster, with gates of every kind.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use crate::site::Site;

/// A page on loopback that counts who asks; it ends with the process.
fn page() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let port = listener.local_addr().expect("has an address").port();
    let asked = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&asked);
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let mut client = client;
            // The first one finds it still closed: an answer like any other, and not the one that is wanted.
            let status = if count.fetch_add(1, SeqCst) == 0 { "503 -" } else { "204 -" };
            let _ = client.read(&mut [0; 4 * 1024]);
            let _ = write!(client, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    (port, asked)
}

/// A program of the project, on the machine that runs `mailyctl`.
pub(crate) fn program(site: &Site, name: &str, script: &str) {
    site.write(name, &format!("#!/bin/sh\n{script}\n"));
    let path = site.path().join(name);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("can be set");
}

async fn image(site: &Site, name: &str) -> String {
    let image = site.image(name).await;
    image.rsplit(':').next().expect("has a version").to_owned()
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn gates_of_every_kind_stand_between_staging_and_production() {
    let (port, asked) = page();
    let (production, staging) = (Site::new("gates").await, Site::new("gates-staging").await);
    let file = format!(
        "maily: 1
project: shop
images: registry.example/shop/{{service}}:{{version}}
environments: {{}}
services:
  web: {{critical: true, workload: {{port: 8080, scale: 1}}}}
  worker: {{workload: {{command: [worker], scale: 1}}}}
phases:
  - {{name: staging, environment: staging, services: all, gates: [e2e, smoke]}}
  - {{name: non-critical, environment: production, services: non-critical, gates: [front]}}
  - {{name: critical, environment: production, services: critical}}
gates:
  e2e: {{job: {{image: 'registry.example/e2e:{{version}}', command: [run], timeout: 1m}}}}
  smoke: {{command: [./smoke.sh, '{{version}}'], timeout: 3s}}
  front: {{http: 'http://127.0.0.1:{port}/up', expect: 204, timeout: 30s}}
"
    );
    production.write("maily.yaml", &file);
    program(&production, "smoke.sh", "echo $1 >>seen; [ $1 = v1 ] || { echo $1 is slow >&2; exit 1; }");
    for (name, site) in [("staging", &staging), ("production", &production)] {
        production.run(&["env", "bind", name, "--namespace", &site.namespace]).expect(0);
    }
    let phased = |version: &str, code: i32| {
        production.run(&["phased-deploy", "--version", version, "--yes", "-o", "json"]).expect(code)
    };
    let first = phased("v1", 0);
    for (site, service) in
        [(&staging, "web"), (&staging, "worker"), (&production, "web"), (&production, "worker")]
    {
        assert_eq!(image(site, service).await, "v1");
    }
    let decided: Vec<(String, String)> = first
        .events()
        .iter()
        .filter(|event| event["event"] == "gate-decided")
        .map(|event| (event["step"].to_string(), event["verdict"].to_string()))
        .collect();
    let passed =
        |gate: &str| decided.iter().any(|(step, verdict)| step.contains(gate) && verdict.contains("pass"));
    assert!(decided.len() == 3 && passed("e2e") && passed("smoke") && passed("front"), "{decided:?}");
    // Nothing that is critical begins before the gate of the phase before has passed.
    let at = |step: &str, what: &str| {
        let find =
            |event: &serde_json::Value| event["event"] == what && event["step"].to_string().contains(step);
        first.events().iter().position(find).unwrap_or_else(|| panic!("no {what} of {step}: {}", first.out))
    };
    assert!(at("front", "gate-decided") < at("production/web/rollout", "step-started"));
    assert_eq!(asked.load(SeqCst), 2, "it is asked until it answers as is wanted");
    let jobs = staging.list("batch/v1", "Job").await;
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    assert_eq!(jobs[0].text("/spec/template/spec/containers/0/image"), Some("registry.example/e2e:v1"));
    assert_eq!(jobs[0].int("/status/succeeded"), Some(1));
    assert!(production.list("batch/v1", "Job").await.is_empty(), "the gate is staging's");

    let before = (staging.content().await, production.content().await);
    let second = phased("v2", 3);
    assert!(second.err.is_empty() || second.err.contains("v2 is slow"), "{}", second.err);
    let failed = second.events().into_iter().find(|event| event["event"] == "step-failed").expect("failed");
    assert_eq!(failed["failure"]["cause"], "check-failed", "{failed}");
    assert!(failed["failure"]["message"].to_string().contains("v2 is slow"), "{failed}");
    assert_eq!((staging.content().await, production.content().await), before, "the gate's Job went, too");
    let seen = std::fs::read_to_string(production.path().join("seen")).expect("was written");
    let (ones, twos) = (seen.matches("v1").count(), seen.matches("v2").count());
    assert!(ones == 1 && twos > 1, "a refusal is looked at again until the time is over: {seen}");
}
