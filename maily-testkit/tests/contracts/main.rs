//! The contracts, held against the simulated world and the record stores that need no server.

mod cloud;
mod monitoring;
mod secrets;

use std::sync::Arc;

use maily_core::{
    provider::{Cluster, RecordStore},
    records::{ClusterRecords, FolderRecords, MemoryRecords},
    runtime::{Runtime, TokioRuntime},
};
use maily_testkit::{
    contract::{cluster, controllers, fence, frontend, records},
    sim::{Shared, SimCluster, SimFrontend, SimRuntime},
    world::World,
};

fn world() -> (Arc<Shared>, Arc<dyn Runtime>) {
    let runtime: Arc<dyn Runtime> = Arc::new(SimRuntime::new(1));
    let mut world = World::new(runtime.wall(), 1, &["shop"]);
    world.faults.push("never-ready db@doomed".parse().expect("a fault"));
    (Shared::new(world, Arc::clone(&runtime)), runtime)
}

fn place() -> cluster::Place {
    let (shared, runtime) = world();
    let world = Arc::clone(&shared);
    let say: cluster::Say = Arc::new(move |pod, line| world.world().say(pod, line));
    cluster::Place { cluster: Arc::new(SimCluster::new(shared)), namespace: "shop".into(), runtime, say }
}

macro_rules! cluster_sentences {
    ($place:ident, $suite:ident, $($sentence:ident),+ $(,)?) => {
        mod $place {
            $(#[tokio::test(start_paused = true)]
            async fn $sentence() {
                super::$suite::$sentence(&super::place()).await;
            })+
        }
    };
}

cluster_sentences!(
    simulated_cluster,
    cluster,
    reads_see_earlier_writes,
    absent_objects_are_none_and_unknown_kinds_unsupported,
    lists_have_all_pages,
    an_apply_onto_absence_creates_or_conflicts,
    a_write_onto_another_state_conflicts,
    the_same_apply_again_changes_nothing,
    left_out_fields_are_removed,
    fields_of_others_are_a_conflict_that_names_them,
    a_dry_run_changes_nothing,
    a_merge_patch_needs_its_object,
    deletes_say_what_became_of_them,
    a_watch_begins_with_all_and_goes_on,
    migrated_fields_can_be_removed,
    logs_come_in_order_and_need_their_pod,
    what_does_not_fit_is_invalid_and_untold,
    logs_are_narrowed_by_their_options,
    a_log_ends_after_so_many_bytes,
    nothing_is_made_in_a_namespace_that_goes,
    a_followed_log_goes_on,
    what_cannot_change_in_place_is_refused,
);

cluster_sentences!(
    simulated_controllers,
    controllers,
    a_first_pod_is_made_anew_as_its_strategy_says,
    in_order_a_doomed_pod_holds_its_stateful_set_up,
    in_parallel_a_doomed_pod_is_replaced,
    a_job_that_is_over_goes_after_its_time,
    old_replica_sets_go_beyond_their_limit,
    pods_go_before_or_after_their_workload,
);

cluster_sentences!(
    simulated_fence,
    fence,
    older_writes_are_refused,
    an_object_keeps_the_highest_epoch,
    nobody_else_is_judged,
    without_its_parameter_a_fence_is_open,
    a_fence_is_raised_only_upwards,
);

macro_rules! record_sentences {
    ($backend:ident, $store:expr, [$($sentence:ident),+ $(,)?]) => {
        mod $backend {
            use super::*;
            $(#[tokio::test(start_paused = true)]
            async fn $sentence() {
                let (_kept, store) = $store;
                records::$sentence(store).await;
            })+
        }
    };
    ($backend:ident, $store:expr) => {
        record_sentences!($backend, $store, [
            created_records_are_read_back,
            a_present_record_stays,
            one_of_many_creates_wins,
            lists_are_complete_and_ordered,
            deleted_records_are_gone,
            large_records_are_stored_whole,
        ]);
    };
}

fn memory() -> ((), Arc<dyn RecordStore>) {
    ((), Arc::new(MemoryRecords::default()))
}

fn folder() -> (tempfile::TempDir, Arc<dyn RecordStore>) {
    let folder = tempfile::tempdir().expect("can be made");
    let store = Arc::new(FolderRecords::new(folder.path()));
    (folder, store)
}

fn simulated() -> ((), Arc<dyn RecordStore>) {
    let cluster: Arc<dyn Cluster> = Arc::new(SimCluster::new(world().0));
    ((), Arc::new(ClusterRecords::new(cluster, "production", "shop")))
}

record_sentences!(records_in_memory, memory());
record_sentences!(records_in_a_folder, folder());
record_sentences!(records_in_the_simulated_cluster, simulated());

mod simulated_frontend {
    use super::*;

    fn host() -> (SimFrontend, Arc<dyn Runtime>) {
        let (shared, runtime) = world();
        (SimFrontend::new(shared, "production"), runtime)
    }

    #[tokio::test(start_paused = true)]
    async fn a_build_takes_time() {
        let (host, runtime) = host();
        frontend::a_build_takes_time(&host, &*runtime, "web").await;
    }

    #[tokio::test(start_paused = true)]
    async fn deployments_are_found_by_tag() {
        let (host, runtime) = host();
        frontend::deployments_are_found_by_tag(&host, &*runtime, "web").await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_build_cannot_be_promoted() {
        let (host, runtime) = host();
        frontend::a_build_cannot_be_promoted(&host, &*runtime, "web").await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_promoted_deployment_is_in_production() {
        let (host, runtime) = host();
        frontend::a_promoted_deployment_is_in_production(&host, &*runtime, "web").await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_build_is_not_shown_by_itself() {
        let (host, runtime) = host();
        frontend::a_build_is_not_shown_by_itself(&host, &*runtime, "web").await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_shown_cannot_be_removed() {
        let (host, runtime) = host();
        frontend::what_is_shown_cannot_be_removed(&host, &*runtime, "web").await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_deployment_is_none() {
        frontend::an_unknown_deployment_is_none(&host().0, "web").await;
    }
}

#[tokio::test]
async fn real_time_is_a_runtime_too() {
    let before = TokioRuntime.now();
    TokioRuntime.sleep(std::time::Duration::from_millis(5)).await;
    assert!(TokioRuntime.now() > before);
}
