//! A frontend host whose answers get lost and whose search lags: nothing of a run that went back is left there, and
//! nothing of a run that is over lands in a later one.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use maily_core::{
    engine::{Depth, EnvironmentError, Outcome, ReleaseId, RunEnd, Wish, planner::PlanOptions},
    provider::{ErrorKind, FrontendDeployment, FrontendHost, FrontendState, Production, ProviderError},
    release::RollbackTo,
    runtime::Runtime,
};
use maily_testkit::sim::SimFrontend;

use crate::{
    setup::{Setup, fault, succeeded},
    shop::{Shop, components, notes},
    waiting::heard,
};

const SITE: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 1}}
  site: {vercel: {project: site}}
";

/// A host that loses what it is told to lose.
#[derive(Debug)]
struct Lossy {
    host: SimFrontend,
    runtime: Arc<dyn Runtime>,
    /// Seconds after which the next create takes effect; its answer is lost. Zero: nothing is lost.
    late: AtomicU32,
    /// The same for the next promotion.
    late_promotion: AtomicU32,
    /// Its search does not find yet what was made.
    lags: AtomicBool,
    /// Removals that fail before one works.
    stuck: AtomicU32,
    /// Looks at a deployment that say that it is being built still.
    slow: AtomicU32,
}

impl Lossy {
    fn new(setup: &Setup) -> Arc<Self> {
        let host = SimFrontend::new(Arc::clone(&setup.shared), "production");
        let runtime = Arc::clone(&setup.runtime);
        Arc::new(Self {
            host,
            runtime,
            late: AtomicU32::new(0),
            late_promotion: AtomicU32::new(0),
            lags: AtomicBool::new(false),
            stuck: AtomicU32::new(0),
            slow: AtomicU32::new(0),
        })
    }

    async fn versions(&self) -> Vec<String> {
        let found = self.host.find("site", &BTreeMap::new()).await.expect("can be read");
        found.into_iter().map(|deployment| deployment.version).collect()
    }

    async fn shown(&self) -> Option<String> {
        let production = self.host.production("site", None).await.expect("can be read");
        production.shown.map(|deployment| deployment.version)
    }
}

fn broken(operation: &'static str) -> ProviderError {
    ProviderError::new(ErrorKind::Unavailable, "frontend", operation, "site", "the connection broke")
}

#[async_trait]
impl FrontendHost for Lossy {
    async fn create(
        &self,
        project: &str,
        version: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<FrontendDeployment, ProviderError> {
        let late = self.late.swap(0, Ordering::SeqCst);
        if late == 0 {
            return self.host.create(project, version, tags).await;
        }
        let runtime = Arc::clone(&self.runtime);
        let (host, project, version, tags) =
            (self.host.clone(), project.to_owned(), version.to_owned(), tags.clone());
        tokio::spawn(async move {
            runtime.sleep(Duration::from_secs(late.into())).await;
            host.create(&project, &version, &tags).await.expect("is made");
        });
        Err(broken("create"))
    }

    async fn get(&self, project: &str, id: &str) -> Result<Option<FrontendDeployment>, ProviderError> {
        let found = self.host.get(project, id).await?;
        let left = self.slow.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        Ok(found.map(|found| match left {
            Ok(_) => FrontendDeployment { state: FrontendState::Building, ..found },
            Err(_) => found,
        }))
    }

    async fn find(
        &self,
        project: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<Vec<FrontendDeployment>, ProviderError> {
        if self.lags.load(Ordering::SeqCst) {
            return Ok(Vec::new());
        }
        self.host.find(project, tags).await
    }

    async fn production(&self, project: &str, domain: Option<&str>) -> Result<Production, ProviderError> {
        self.host.production(project, domain).await
    }

    async fn promote(&self, project: &str, id: &str, domain: Option<&str>) -> Result<(), ProviderError> {
        let late = self.late_promotion.swap(0, Ordering::SeqCst);
        if late == 0 {
            return self.host.promote(project, id, domain).await;
        }
        let runtime = Arc::clone(&self.runtime);
        let (host, project, id, domain) =
            (self.host.clone(), project.to_owned(), id.to_owned(), domain.map(str::to_owned));
        tokio::spawn(async move {
            runtime.sleep(Duration::from_secs(late.into())).await;
            host.promote(&project, &id, domain.as_deref()).await.expect("is taken");
        });
        Err(broken("promote"))
    }

    async fn remove(&self, project: &str, id: &str) -> Result<(), ProviderError> {
        let left = self.stuck.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if left.is_ok() { Err(broken("remove")) } else { self.host.remove(project, id).await }
    }
}

/// A site that shows v1, on a host whose answers can get lost.
async fn site(seed: u64) -> (Setup, Arc<Lossy>) {
    let mut setup = Setup::of(SITE, seed);
    let host = Lossy::new(&setup);
    setup.frontend = Some(host.clone());
    assert!(succeeded(&setup.deploy("v1").await));
    (setup, host)
}

async fn goes_back(setup: &Setup, host: &Lossy, trouble: &str) {
    setup.shared.world().faults.push(fault(trouble));
    let end = setup.deploy("v2").await;
    assert!(matches!(end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. }), "{end:?}");
    setup.runtime.sleep(Duration::from_secs(120)).await;
    assert_eq!(host.versions().await, ["v1"]);
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_arrives_after_the_turn_is_removed() {
    let (setup, host) = site(31).await;
    host.late.store(20, Ordering::SeqCst);
    goes_back(&setup, &host, "crash api@v2").await;
}

#[tokio::test(start_paused = true)]
async fn what_was_made_twice_is_removed_although_the_first_removal_fails() {
    let (setup, host) = site(32).await;
    host.late.store(40, Ordering::SeqCst);
    host.stuck.store(1, Ordering::SeqCst);
    goes_back(&setup, &host, "never-ready api@v2").await;
}

#[tokio::test(start_paused = true)]
async fn what_the_hosts_search_does_not_find_yet_is_removed_all_the_same() {
    // Taken back before the domain shows it, and after.
    for (seed, trouble) in [(33, "crash api@v2"), (34, "never-ready api@v2")] {
        let (setup, host) = site(seed).await;
        host.lags.store(true, Ordering::SeqCst);
        goes_back(&setup, &host, trouble).await;
        assert_eq!(host.shown().await.as_deref(), Some("v1"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_promotion_without_an_answer_does_not_land_in_a_later_run() {
    let (setup, host) = site(35).await;
    host.late_promotion.store(20, Ordering::SeqCst);
    assert!(succeeded(&setup.deploy("v2").await));
    assert!(succeeded(&setup.deploy("v3").await));
    setup.runtime.sleep(Duration::from_secs(120)).await;
    assert_eq!(host.shown().await.as_deref(), Some("v3"));
}

const WITHOUT_SITE: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 1}}
";

/// A shop that has had v1 and v2 of its site.
async fn shop(seed: u64) -> (Shop, SimFrontend) {
    let mut shop = Shop::new(SITE, seed);
    let host = SimFrontend::new(Arc::clone(&shop.setup.shared), "production");
    shop.setup.frontend = Some(Arc::new(host.clone()));
    for version in ["v1", "v2"] {
        assert!(succeeded(&shop.deploy(version).await));
    }
    (shop, host)
}

#[tokio::test(start_paused = true)]
async fn a_frontend_that_the_file_has_no_more_stays_in_the_release_with_a_word() {
    let (mut shop, host) = shop(75).await;
    let deployment = shop.released().await.head.frontends["site"].clone();
    shop.setup.project = WITHOUT_SITE;
    let stays = "site keeps serving v2 at its domain: it stays in the release until its host takes it away";
    let planned = shop.plan("v3").await.expect("can be planned");
    assert_eq!(notes(&planned, "frontend"), [stays]);
    assert!(succeeded(&shop.run(planned).await));
    for (to, version) in
        [(RollbackTo::LastGood, "v2"), (RollbackTo::LastGood, "v1"), (RollbackTo::Version("v2".into()), "v2")]
    {
        let planned = shop.back(to, None, PlanOptions::default()).await.expect("can be planned");
        assert_eq!(notes(&planned, "frontend"), [stays]);
        assert!(succeeded(&shop.run(planned).await));
        let head = shop.released().await.head;
        assert_eq!(head.versions["api"], version);
        assert_eq!((&*head.versions["site"], &head.frontends["site"]), ("v2", &deployment));
    }
    let shown = host.production("site", None).await.expect("can be read").shown;
    assert_eq!(shown.map(|shown| shown.id), Some(deployment));
}

const AS_WORKLOAD: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 1}}
  site: {workload: {port: 8080, scale: 1}}
";

#[tokio::test(start_paused = true)]
async fn a_frontend_that_became_a_workload_is_on_record_as_one() {
    let (mut shop, _) = shop(77).await;
    let frontends = async |shop: &Shop| shop.released().await.head.frontends;
    assert_eq!(frontends(&shop).await.len(), 1);
    shop.setup.project = AS_WORKLOAD;
    // Brought, and left as it is.
    for _ in 0..2 {
        let planned = shop.plan("v3").await.expect("can be planned");
        assert!(planned.plan.is_empty() || succeeded(&shop.run(planned).await));
        assert_eq!(frontends(&shop).await, BTreeMap::new());
    }
    // A part that leaves it out, and the way back to where it was one.
    let api = components(&["api"]);
    assert!(succeeded(&shop.run(shop.part("v4", api).await.expect("can be planned")).await));
    assert_eq!(frontends(&shop).await, BTreeMap::new());
    shop.setup.project = SITE;
    let back = shop.back(RollbackTo::Version("v2".into()), None, PlanOptions::default()).await;
    assert!(succeeded(&shop.run(back.expect("can be planned")).await));
    assert_eq!(frontends(&shop).await.len(), 1);
}

/// Release 1 of this project, and release 2 with the frontend.
async fn became_a_site(first: &'static str, seed: u64) -> (Shop, SimFrontend) {
    let mut shop = Shop::new(first, seed);
    let host = SimFrontend::new(Arc::clone(&shop.setup.shared), "production");
    shop.setup.frontend = Some(Arc::new(host.clone()));
    assert!(succeeded(&shop.deploy("v1").await));
    shop.setup.project = SITE;
    assert!(succeeded(&shop.deploy("v2").await));
    (shop, host)
}

/// A release in which it was a workload says nothing of what its domain shows.
#[tokio::test(start_paused = true)]
async fn a_way_back_to_where_it_was_no_frontend_builds_none() {
    let (shop, host) = became_a_site(AS_WORKLOAD, 78).await;
    let planned = shop.back(RollbackTo::Release(ReleaseId(1)), None, PlanOptions::default()).await;
    let planned = planned.expect("can be planned");
    let told = ["the domain of site goes on showing v2: release 1 has no deployment of it"];
    assert_eq!(notes(&planned, "frontend"), told);
    assert!(succeeded(&shop.run(planned).await));
    let found = host.find("site", &BTreeMap::new()).await.expect("can be read");
    let versions: Vec<&str> = found.iter().map(|deployment| &*deployment.version).collect();
    assert_eq!(versions, ["v2"]);
    assert!(shop.live("apps/v1", "Deployment", Some("shop"), "site").is_some());
}

/// The release that comes back is older than the frontend: its domain shows it on, and it stays in the release.
#[tokio::test(start_paused = true)]
async fn a_frontend_that_is_newer_than_the_release_that_comes_back_stays_in_it() {
    for (to, seed) in [(RollbackTo::Release(ReleaseId(1)), 79), (RollbackTo::Version("v1".into()), 80)] {
        let (shop, _) = became_a_site(WITHOUT_SITE, seed).await;
        assert!(succeeded(&shop.deploy("v3").await));
        let planned = shop.back(to, None, PlanOptions::default()).await.expect("can be planned");
        assert_eq!(notes(&planned, "frontend").len(), 1, "{:?}", planned.plan.notes);
        // It stays: no word says that it goes.
        assert_eq!(notes(&planned, "version"), [""; 0]);
        assert!(succeeded(&shop.run(planned).await));
        let head = shop.released().await.head;
        assert_eq!((&*head.versions["api"], &*head.versions["site"]), ("v1", "v3"));
        assert!(head.frontends.contains_key("site"));
        // It is as release 3 has brought it, and has a release before that one.
        assert_eq!(head.origins["site"], ReleaseId(3));
        let planned = shop.back(RollbackTo::LastGood, Some(&["site"]), PlanOptions::default()).await;
        assert!(succeeded(&shop.run(planned.expect("can be planned")).await));
        assert_eq!(shop.released().await.head.versions["site"], "v2");
    }
}

const RENAMED: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  api: {workload: {port: 8000, scale: 1}}
  store: {aliases: [site], vercel: {project: site}}
";

#[tokio::test(start_paused = true)]
async fn a_frontend_under_another_name_is_no_other_one() {
    let (mut shop, _host) = shop(77).await;
    shop.setup.project = RENAMED;
    let planned = shop.plan("v3").await.expect("can be planned");
    assert_eq!(notes(&planned, "frontend"), [""; 0]);
    assert!(succeeded(&shop.run(planned).await));
    let names: Vec<String> = shop.released().await.head.versions.into_keys().collect();
    assert_eq!(names, ["api", "store"]);
}

#[tokio::test(start_paused = true)]
async fn a_frontend_that_the_file_has_no_more_is_not_said_to_go_back() {
    let (mut shop, _host) = shop(76).await;
    shop.setup.project = WITHOUT_SITE;
    for components in [&["site"][..], &["api", "site"]] {
        let to = RollbackTo::Version("v1".into());
        let refused = shop.back(to, Some(components), PlanOptions::default()).await;
        let error = refused.expect_err("cannot be shown");
        assert!(error.to_string().starts_with("`site` is a frontend: its host keeps serving v2"), "{error}");
    }
    let to = RollbackTo::Version("v1".into());
    let planned = shop.back(to, Some(&["api"]), PlanOptions::default()).await.expect("can be planned");
    assert!(succeeded(&shop.run(planned).await));
    assert_eq!(shop.released().await.head.versions["site"], "v2");
}

const FIRST: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  site: {vercel: {project: site}}
  api: {needs: [site], workload: {port: 8000, scale: 1}}
";

/// A host cannot unset what is shown where nothing was: a person does, and is told so.
#[tokio::test(start_paused = true)]
async fn what_a_host_cannot_take_back_a_person_unsets() {
    let mut setup = Setup::of(FIRST, 69);
    let host = Lossy::new(&setup);
    setup.frontend = Some(host.clone());
    setup.shared.world().faults.push(fault("crash api"));
    let end = setup.deploy("v1").await;
    let RunEnd::Stuck { items, .. } = &end else { panic!("{end:?}") };
    let [item] = &items[..] else { panic!("{items:?}") };
    assert_eq!(item.why.cause, "no-way-back", "{item:?}");
    assert!(
        item.remedy.starts_with("unset at its host") && item.remedy.contains("abort --leave"),
        "{item:?}"
    );
    for project in setup.shared.world().frontends.values_mut() {
        project.unset();
    }
    let resumed = setup.environment().take_over(None, Wish::Resume, &setup.options("second")).await;
    let end = resumed.expect("goes on").expect("was unfinished");
    assert!(matches!(end, RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. }), "{end:?}");
    assert_eq!((host.shown().await, host.versions().await.len()), (None, 0));
}

const BEHIND_A_JOB: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
environments:
  production: {namespace: shop}
services:
  site: {vercel: {project: site}}
  migrate: {before: site, job: {command: [up]}}
";

/// No host builds again what it could not build: whoever goes on has it built anew.
#[tokio::test(start_paused = true)]
async fn a_build_that_failed_behind_a_point_of_no_return_is_made_anew_by_who_goes_on() {
    let mut setup = Setup::of(BEHIND_A_JOB, 39);
    let host = Lossy::new(&setup);
    setup.frontend = Some(host.clone());
    setup.shared.world().faults.push(fault("build-fails site"));
    let end = setup.deploy("v1").await;
    assert!(matches!(&end, RunEnd::Stuck { .. }), "{end:?}");
    setup.shared.world().faults.clear();
    let resumed = setup.environment().take_over(None, Wish::Resume, &setup.options("second")).await;
    let end = resumed.expect("goes on").expect("was unfinished");
    assert!(succeeded(&end), "{end:?}");
    assert_eq!((host.shown().await.as_deref(), host.versions().await), (Some("v1"), vec!["v1".to_owned()]));
}

/// Somebody builds a version at the host itself; the id of what came of it.
async fn build_by_hand(setup: &Setup, host: &Lossy) -> String {
    let made = host.create("site", "by-hand", &BTreeMap::new()).await.expect("is made");
    setup.runtime.sleep(Duration::from_secs(5)).await;
    made.id
}

async fn promote_by_hand(setup: &Setup, host: &Lossy, id: &str) {
    host.promote("site", id, None).await.expect("is taken");
    setup.runtime.sleep(Duration::from_secs(5)).await;
}

#[tokio::test(start_paused = true)]
async fn a_plan_is_out_of_date_once_somebody_has_promoted_something() {
    let (setup, host) = site(36).await;
    let planned = setup.plan("v2", Depth::Read).await.expect("can be planned");
    let environment = setup.environment();
    environment.adopt_plan(planned.plan.clone()).await.expect("fits still");
    let id = build_by_hand(&setup, &host).await;
    promote_by_hand(&setup, &host, &id).await;
    let Err(EnvironmentError::OutOfDate(stale)) = environment.adopt_plan(planned.plan).await else {
        panic!("it would be shown over what somebody has promoted")
    };
    assert!(stale.len() == 1 && stale[0].contains(&id), "{stale:?}");
}

#[tokio::test(start_paused = true)]
async fn what_somebody_has_promoted_since_the_plan_is_left_to_him() {
    // Between the plan and the first step, and while the new version is built.
    for meanwhile in [false, true] {
        let (setup, host) = site(37).await;
        let id = build_by_hand(&setup, &host).await;
        let planned = setup.plan("v2", Depth::Read).await.expect("can be planned");
        let person = async {
            while meanwhile && !host.versions().await.contains(&"v2".to_owned()) {
                setup.runtime.sleep(Duration::from_millis(50)).await;
            }
            promote_by_hand(&setup, &host, &id).await;
        };
        let environment = setup.environment();
        let options = setup.options("tester");
        let end = if meanwhile {
            futures::future::join(environment.run(planned, &options), person).await.0
        } else {
            person.await;
            environment.run(planned, &options).await
        };
        let end = end.expect("runs");
        let RunEnd::Over { outcome: Outcome::RolledBack { why, .. }, .. } = &end else { panic!("{end:?}") };
        assert_eq!(why.cause, "changed", "{why:?}");
        assert_eq!(host.shown().await.as_deref(), Some("by-hand"), "meanwhile: {meanwhile}");
        assert_eq!(host.versions().await, ["by-hand", "v1"], "nothing of the run is left");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_frontend_waits_for_is_told_soon_and_every_while() {
    let (setup, host) = site(38).await;
    // A build of forty seconds; then a create and a promotion without an answer.
    let mut said = Vec::new();
    for (version, slow, late) in [("v2", 40, 0), ("v3", 0, 20)] {
        host.slow.store(slow, Ordering::SeqCst);
        host.late.store(late, Ordering::SeqCst);
        host.late_promotion.store(late, Ordering::SeqCst);
        let planned = setup.plan(version, Depth::Read).await.expect("can be planned");
        let (end, mut told) = heard(&setup, planned).await;
        assert!(succeeded(&end), "{end:?}");
        told.retain(|(_, step, _)| step.as_str() == "production/site/frontend");
        let longest = told.windows(2).map(|pair| pair[1].0.since(pair[0].0)).max();
        assert!(longest.is_some_and(|longest| longest <= Duration::from_secs(26)), "{told:?}");
        said.extend(told);
    }
    for part in ["without an answer", "building", "does not show"] {
        let told = said.iter().filter(|(.., why)| why.contains(part)).count();
        assert!((1..=6).contains(&told), "{part} {told} times: {said:?}");
    }
}
