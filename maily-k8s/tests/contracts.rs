//! The contracts, held against a real API server.

use std::{
    io::Write as _,
    sync::{Arc, atomic::AtomicU32, atomic::Ordering},
    time::Duration,
};

use maily_core::{
    object::{Object, ObjectKey, ObjectKind},
    provider::{Cluster, Precondition, RecordStore, WriteOptions},
    records::ClusterRecords,
    runtime::{Runtime, TokioRuntime},
};
use maily_k8s::{ConnectOptions, KubeCluster};
use maily_testkit::{
    contract::{cluster, controllers, fence, records},
    harness::Stack,
};
use serde_json::json;

static COUNT: AtomicU32 = AtomicU32::new(0);

async fn connect() -> Arc<dyn Cluster> {
    let stack = Stack::from_env().expect("the test stack runs");
    let options = ConnectOptions { kubeconfig: Some(stack.kubeconfig()), context: None };
    Arc::new(KubeCluster::connect(&options).await.expect("connects"))
}

/// A new namespace, which is deleted in the end by whoever ends the stack.
async fn namespace(cluster: &Arc<dyn Cluster>) -> String {
    let name = format!("contract-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let object = Object::from_value(body).expect("is an object");
    cluster.write(&object, &WriteOptions::apply("test", Precondition::Any)).await.expect("is made");
    // Pods need the service account, which a controller makes.
    let account = ObjectKey::new(ObjectKind::new("v1", "ServiceAccount"), Some(&name), "default");
    for _ in 0..200 {
        if cluster.get(&account).await.expect("answers").is_some() {
            return name;
        }
        TokioRuntime.sleep(Duration::from_millis(50)).await;
    }
    panic!("the namespace has no service account");
}

async fn place() -> cluster::Place {
    let cluster = connect().await;
    let namespace = namespace(&cluster).await;
    cluster::Place { cluster, namespace, runtime: Arc::new(TokioRuntime), say: Arc::new(say) }
}

/// One more line of the file that the stack's pods of this name have for their log.
fn say(pod: &ObjectKey, line: &str) {
    let stack = Stack::from_env().expect("the test stack runs");
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .open(stack.file(&format!("{}.log", pod.name)))
        .expect("has a log of its own");
    writeln!(file, "{} stdout F {line}", TokioRuntime.wall()).expect("can be written");
}

async fn store() -> Arc<dyn RecordStore> {
    let cluster = connect().await;
    let namespace = namespace(&cluster).await;
    Arc::new(ClusterRecords::new(cluster, "production", &namespace))
}

macro_rules! sentences {
    ($suite:ident, $setup:expr, [$($sentence:ident),+ $(,)?]) => {
        $(#[tokio::test]
        #[ignore = "needs the test stack (MAILY_TEST_STACK)"]
        async fn $sentence() {
            $suite::$sentence($setup).await;
        })+
    };
}

mod real_cluster {
    use super::*;

    sentences!(
        cluster,
        &place().await,
        [
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
        ]
    );
}

mod real_controllers {
    use super::*;

    sentences!(
        controllers,
        &place().await,
        [
            a_first_pod_is_made_anew_as_its_strategy_says,
            in_order_a_doomed_pod_holds_its_stateful_set_up,
            in_parallel_a_doomed_pod_is_replaced,
            a_job_that_is_over_goes_after_its_time,
            old_replica_sets_go_beyond_their_limit,
            pods_go_before_or_after_their_workload,
        ]
    );
}

mod real_fence {
    use super::*;

    sentences!(
        fence,
        &place().await,
        [
            older_writes_are_refused,
            an_object_keeps_the_highest_epoch,
            nobody_else_is_judged,
            without_its_parameter_a_fence_is_open,
            a_fence_is_raised_only_upwards,
        ]
    );
}

mod records_in_a_real_cluster {
    use super::*;

    sentences!(
        records,
        store().await,
        [
            created_records_are_read_back,
            a_present_record_stays,
            one_of_many_creates_wins,
            lists_are_complete_and_ordered,
            deleted_records_are_gone,
            large_records_are_stored_whole,
        ]
    );
}
