//! Runs behind a fence, and behind one that somebody opened.

use std::{sync::Arc, time::Duration};

use maily_core::{
    engine::{Depth, EnvironmentError, Epoch, FenceError, FenceState, Wish},
    object::{ObjectKey, ObjectKind},
    provider::Precondition,
};

use crate::{
    hindered::{Cut, Hindered},
    setup::{Setup, fault, succeeded},
};

#[tokio::test(start_paused = true)]
async fn every_run_raises_its_fence_and_none_begins_behind_an_open_one() {
    let setup = Setup::fenced(21).await;
    let fence = setup.environment().fence();
    for (version, epoch) in [("v1", 2), ("v2", 3), ("v1", 4)] {
        assert!(succeeded(&setup.deploy(version).await));
        assert_eq!(fence.epoch().await.expect("can be read"), Some(Epoch(epoch)));
        fence.prove(Epoch(epoch)).await.expect("what is older is refused");
    }
    setup.open_the_fence().await;
    assert_eq!(fence.sight(true).await.expect("is seen").state, FenceState::Open);
    let before = setup.content();
    let error = setup.try_to_deploy("v2").await.expect_err("is open");
    assert!(matches!(error, EnvironmentError::Fence(FenceError::Open { .. })), "{error}");
    assert_eq!(setup.content(), before);
    fence.install(Epoch(4)).await.expect("is repaired");
    assert!(succeeded(&setup.deploy("v2").await));
}

#[tokio::test(start_paused = true)]
async fn a_run_stops_when_its_fence_is_opened_and_goes_on_when_it_is_repaired() {
    let setup = Setup::fenced(22).await;
    setup.deploy("v1").await;
    let opened = async {
        setup.runtime.sleep(Duration::from_millis(400)).await;
        setup.open_the_fence().await;
    };
    let (end, ()) = futures::future::join(setup.try_to_deploy("v2"), opened).await;
    let error = end.expect_err("is stopped");
    assert!(matches!(error, EnvironmentError::Fence(FenceError::Open { .. })), "{error}");
    let environment = setup.environment();
    assert!(environment.head().await.expect("can be read").unfinished.is_some());
    let options = setup.options("tester");
    let error = environment.take_over(None, Wish::Resume, &options).await.expect_err("is open");
    assert!(matches!(error, EnvironmentError::Fence(FenceError::Open { .. })), "{error}");
    environment.fence().install(Epoch(0)).await.expect("is repaired");
    let end = environment.take_over(None, Wish::Resume, &options).await.expect("goes on");
    assert!(end.as_ref().is_some_and(succeeded), "{end:?}");
}

/// One object would lift the environment to an epoch that no guard takes for one.
#[tokio::test(start_paused = true)]
async fn an_epoch_that_no_run_can_rise_above_is_refused_with_the_command_that_takes_it_away() {
    let setup = Setup::fenced(27).await;
    assert!(succeeded(&setup.deploy("v1").await));
    let key = ObjectKey::new(ObjectKind::new("v1", "Service"), Some("shop"), "api");
    let annotate = |epoch| {
        let fields = serde_json::json!({"metadata": {"annotations": {"maily.dev/epoch": epoch}}});
        setup.shared.world().edit_as("kubectl-annotate", &key, fields).expect("a person may");
    };
    for epoch in ["999999999999998", "999999999999999"] {
        annotate(Some(epoch));
        let error = setup.plan("v2", Depth::Read).await.expect_err("is refused").to_string();
        assert!(error.contains("Service shop/api") && error.contains(epoch), "{error}");
        assert!(error.contains("kubectl -n shop annotate service api maily.dev/epoch-"), "{error}");
    }
    annotate(None);
    assert!(succeeded(&setup.deploy("v2").await));
    let fence = setup.environment().fence();
    assert_eq!(fence.epoch().await.expect("can be read"), Some(Epoch(3)));
}

/// No watch is to end without an error; one that does must not leave the fence unseen.
#[tokio::test(start_paused = true)]
async fn a_fence_whose_watch_ends_is_watched_on() {
    let mut setup = Setup::fenced(28).await;
    setup.deploy("v1").await;
    setup.shared.world().faults.push(fault("slow api@v2"));
    let cut = Some((setup.runtime.now() + Duration::from_secs(4), Cut::Ended));
    setup.cluster = Some(Arc::new(Hindered { cut, cut_kind: "ConfigMap", ..Hindered::of(&setup) }));
    let opened = async {
        setup.runtime.sleep(Duration::from_secs(8)).await;
        setup.open_the_fence().await;
    };
    let (end, ()) = futures::future::join(setup.try_to_deploy("v2"), opened).await;
    let error = end.expect_err("is stopped");
    assert!(matches!(error, EnvironmentError::Fence(FenceError::Open { .. })), "{error}");
}

#[tokio::test(start_paused = true)]
pub(crate) async fn a_fence_is_never_lowered() {
    let setup = Setup::fenced(26).await;
    let fence = setup.environment().fence();
    fence.raise(Epoch(7)).await.expect("is raised");
    let error = fence.raise(Epoch(6)).await.expect_err("would be lowered");
    assert!(matches!(error, FenceError::Raised { found: Epoch(7), .. }), "{error}");
    assert_eq!(fence.epoch().await.expect("can be read"), Some(Epoch(7)));
}

/// Its parameter is there, and nothing refuses.
#[tokio::test(start_paused = true)]
pub(crate) async fn no_run_begins_behind_a_fence_that_does_not_refuse() {
    let setup = Setup::fenced(27).await;
    setup.deploy("v1").await;
    let before = setup.content();
    let binding = of_the_cluster("ValidatingAdmissionPolicyBinding", "maily-fence.shop.production");
    setup.shared.world().delete(&binding, &Precondition::Any).expect("is there");
    let error = setup.try_to_deploy("v2").await.expect_err("is refused");
    assert!(matches!(error, EnvironmentError::Fence(FenceError::Silent { .. })), "{error}");
    assert_eq!(setup.content(), before);
    assert!(setup.environment().head().await.expect("can be read").unfinished.is_none());
}

fn of_the_cluster(kind: &str, name: &str) -> ObjectKey {
    ObjectKey::new(ObjectKind::new("admissionregistration.k8s.io/v1", kind), None, name)
}

#[tokio::test(start_paused = true)]
async fn a_run_stops_when_binding_or_policy_of_its_fence_is_deleted() {
    let binding = of_the_cluster("ValidatingAdmissionPolicyBinding", "maily-fence.shop.production");
    let policy = of_the_cluster("ValidatingAdmissionPolicy", "maily-fence");
    for (seed, part) in [(23, binding), (24, policy)] {
        let setup = Setup::fenced(seed).await;
        setup.deploy("v1").await;
        setup.shared.world().faults.push(fault("never-ready api@v2"));
        let deleted = async {
            setup.runtime.sleep(Duration::from_secs(4)).await;
            setup.shared.world().delete(&part, &Precondition::Any).expect("is there");
            setup.runtime.now()
        };
        let (end, at) = futures::future::join(setup.try_to_deploy("v2"), deleted).await;
        let error = end.expect_err("is stopped");
        assert!(matches!(error, EnvironmentError::Fence(FenceError::Silent { .. })), "{error}");
        assert!(setup.runtime.now().since(at) <= Duration::from_secs(12));
        let hint = error.hint().expect("says what to do");
        assert!(hint.contains("restarted") && hint.contains("130887"), "{hint}");
        setup.shared.world().faults.clear();
        let environment = setup.environment();
        environment.fence().install(Epoch(0)).await.expect("is repaired");
        let end = environment.take_over(None, Wish::Resume, &setup.options("tester")).await;
        assert!(end.expect("goes on").as_ref().is_some_and(succeeded));
    }
}

/// An API server forgets parameters of a kind for good once no binding has any.
#[tokio::test(start_paused = true)]
async fn a_fence_that_is_removed_leaves_its_anchor() {
    let setup = Setup::fenced(25).await;
    let anchor = of_the_cluster("ValidatingAdmissionPolicyBinding", "maily-fence.anchor");
    assert!(setup.shared.world().get(&anchor).is_some());
    assert!(setup.environment().fence().remove().await.expect("is removed").is_empty());
    assert!(setup.shared.world().get(&anchor).is_some());
    let bindings = setup.shared.world().of_kind("ValidatingAdmissionPolicyBinding").len();
    assert_eq!(bindings, 1);
}

/// Somebody else has to install it then, as where a role does not allow it.
#[tokio::test(start_paused = true)]
async fn a_webhook_that_keeps_policies_from_tenants_forbids_the_fence() {
    let mut setup = Setup::new(28);
    let denied = Hindered { denied: Some("ValidatingAdmission"), ..Hindered::of(&setup) };
    setup.cluster = Some(Arc::new(denied) as _);
    let fence = setup.environment().fence();
    let error = fence.install(Epoch(1)).await.expect_err("is refused");
    let FenceError::Forbidden { source, .. } = &error else { panic!("{error:?}") };
    assert!(source.message().contains("tenants have no policies"), "{source}");
    // Nor may they take one down that others have installed: what they may is done, and the rest is named.
    setup.cluster = None;
    setup.environment().fence().install(Epoch(1)).await.expect("is installed");
    let left = fence.remove().await.expect("is open");
    assert_eq!(
        left.iter().map(|key| &*key.kind.kind).collect::<Vec<_>>(),
        ["ValidatingAdmissionPolicyBinding"]
    );
    assert_eq!(fence.epoch().await.expect("can be read"), None);
}
