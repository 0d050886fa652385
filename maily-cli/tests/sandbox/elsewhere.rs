//! A kubeconfig that leads to another cluster than the bound one: its records are not taken for those of the environment.

use std::sync::{Arc, Mutex};

use maily_testkit::harness::{Loopback, Reply};
use serde_json::{Value, json};

use crate::{
    desk::Desk,
    server::{bound, serve},
};

/// A server with the namespaces and without records, of the cluster `other`.
async fn server() -> Loopback {
    let server = Loopback::serve(|request| {
        let answer = |status: u16, body: Value| {
            Reply::new(status, body.to_string()).header("content-type", "application/json")
        };
        let kind = |name: &str, plural: &str, namespaced: bool| json!({"name": plural, "kind": name, "namespaced": namespaced, "singularName": "", "verbs": ["get"]});
        let namespace = |uid: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n", "uid": uid, "resourceVersion": "1"}});
        match request.path.as_str() {
            "/version" => answer(200, json!({"gitVersion": "v1.36.0"})),
            "/api/v1" => {
                let kinds = [kind("Namespace", "namespaces", false), kind("Secret", "secrets", true)];
                answer(200, json!({"kind": "APIResourceList", "groupVersion": "v1", "resources": kinds}))
            }
            "/api/v1/namespaces/kube-system" => answer(200, namespace("other")),
            "/api/v1/namespaces/shop" | "/api/v1/namespaces/staging" => answer(200, namespace("n")),
            path if path.ends_with("/secrets") => {
                answer(200, json!({"kind": "SecretList", "metadata": {"resourceVersion": "1"}, "items": []}))
            }
            _ => {
                answer(404, json!({"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}))
            }
        }
    });
    server.await.expect("has a port")
}

fn kubeconfig(server: &Loopback) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\nclusters: [{{name: c, cluster: {{server: '{}'}}}}]\nusers: [{{name: u, user: {{token: t}}}}]\n",
        server.url()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn another_authority_of_the_bound_cluster_is_told_as_one() {
    let server = server().await;
    let desk = Desk::with(
        "maily: 1\nproject: shop\nenvironments: {production: {namespace: shop, cluster: {context: c, identity: {uid: other, ca: 00ff}}}}\n\
         services: {web: {image: 'r.example/web:{version}', workload: {port: 80}}}\n",
    );
    desk.write("kubeconfig", &kubeconfig(&server));
    let run = |args: &[&str]| desk.run(&[&["--kubeconfig", "kubeconfig"], args].concat());
    for command in [&["history"][..], &["env", "bind", "production"]] {
        let refused = run(command).expect(1).err;
        assert!(!refused.contains("another cluster") && !refused.contains("uid other; "), "{refused}");
        assert!(refused.contains("another certificate authority (SHA-256 00ff)"), "{refused}");
        assert!(refused.contains("--rebind"), "{refused}");
    }
    run(&["env", "bind", "production", "--rebind"]).expect(0);
    run(&["history"]).expect(0);
}

/// A fence is its binding's: no other cluster is on record with it before it is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_fence_that_cannot_be_installed_elsewhere_is_not_on_record_for_there() {
    let server = server().await;
    let text = "maily: 1\nproject: shop\nenvironments: {production: {namespace: shop, fence: installed, cluster: {context: c, identity: {uid: first}}}}\n\
         services: {web: {image: 'r.example/web:{version}', workload: {port: 80}}}\n";
    let desk = Desk::with(text);
    desk.write("kubeconfig", &kubeconfig(&server));
    let bind = |more: &[&str]| {
        desk.run(&[&["--kubeconfig", "kubeconfig", "env", "bind", "production", "--rebind"], more].concat())
    };
    let file = || std::fs::read_to_string(desk.path().join("maily.yaml")).expect("can be read");
    // The file was written: that is no failure before any change.
    let failed = bind(&["--install-fence"]).expect(4).err;
    assert!(failed.contains("the fence of `production`"), "{failed}");
    assert!(failed.contains(&format!("`production` is bound to {}", server.url())), "{failed}");
    assert!(failed.contains("its fence is not installed") && failed.contains("` once more"), "{failed}");
    assert!(!file().contains("installed") && !file().contains("first"), "{}", file());
    // Bound as it was before, nothing has changed.
    let failed = bind(&["--install-fence"]).expect(1).err;
    assert!(!failed.contains("is bound to"), "{failed}");
    desk.write("maily.yaml", text);
    let told = bind(&["-q"]).expect(0).err;
    assert!(told.contains("the fence of `production` was that of the former binding"), "{told}");
    assert!(!file().contains("installed") && !file().contains("first"), "{}", file());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_records_of_another_cluster_are_not_shown_and_do_not_count() {
    let server = server().await;
    let desk = Desk::with(
        "maily: 1\nproject: shop\nenvironments:\n  staging: {namespace: staging, cluster: {context: c, identity: {uid: bound}}}\n\
         \x20 production: {namespace: shop, cluster: {context: c, identity: {uid: bound}}}\n\
         services: {web: {image: 'r.example/web:{version}', workload: {port: 80}}}\n",
    );
    desk.write("kubeconfig", &kubeconfig(&server));
    for (environment, command) in [
        ("production", &["history"][..]),
        ("production", &["show", "run"]),
        ("production", &["show", "run", "20260101-000000-aaaaaa"]),
        ("production", &["show", "release"]),
        ("production", &["show", "release", "1"]),
    ] {
        let mut args = vec!["--kubeconfig", "kubeconfig"];
        args.extend(command);
        args.extend(["--env", environment]);
        let refused = desk.run(&args).expect(1);
        assert!(refused.err.contains("another cluster"), "{command:?}: {}", refused.err);
    }
    // Whether a version was seen on staging the records of another cluster do not tell.
    let refused = desk.run(&[
        "--kubeconfig",
        "kubeconfig",
        "phased-deploy",
        "--version",
        "v1",
        "--skip-staging",
        "--yes",
        "--reason",
        "urgent",
    ]);
    assert!(refused.err.contains("`staging` is bound to another cluster"), "{}", refused.err);
}

/// The file's namespace is where the records are: another one has none of them.
#[tokio::test(flavor = "multi_thread")]
async fn who_binds_another_namespace_is_told_of_the_former_one() {
    let server = server().await;
    let desk = Desk::with(
        "maily: 1\nproject: shop\nenvironments: {production: {namespace: shop}}\n\
         services: {web: {image: 'r.example/web:{version}', workload: {port: 80}}}\n",
    );
    desk.write("kubeconfig", &kubeconfig(&server));
    let bind = |namespace: &str| {
        let args = ["--kubeconfig", "kubeconfig", "env", "bind", "production", "--context", "c"];
        desk.run(&[&args[..], &["--namespace", namespace]].concat()).expect(0).err
    };
    assert!(!bind("other").contains("until now"), "it was in none");
    assert!(bind("shop").contains("in namespace `other` until now"), "it was bound");
    assert!(!bind("shop").contains("until now"), "the same");
    desk.sandbox(&["deploy", "--version", "v1", "--yes"]).expect(0);
    let told = bind("staging");
    let former = "! it was in namespace `shop` until now: what is released and on record there stays there";
    assert!(told.contains(former), "{told}");
    // The sandbox has other namespaces at hand.
    for command in ["status", "history"] {
        let told = desk.sandbox(&[command]).expect(0);
        let place = "! nothing is on record in namespace `staging`, but in `shop`: ";
        assert!(told.err.contains(place), "{told:?}");
        assert!(told.out.contains("nothing"), "{told:?}");
    }
    bind("shop");
    let told = desk.sandbox(&["status"]).expect(0);
    assert!(told.out.contains("release 1") && told.err.is_empty(), "{told:?}");
}

/// Where what is missing among the records is written again, whoever reads them in another cluster writes there.
#[tokio::test(flavor = "multi_thread")]
async fn no_command_reads_the_records_of_another_cluster() {
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let hears = Arc::clone(&asked);
    let server = serve("other", move |request| {
        hears.lock().expect("not poisoned").push(format!("{} {}", request.method, request.path));
        None
    });
    let server = server.await;
    let desk = bound(&server);
    for (command, by_hand) in [
        (&["abort"][..], false),
        (&["abort", "--leave"], false),
        (&["abort", "--yes"], false),
        (&["resume"], false),
        (&["resume"], true),
        (&["abort"], true),
        (&["doctor"], false),
        (&["deploy", "--version", "v1", "--yes"], false),
        (&["deploy", "--version", "v1", "--yes", "--anew"], false),
        (&["plan", "--version", "v1"], false),
        (&["rollback", "--last-good", "--yes"], false),
        (&["remove", "--components", "all", "--yes"], false),
    ] {
        let args = [&["--kubeconfig", "kubeconfig"][..], command, &["--env", "production"]].concat();
        let refused = if by_hand { desk.on_terminal(&args, None) } else { desk.run(&args) }.expect(1);
        let said = format!("{}{}", refused.out, refused.err);
        assert!(said.contains("another cluster"), "{command:?}: {said}");
        let asked = std::mem::take(&mut *asked.lock().expect("not poisoned"));
        let of_records = |asked: &&String| asked.contains("/secrets") || asked.contains("/leases");
        let read: Vec<&String> = asked.iter().filter(of_records).collect();
        assert!(read.is_empty() && !asked.is_empty(), "{command:?}: {read:?}");
    }
}
