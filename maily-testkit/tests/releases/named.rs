//! A run that is named to be taken over, and names of services that change.

use std::time::Duration;

use maily_core::engine::{Depth, EnvironmentError, Outcome, Plan, RunEnd, RunId, Wish};

use crate::{
    setup::{Setup, fault, succeeded},
    shop::{Shop, deployment},
};

#[tokio::test(start_paused = true)]
async fn the_run_that_is_named_is_taken_back_and_no_other() {
    let setup = Setup::new(62);
    let first = setup.deploy("v1").await;
    let RunEnd::Over { run: Some(ended), outcome: Outcome::Succeeded { .. } } = first else {
        panic!("{first:?}")
    };
    let before = setup.content();
    setup.shared.world().faults.push(fault("slow api@v2"));
    let options = setup.options("first");
    let planned = setup.plan("v2", Depth::Read).await.expect("can be planned");
    let stopped = async {
        setup.runtime.sleep(Duration::from_secs(5)).await;
        options.cancel.cancel();
    };
    let environment = setup.environment();
    let (end, ()) = futures::future::join(environment.run(planned, &options), stopped).await;
    let RunEnd::Paused { run: open, .. } = end.expect("stops") else { panic!("was not stopped") };
    setup.shared.world().faults.clear();
    let halfway = setup.content();
    assert_ne!(halfway, before);
    let options = setup.options("second");
    for wish in [Wish::Abort, Wish::Leave, Wish::Resume] {
        // One that nobody knows is an error, one that has ended needs nobody: neither touches the one that is open.
        let unknown = RunId::from("20200101-000000-abcdef");
        let error = environment.take_over(Some(&unknown), wish, &options).await.expect_err("is unknown");
        assert!(matches!(&error, EnvironmentError::NoRun(run) if *run == unknown), "{error}");
        assert_eq!(error.to_string(), "there is no run 20200101-000000-abcdef");
        assert!(error.hint().is_some_and(|hint| hint.contains("`mailyctl history`")));
        assert_eq!(environment.take_over(Some(&ended), wish, &options).await.expect("is known"), None);
    }
    assert_eq!(setup.content(), halfway);
    let end = environment.take_over(Some(&open), Wish::Abort, &options).await.expect("goes back");
    let Some(RunEnd::Over { run, outcome: Outcome::RolledBack { .. } }) = end else { panic!("{end:?}") };
    assert_eq!(run, Some(open.clone()));
    assert_eq!(setup.content(), before);
    assert_eq!(environment.take_over(Some(&open), Wish::Abort, &options).await.expect("is known"), None);
    assert!(succeeded(&setup.deploy("v2").await));
}

const OLD: &str = "
maily: 1
project: shop
environments:
  production: {namespace: shop}
sources:
  all: {manifests: '{version}.yaml'}
services:
  api: {from: all}
  web: {from: all}
";
const NEW: &str = "
maily: 1
project: shop
environments:
  production: {namespace: shop}
sources:
  all: {manifests: '{version}.yaml'}
services:
  backend: {aliases: [api], from: all}
  web: {from: all}
";

#[tokio::test(start_paused = true)]
async fn another_name_of_a_service_comes_to_be_on_record() {
    let mut shop = Shop::new(OLD, 63);
    shop.write("v1", &[deployment("api", &[]), deployment("web", &[])]);
    assert!(succeeded(&shop.deploy("v1").await));
    let before = shop.setup.content();
    let unchanged = shop.plan("v1").await.expect("can be planned");
    assert!(unchanged.plan.is_empty());
    shop.setup.project = NEW;
    let planned = shop.plan("v1").await.expect("can be planned");
    assert!(planned.plan.steps.is_empty() && !planned.plan.is_empty());
    // It is the same plan out of a file.
    let read = Plan::parse(&planned.plan.to_text()).expect("is one");
    assert_eq!(read, planned.plan);
    assert!(succeeded(&shop.run(planned).await));
    let release = shop.released().await;
    let names: Vec<&str> = release.head.versions.keys().map(String::as_str).collect();
    assert_eq!(names, ["backend", "web"]);
    assert_eq!(shop.owner("api").await, Some(Some("backend".to_owned())));
    assert_eq!(shop.setup.content(), before, "nothing is written");
    assert!(shop.plan("v1").await.expect("can be planned").plan.is_empty());
}
