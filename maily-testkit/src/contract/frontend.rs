//! What every [`FrontendHost`] does.

use std::{collections::BTreeMap, time::Duration};

use maily_core::{
    provider::{Effect, ErrorKind, FrontendDeployment, FrontendHost, FrontendState, Production},
    runtime::Runtime,
};

/// Longest that a build, or a change of a domain, may take.
const BUILD: Duration = Duration::from_secs(300);

/// Promotes, and waits until it is shown.
async fn shown(
    host: &dyn FrontendHost,
    runtime: &dyn Runtime,
    project: &str,
    id: &str,
) -> FrontendDeployment {
    host.promote(project, id, None).await.expect("is accepted");
    let until = runtime.now() + BUILD;
    loop {
        let production = host.production(project, None).await.expect("answers");
        match (production.shown, production.coming) {
            (Some(found), None) if found.id == id => return found,
            (_, coming) => assert_eq!(coming.as_deref(), Some(id), "it is on its way"),
        }
        assert!(runtime.now() < until, "the domain does not change");
        runtime.sleep(Duration::from_millis(100)).await;
    }
}

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
    shown(host, runtime, project, &first.id).await;
    let second = host.create(project, "v1.1.0", &tags("b")).await.expect("is created");
    let error = host.promote(project, &second.id, None).await.expect_err("is building");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let production = host.production(project, None).await.expect("answers");
    assert_eq!((production.shown.map(|shown| shown.id), production.coming), (Some(first.id), None));
}

/// Sentence 4: what was promoted is coming, then shown; another one has to wait.
pub async fn a_promoted_deployment_is_in_production(
    host: &dyn FrontendHost,
    runtime: &dyn Runtime,
    project: &str,
) {
    let mut ids = Vec::new();
    for version in ["v1.0.0", "v1.1.0"] {
        let created = host.create(project, version, &tags(version)).await.expect("is created");
        built(host, runtime, project, &created.id).await;
        let found = shown(host, runtime, project, &created.id).await;
        assert_eq!((found.id, found.version), (created.id.clone(), version.to_owned()));
        ids.push(created.id);
    }
    host.promote(project, &ids[0], None).await.expect("is accepted");
    if host.production(project, None).await.expect("answers").coming.is_some() {
        let error = host.promote(project, &ids[1], None).await.expect_err("another one is coming");
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::None));
    }
}

/// Sentence 6: a build is not shown by itself, not even the first.
pub async fn a_build_is_not_shown_by_itself(host: &dyn FrontendHost, runtime: &dyn Runtime, project: &str) {
    let created = host.create(project, "v1.0.0", &tags("a")).await.expect("is created");
    built(host, runtime, project, &created.id).await;
    let production = host.production(project, None).await.expect("answers");
    assert_eq!(production, Production::default());
}

/// Sentence 7: what is shown cannot be removed; what is unknown is removed already.
pub async fn what_is_shown_cannot_be_removed(host: &dyn FrontendHost, runtime: &dyn Runtime, project: &str) {
    let first = host.create(project, "v1.0.0", &tags("a")).await.expect("is created");
    let second = host.create(project, "v1.0.0", &tags("b")).await.expect("is created");
    built(host, runtime, project, &first.id).await;
    built(host, runtime, project, &second.id).await;
    host.promote(project, &first.id, None).await.expect("is accepted");
    let error = host.remove(project, &first.id).await.expect_err("is shown or coming");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    for _ in 0..2 {
        host.remove(project, &second.id).await.expect("absence is success");
        assert_eq!(host.get(project, &second.id).await.expect("answers"), None);
    }
}

/// Sentence 5: an unknown deployment is no error.
pub async fn an_unknown_deployment_is_none(host: &dyn FrontendHost, project: &str) {
    assert_eq!(host.get(project, "dpl-nothing").await.expect("answers"), None);
}
