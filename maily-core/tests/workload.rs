//! What a workload of the project file becomes, where a trap of other tools is avoided by how it is written.

use maily_core::{
    model::Project,
    object::Object,
    source::{ProgramTools, RenderRequest, render},
};

/// The objects of the service `web` with this workload.
async fn objects(workload: &str) -> Vec<Object> {
    let text = format!(
        "maily: 1\nproject: shop\nimages: r.example/{{service}}:{{version}}\nenvironments: {{staging: {{}}}}\n\
         services: {{web: {{workload: {{{workload}}}}}}}\n"
    );
    let resolved =
        Project::parse(&text, "maily.yaml").expect("is a project").resolve("staging").expect("is there");
    let version = "v1".parse().expect("is a version");
    let request = RenderRequest { resolved: &resolved, version: &version, only: None, accept_new: false };
    let rendered = render(&request, &ProgramTools).await.expect("renders");
    rendered.services["web"].objects.clone()
}

async fn deployment(workload: &str) -> Object {
    objects(workload).await.into_iter().find(|object| object.kind() == "Deployment").expect("has one")
}

#[tokio::test]
async fn t16_what_restarts_pods_is_the_content_of_the_configuration_and_never_the_time() {
    let template = |object: &Object| object.at("/spec/template").cloned().expect("has one");
    let first = deployment("config: {a.conf: x}").await;
    // Twice in one second: the same content is the same template, another one is another.
    assert_eq!(template(&first), template(&deployment("config: {a.conf: x}").await));
    assert_ne!(template(&first), template(&deployment("config: {a.conf: y}").await));
    assert_ne!(template(&first), template(&deployment("config: {b.conf: x}").await));
}

#[tokio::test]
async fn t18_a_pod_serves_on_after_it_was_told_to_end_and_has_time_left() {
    let live = deployment("port: 8080").await;
    let pause =
        live.int("/spec/template/spec/containers/0/lifecycle/preStop/sleep/seconds").expect("has a pause");
    let grace = live.int("/spec/template/spec/terminationGracePeriodSeconds").expect("has a time to end");
    assert!(0 < pause && pause < grace, "{pause} s of {grace} s");
    // Nobody sends requests to a worker.
    let worker = deployment("command: [work]").await;
    assert!(worker.at("/spec/template/spec/containers/0/lifecycle").is_none());
}

/// What one node holds a second pod on another one would wait for.
#[tokio::test]
async fn a_volume_of_one_node_means_one_pod() {
    let replicas = async |volume: &str| {
        deployment(&format!("port: 80, volumes: {{data: {volume}}}")).await.int("/spec/replicas")
    };
    assert_eq!(replicas("{mount: /d, size: 1Gi}").await, Some(1));
    assert_eq!(replicas("{mount: /d, size: 1Gi, access: many-nodes}").await, Some(2));
    assert_eq!(replicas("{mount: /d}").await, Some(2));
}

/// Each rule is worth what turns red without it.
#[cfg(feature = "planted-defects")]
#[test]
fn every_default_that_is_left_out_turns_its_test_red() {
    use maily_core::planted::{Defect, turns_red};

    let restarts = t16_what_restarts_pods_is_the_content_of_the_configuration_and_never_the_time;
    let ends = t18_a_pod_serves_on_after_it_was_told_to_end_and_has_time_left;
    let tests: [(Defect, fn()); 2] = [(Defect::ConfigRestartsNothing, restarts), (Defect::NoTimeToEnd, ends)];
    for (defect, test) in tests {
        turns_red(defect, test);
    }
}
