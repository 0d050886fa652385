//! Which images ran: recorded when pods report them, and compared when they come back.

use maily_core::{
    engine::{Depth, ReleaseId, RunEnd, Storage, history::Release, planner::PlanOptions},
    object::Object,
    release::{MovedImage, RollbackTo, moved_images, moved_images_of, rollback},
};

use serde_json::json;

use crate::setup::{Setup, succeeded};

const PROJECT: &str = "
maily: 1
project: shop
environments:
  production: {namespace: shop}
services:
  api: {image: 'registry.example/shop/api:{version}', workload: {port: 8000, scale: 2}}
  proxy: {image: 'registry.example/others/proxy:1.27', workload: {port: 8000}}
";

const IMAGE: &str = "registry.example/shop/api:v1";
const PINNED: &str = "registry.example/others/proxy:1.27";

async fn release(setup: &Setup, id: u64) -> Release {
    let records = setup.environment().records;
    maily_core::engine::history::release(&*records, ReleaseId(id))
        .await
        .expect("is read")
        .expect("is on record")
}

/// Both ways to ask say the same.
async fn moved(setup: &Setup, id: u64) -> Vec<MovedImage> {
    let records = setup.environment().records;
    let moved = moved_images(&*records, &release(setup, id).await).await.expect("can be read");
    assert_eq!(moved_images_of(&*records, ReleaseId(id)).await.expect("can be read"), moved);
    moved
}

/// The digests of the API's image in a release.
async fn recorded(setup: &Setup, id: u64, image: &str) -> Vec<String> {
    let release = release(setup, id).await;
    let mut all = release.head.images.values();
    all.find_map(|images| images.get(image)).into_iter().flatten().cloned().collect()
}

async fn back(setup: &Setup, to: RollbackTo) -> RunEnd {
    let environment = setup.environment();
    let head = environment.head().await.expect("can be read");
    let base = environment.released(&head).await.expect("can be read");
    let resolved = setup.resolved();
    let wanted =
        rollback(&environment, &resolved, &head, base.as_ref(), &to, None).await.expect("is on record");
    let options = PlanOptions::default();
    let planned =
        environment.plan(&wanted, head, base.as_ref(), &options, Depth::Read, Storage::Lasting).await;
    environment.run(planned.expect("can be planned"), &setup.options("tester")).await.expect("runs")
}

#[tokio::test(start_paused = true)]
async fn what_pods_report_is_in_the_release_and_stays_with_what_stays() {
    let setup = Setup::of(PROJECT, 91);
    assert!(succeeded(&setup.deploy("v1").await));
    let first = recorded(&setup, 1, IMAGE).await;
    assert!(matches!(&*first, [digest] if digest.starts_with("sha256:")), "{first:?}");
    // Who moves the tag of what stays moves nothing that runs.
    let proxy = recorded(&setup, 1, PINNED).await;
    setup.shared.world().move_tag(PINNED);
    assert!(succeeded(&setup.deploy("v2").await));
    assert!(!proxy.is_empty() && recorded(&setup, 2, PINNED).await == proxy);
    assert!(recorded(&setup, 2, IMAGE).await.is_empty());
    assert_ne!(recorded(&setup, 2, "registry.example/shop/api:v2").await, first);
}

#[tokio::test(start_paused = true)]
async fn a_way_back_to_a_tag_that_was_moved_meanwhile_is_told() {
    let setup = Setup::of(PROJECT, 92);
    assert!(succeeded(&setup.deploy("v1").await) && succeeded(&setup.deploy("v2").await));
    let was = recorded(&setup, 1, IMAGE).await;
    setup.shared.world().move_tag(IMAGE);
    assert!(succeeded(&back(&setup, RollbackTo::LastGood).await));
    let told = moved(&setup, 3).await;
    let [image] = &*told else { panic!("{told:?}") };
    assert_eq!((&*image.service, &*image.image, image.release), ("api", IMAGE, ReleaseId(1)));
    assert_eq!(image.was.iter().cloned().collect::<Vec<_>>(), was);
    assert!(image.told().contains("the tag was moved"), "{}", image.told());
    // What came before the tag was moved is what it was.
    assert!(moved(&setup, 2).await.is_empty() && moved(&setup, 1).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_way_back_to_the_same_images_tells_nothing() {
    let setup = Setup::of(PROJECT, 93);
    assert!(succeeded(&setup.deploy("v1").await) && succeeded(&setup.deploy("v2").await));
    assert!(succeeded(&back(&setup, RollbackTo::LastGood).await));
    assert_eq!(recorded(&setup, 3, IMAGE).await, recorded(&setup, 1, IMAGE).await);
    assert!(moved(&setup, 3).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_pod_of_its_own_reports_is_in_the_release_too() {
    const ALONE: &str = "registry.example/others/alone:3";
    let setup = Setup::of(PROJECT, 94);
    let environment = setup.environment();
    let mut wanted = setup.wanted("v1").await;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "alone", "namespace": "shop"},
        "spec": {"containers": [{"name": "alone", "image": ALONE}]}});
    wanted.services["api"].objects.push(Object::from_value(pod).expect("is an object"));
    let head = environment.head().await.expect("can be read");
    let options = PlanOptions::default();
    let planned = environment.plan(&wanted, head, None, &options, Depth::Read, Storage::Lasting).await;
    let planned = planned.expect("can be planned");
    assert!(succeeded(&environment.run(planned, &setup.options("tester")).await.expect("runs")));
    let digests = recorded(&setup, 1, ALONE).await;
    assert!(matches!(&*digests, [digest] if digest.starts_with("sha256:")), "{digests:?}");
}
