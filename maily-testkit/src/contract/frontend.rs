//! What every [`FrontendHost`] does.

use std::{collections::BTreeMap, time::Duration};

use maily_core::{
    provider::{ErrorKind, FrontendDeployment, FrontendHost, FrontendState},
    runtime::Runtime,
};

/// Longest that a build may take.
const BUILD: Duration = Duration::from_secs(300);

fn tags(value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("maily-run".to_owned(), value.to_owned())])
}

async fn built(
    host: &dyn FrontendHost,
    runtime: &dyn Runtime,
    project: &str,
    id: &str,
) -> FrontendDeployment {
    let until = runtime.now() + BUILD;
    loop {
        let found = host.get(project, id).await.expect("answers").expect("is there");
        match found.state {
            FrontendState::Building => {}
            _ => return found,
        }
        assert!(runtime.now() < until, "the build does not end");
        runtime.sleep(Duration::from_millis(500)).await;
    }
}

/// Sentence 1: an answer comes before the build is through.
pub async fn a_build_takes_time(host: &dyn FrontendHost, runtime: &dyn Runtime, project: &str) {
    let created = host.create(project, "v1.0.0", &tags("a")).await.expect("is created");
    assert_eq!(created.state, FrontendState::Building);
    assert_eq!(built(host, runtime, project, &created.id).await.state, FrontendState::Ready);
}

/// Sentence 2: two creates make two deployments, found by their tags, newest first.
pub async fn deployments_are_found_by_tag(host: &dyn FrontendHost, runtime: &dyn Runtime, project: &str) {
    let first = host.create(project, "v1.0.0", &tags("a")).await.expect("is created");
    runtime.sleep(Duration::from_secs(1)).await;
    let second = host.create(project, "v1.0.0", &tags("a")).await.expect("is created");
    host.create(project, "v1.0.0", &tags("b")).await.expect("is created");
    assert_ne!(first.id, second.id);
    let found = host.find(project, &tags("a")).await.expect("answers");
    assert_eq!(found.iter().map(|one| &one.id).collect::<Vec<_>>(), [&second.id, &first.id]);
}

/// Sentence 3: what is not ready is not shown.
pub async fn a_build_cannot_be_promoted(host: &dyn FrontendHost, runtime: &dyn Runtime, project: &str) {
    let first = host.create(project, "v1.0.0", &tags("a")).await.expect("is created");
    built(host, runtime, project, &first.id).await;
    host.promote(project, &first.id, None).await.expect("is promoted");
    let second = host.create(project, "v1.1.0", &tags("b")).await.expect("is created");
    let error = host.promote(project, &second.id, None).await.expect_err("is building");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let shown = host.production(project).await.expect("answers").expect("is there");
    assert_eq!(shown.id, first.id);
}

/// Sentence 4: what was promoted is in production.
pub async fn a_promoted_deployment_is_in_production(
    host: &dyn FrontendHost,
    runtime: &dyn Runtime,
    project: &str,
) {
    for version in ["v1.0.0", "v1.1.0"] {
        let created = host.create(project, version, &tags(version)).await.expect("is created");
        built(host, runtime, project, &created.id).await;
        host.promote(project, &created.id, None).await.expect("is promoted");
        let shown = host.production(project).await.expect("answers").expect("is there");
        assert_eq!((shown.id, shown.version), (created.id, version.to_owned()));
    }
}

/// Sentence 5: an unknown deployment is no error.
pub async fn an_unknown_deployment_is_none(host: &dyn FrontendHost, project: &str) {
    assert_eq!(host.get(project, "dpl-nothing").await.expect("answers"), None);
}
