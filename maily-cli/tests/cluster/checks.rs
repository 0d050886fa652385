//! Checks of a service, carried out by `mailyctl` itself. The pods of the stack serve nothing: what they would answer
//! through the API server's proxy is answered on the way there.

use maily_testkit::harness::Stack;

use crate::{
    gates::program,
    operators::{Operators, run},
    proxy::Door,
    site::Site,
};

async fn site(purpose: &str, patch: &str, checks: &str) -> Site {
    let site = Site::new(purpose).await;
    let file = format!(
        "maily: 1
project: shop
images: registry.example/shop/{{service}}:{{version}}
environments: {{}}
services:
  api:
    timeout: 3s
    workload: {{port: 8080, scale: 1{patch}}}
    checks: {checks}
"
    );
    site.write("maily.yaml", &file);
    site.bind();
    site
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn what_a_service_answers_through_the_api_server_decides() {
    let site = site("answers", "", "[{http: '/health/ready?deep=1', expect: 202}]").await;
    let operators = Operators::new(&site);
    let door = Door::calm(&Stack::from_env().expect("the test stack runs"));
    let kubeconfig = operators.kubeconfig(&site, "first", Some(door.port));
    door.services.answer(202);
    let deploy =
        |version: &str| run(&site, &kubeconfig, &["deploy", "--version", version, "--yes", "-o", "json"]);
    let passed = deploy("v1").expect(0);
    assert_eq!(passed.steps("step-applied"), ["production/api/rollout", "production/api/check/1"]);
    let path = format!("/api/v1/namespaces/{}/services/api:8080/proxy/health/ready?deep=1", site.namespace);
    assert_eq!(door.services.asked(), [format!("GET {path} HTTP/1.1")]);

    let before = site.content().await;
    for (answer, cause, said) in [(404, "check-failed", "answered 404"), (503, "no-evidence", "503")] {
        door.services.answer(answer);
        let failed = deploy("v2").expect(3);
        let event =
            failed.events().into_iter().find(|event| event["event"] == "step-failed").expect("failed");
        assert_eq!(
            (&event["step"], &event["failure"]["cause"]),
            (&"production/api/check/1".into(), &cause.into())
        );
        assert!(event["failure"]["message"].to_string().contains(said), "{event}");
        assert_eq!(site.content().await, before, "everything is as it was");
    }
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_service_that_reaches_no_pod_is_no_evidence_in_the_servers_own_words() {
    // One selects no pod, the other says nothing of pods at all: of that one the server knows no way.
    for (selector, said) in [
        ("{app: nobody}", "503 Service Unavailable: no endpoints available for service"),
        ("null", "404 Not Found: services \"api\" not found"),
    ] {
        let patch = format!(", patch: {{Service: {{spec: {{selector: {selector}}}}}}}");
        // What the API server says of itself is no answer of the service, also where it is the one that is wanted.
        let site = site("nobody", &patch, "[{http: /, expect: 404}]").await;
        let failed = site.run(&["deploy", "--version", "v1", "--yes"]).expect(3);
        let told = format!("{}{}", failed.out, failed.err);
        assert!(told.contains("the API server itself refused it") && told.contains(said), "{failed:?}");
        assert!(told.contains("[no-evidence]"), "{told}");
        assert!(site.objects().await.is_empty(), "a first release that fails leaves nothing");
    }
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_program_checks_what_was_released() {
    let site = site("programs", "", "[{command: [./smoke.sh, '{version}', '{env}']}]").await;
    // It looks when the new version serves, and not before.
    let look =
        "kubectl --kubeconfig $KUBECONFIG --namespace $NAMESPACE get deployment api -o json >looked-$1.json";
    program(
        &site,
        "smoke.sh",
        &format!("echo $1 $2 >>seen\n{look}\n[ $1 = v1 ] || {{ echo $1 does not work >&2; exit 4; }}"),
    );
    let folder = site.path().to_str().expect("is text");
    let deploy = |version: &str| {
        // Where the command is called does not matter: the file decides.
        let mut command =
            site.command(&["-C", folder, "deploy", "--version", version, "--yes", "-o", "json"]);
        command.current_dir("/").env("NAMESPACE", &site.namespace);
        crate::site::done(command)
    };
    deploy("v1").expect(0);
    assert_eq!(std::fs::read_to_string(site.path().join("seen")).expect("was written"), "v1 production\n");
    let looked = std::fs::read_to_string(site.path().join("looked-v1.json")).expect("was written");
    let looked: serde_json::Value = serde_json::from_str(&looked).expect("is JSON");
    assert_eq!(looked["status"]["availableReplicas"], 1, "{looked}");
    let before = site.content().await;
    let failed = deploy("v2").expect(3);
    assert!(
        failed.out.contains("v2 does not work") && failed.out.contains("exit status: 4"),
        "{}",
        failed.out
    );
    assert_eq!(site.content().await, before, "everything is as it was");
}
