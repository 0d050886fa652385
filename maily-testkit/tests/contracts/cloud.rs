//! Databases, buckets and identities of the simulated world.

use std::{sync::Arc, time::Duration};

use maily_core::provider::{
    Databases as _, Effect, ErrorKind, NewSnapshot, ObjectStorage as _, PutIf, Restore, RestoreFrom, Role,
};
use maily_testkit::{
    contract::{databases, identities, storage},
    sim::{SimDatabases, SimIdentities, SimStorage},
    world::{CallOutcome, Fault},
};

use crate::world;

fn place(protected: bool) -> databases::Place {
    let (shared, runtime) = world();
    {
        let mut world = shared.world();
        world.add_database("main", "postgres");
        world.edit_database("main", |database| database.deletion_protection = protected);
    }
    databases::Place {
        databases: Arc::new(SimDatabases::new(shared)),
        database: "main".into(),
        prefix: "suite".into(),
        runtime,
    }
}

macro_rules! database_sentences {
    ($($sentence:ident),+ $(,)?) => {
        mod simulated_databases {
            $(#[tokio::test(start_paused = true)]
            async fn $sentence() {
                super::databases::$sentence(&super::place(false)).await;
            })+
        }
    };
}

database_sentences!(
    an_unknown_database_is_none,
    a_snapshot_takes_time,
    a_snapshot_name_is_taken_once,
    a_snapshot_needs_a_ready_database,
    snapshots_are_newest_first,
    a_restore_makes_another_database,
    a_restore_takes_no_settings_over,
    a_restore_needs_a_recovery_point,
    the_newest_recovery_point_follows,
    a_renamed_database_keeps_its_id,
    a_deleted_database_leaves_its_last_snapshot,
    deleted_snapshots_are_gone,
    malformed_names_are_refused,
);

#[tokio::test(start_paused = true)]
async fn a_protected_database_stays() {
    databases::a_protected_database_stays(&place(true)).await;
}

#[tokio::test(start_paused = true)]
async fn a_restore_brings_back_what_stood_there_at_the_moment() {
    let (shared, runtime) = world();
    shared.world().add_database("main", "postgres");
    let databases = SimDatabases::new(Arc::clone(&shared));
    runtime.sleep(Duration::from_secs(60)).await;
    shared.world().fill_database("main", "before");
    let moment = runtime.wall();
    runtime.sleep(Duration::from_secs(1)).await;
    shared.world().fill_database("main", "after");
    runtime.sleep(Duration::from_secs(600)).await;
    let restore = Restore {
        from: RestoreFrom::Moment { database: "main".into(), at: Some(moment) },
        name: "copy".into(),
        settings: Default::default(),
        tags: Default::default(),
    };
    databases.restore(&restore).await.unwrap();
    assert_eq!(shared.world().database_content("copy").as_deref(), Some("before"));
    assert_eq!(shared.world().database_content("main").as_deref(), Some("after"));
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_has_made_the_snapshot_and_the_log_says_so() {
    let (shared, runtime) = world();
    shared.world().add_database("main", "postgres");
    shared.world().faults.push(Fault::LostAnswer { requests: 1 });
    let databases = SimDatabases::new(Arc::clone(&shared)).named("first");
    let wanted = NewSnapshot { name: "before-v2".into(), database: "main".into(), ..NewSnapshot::default() };
    let error = databases.create_snapshot(&wanted).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::DeadlineExceeded, Effect::Unknown));
    let error = databases.create_snapshot(&wanted).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    runtime.sleep(Duration::from_secs(20)).await;
    assert_eq!(databases.snapshots(&Default::default()).await.unwrap().len(), 1);
    let world = shared.world();
    let told: Vec<_> =
        world.log.iter().map(|call| (call.who.as_str(), call.operation.as_str(), call.outcome)).collect();
    assert_eq!(
        told,
        [
            ("first", "create-snapshot", CallOutcome::Lost),
            ("first", "create-snapshot", CallOutcome::Refused(ErrorKind::Conflict)),
            ("first", "snapshots", CallOutcome::Done),
        ]
    );
}

mod simulated_storage {
    use super::*;

    fn place() -> storage::Place {
        let (shared, _) = world();
        shared.world().account.add_bucket("records");
        storage::Place {
            storage: Arc::new(SimStorage::new(shared)),
            bucket: "records".into(),
            prefix: "suite/".into(),
        }
    }

    macro_rules! sentences {
        ($($sentence:ident),+ $(,)?) => {
            $(#[tokio::test(start_paused = true)]
            async fn $sentence() {
                storage::$sentence(&place()).await;
            })+
        };
    }

    sentences!(
        reads_see_earlier_writes,
        absent_keys_are_none_and_absent_buckets_errors,
        a_present_object_stays,
        one_of_many_puts_wins,
        a_put_onto_another_state_conflicts,
        lists_are_complete_and_ordered,
        deleted_objects_are_gone,
        keys_are_taken_as_they_are,
    );

    #[tokio::test(start_paused = true)]
    async fn while_the_api_is_down_nothing_is_stored() {
        let (shared, _) = world();
        shared.world().account.add_bucket("records");
        shared.world().faults.push(Fault::ApiDown { requests: 1 });
        let storage = SimStorage::new(Arc::clone(&shared));
        let error = storage.put("records", "a", b"-", &PutIf::Any).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::None));
        assert_eq!(storage.get("records", "a").await.unwrap(), None);
        assert_eq!(shared.world().log.iter().next().map(|call| call.outcome), Some(CallOutcome::Down));
    }
}

mod simulated_identities {
    use super::*;

    fn identities_of_a_world() -> SimIdentities {
        let (shared, _) = world();
        let role = Role { name: "api".into(), principal: "arn:role/api".into(), trusted: Vec::new() };
        shared.world().account.roles.insert("api".into(), role);
        shared.world().account.denied.insert("rds:DeleteDBInstance".into());
        SimIdentities::new(shared)
    }

    #[tokio::test(start_paused = true)]
    async fn the_caller_is_known() {
        identities::the_caller_is_known(&identities_of_a_world()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_role_is_none() {
        identities::an_unknown_role_is_none(&identities_of_a_world(), "api").await;
    }

    #[tokio::test(start_paused = true)]
    async fn answers_stand_in_order() {
        let (allowed, denied) = ("rds:CreateDBSnapshot", "rds:DeleteDBInstance");
        identities::answers_stand_in_order(&identities_of_a_world(), allowed, denied).await;
    }
}
