//! What the report of a run that is stuck says: of each object that a person has changed, what and by whom, and ways out
//! that can be gone.

use std::{sync::Arc, time::Duration};

use maily_core::{
    engine::{MANAGER, Outcome, RunEnd, Stuck, Wish},
    object::{Object, ObjectKey, ObjectKind},
    provider::{Precondition, WriteOptions},
    runtime::within,
};
use serde_json::json;

use crate::{
    hindered::Hindered,
    setup::{fault, succeeded},
    shop::{self, OF_MANIFESTS, Shop},
};

fn key(kind: &str, name: &str) -> ObjectKey {
    ObjectKey::new(ObjectKind::new("v1", kind), Some("shop"), name)
}

/// A first version that is out, and a second one that changes all that the first has and brings a ConfigMap.
async fn shop(seed: u64) -> Shop {
    let shop = Shop::new(OF_MANIFESTS, seed);
    let object = |kind: &str, name: &str, field: &str, of: &str| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, field: {"of": of}});
    for version in ["v1", "v2"] {
        let mut api = shop::deployment("api", &[]);
        api["spec"]["template"]["metadata"]["annotations"] = json!({"of": version});
        let mut objects = vec![
            object("Secret", "pass", "stringData", version),
            object("ConfigMap", "conf", "data", version),
        ];
        if version == "v2" {
            objects.push(object("ConfigMap", "fresh", "data", version));
        }
        objects.push(api);
        shop.write(version, &objects);
    }
    assert!(succeeded(&shop.deploy("v1").await));
    shop
}

/// A run of the second version in whose middle a person does something.
async fn disturbed(shop: &Shop, act: impl FnOnce()) -> Stuck {
    shop.setup.shared.world().faults.push(fault("never-ready api"));
    let person = async {
        shop.setup.runtime.sleep(Duration::from_secs(5)).await;
        act();
    };
    let (end, ()) = futures::future::join(shop.deploy("v2"), person).await;
    shop.setup.shared.world().faults.clear();
    let RunEnd::Stuck { mut items, .. } = end else { panic!("{end:?}") };
    assert_eq!(items.len(), 1, "{items:?}");
    items.remove(0)
}

async fn is_taken_back(shop: &Shop) {
    let environment = shop.setup.environment();
    let end = environment.take_over(None, Wish::Resume, &shop.setup.options("second")).await;
    assert!(matches!(end, Ok(Some(RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. }))), "{end:?}");
}

/// No release has it: nobody is sent to one.
#[tokio::test(start_paused = true)]
async fn what_a_run_made_and_a_person_changed_goes_by_the_command_that_is_named() {
    for made_again in [false, true] {
        let shop = shop(151).await;
        let before = shop.setup.content();
        let item = disturbed(&shop, || {
            let mut world = shop.setup.shared.world();
            if made_again {
                world.delete(&key("ConfigMap", "fresh"), &Precondition::Any).expect("is there");
                let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"of": "v2"},
                    "metadata": {"name": "fresh", "namespace": "shop"}});
                let object = Object::from_value(body).expect("is an object");
                world.write(&object, &WriteOptions::apply("kubectl", Precondition::Absent)).expect("is made");
            } else {
                let edit = json!({"data": {"of": "mine"}});
                world.edit_as("kubectl-patch", &key("ConfigMap", "fresh"), edit).expect("may edit");
            }
        })
        .await;
        let why = match made_again {
            true => "ConfigMap shop/fresh: it was deleted and made again meanwhile",
            false => "ConfigMap shop/fresh: it was changed meanwhile: data.of v2 -> mine (by kubectl-patch)",
        };
        assert!(item.why.message.contains(why), "{item:?}");
        let remedy = &item.remedy;
        let delete = "`kubectl delete ConfigMap fresh --namespace shop`";
        assert!(remedy.contains(delete) && !remedy.contains("release 1"), "{remedy}");
        shop.setup.shared.world().delete(&key("ConfigMap", "fresh"), &Precondition::Any).expect("is there");
        is_taken_back(&shop).await;
        assert_eq!(shop.setup.content(), before);
    }
}

/// Every command that is named can be typed as it stands; an edit is undone by what it was.
#[tokio::test(start_paused = true)]
async fn the_ways_out_are_commands_for_this_environment() {
    let shop = shop(152).await;
    let item = disturbed(&shop, || {
        let edit = json!({"data": {"of": "mine"}});
        shop.setup.shared.world().edit_as("kubectl-edit", &key("ConfigMap", "conf"), edit).expect("may edit");
    })
    .await;
    assert_eq!(
        item.remedy,
        "decide which state is right: undo the edit of ConfigMap shop/conf: `data.of` is to be `v2` again; or put \
         ConfigMap shop/conf back as it was before the run, by `kubectl replace`: release 1 has it (`mailyctl show \
         release 1 --env production --output json`); then `mailyctl resume --env production` takes the rest back. Or \
         end the run with everything as it is: `mailyctl abort --leave --env production --yes`; the next deploy or \
         rollback brings a whole release"
    );
}

/// The process ended before its create was sent: what is there is somebody else's.
#[tokio::test(start_paused = true)]
async fn what_somebody_made_in_the_place_of_a_run_is_not_said_to_have_to_go() {
    let mut shop = Shop::new(OF_MANIFESTS, 155);
    let fresh = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "fresh", "namespace": "shop"},
        "data": {"of": "v2"}});
    shop.write("v1", &[shop::deployment("api", &[])]);
    shop.write("v2", &[fresh.clone(), shop::deployment("api", &["fresh"])]);
    assert!(succeeded(&shop.deploy("v1").await));
    let before = shop.setup.content();
    let planned = shop.plan("v2").await.expect("can be planned");
    let silent = Hindered { silent_to: Some(MANAGER), ..Hindered::of(&shop.setup) };
    shop.setup.cluster = Some(Arc::new(silent));
    let died = within(&*shop.setup.runtime, Duration::from_secs(5), shop.run(planned)).await;
    assert!(died.is_none(), "{died:?}");
    shop.setup.cluster = None;
    shop.make(&fresh).await;
    let environment = shop.setup.environment();
    let end = environment.take_over(None, Wish::Abort, &shop.setup.options("second")).await;
    let end = end.expect("goes back").expect("was unfinished");
    let RunEnd::Stuck { items, .. } = &end else { panic!("{end:?}") };
    let why = &items[0].why.message;
    assert!(
        why.ends_with("ConfigMap shop/fresh: something of that name was made meanwhile (by kubectl)"),
        "{why}"
    );
    let ways = "decide which state is right: ConfigMap shop/fresh is none that the run has made: where somebody needs it, \
                leave it and end the run; only where nobody does, take it away: `kubectl delete ConfigMap fresh --namespace \
                shop`; then `mailyctl resume --env production` takes the rest back. Or end the run with everything as it \
                is: `mailyctl abort --leave";
    assert!(items[0].remedy.starts_with(ways), "{}", items[0].remedy);
    shop.setup.shared.world().delete(&key("ConfigMap", "fresh"), &Precondition::Any).expect("is there");
    is_taken_back(&shop).await;
    assert_eq!(shop.setup.content(), before);
}

/// What the run had added is held by whoever edited it, also once he has undone that: it goes all the same, and nothing of
/// what he has set besides.
#[tokio::test(start_paused = true)]
async fn an_edit_that_was_undone_of_what_a_run_added_goes_with_the_rest() {
    for besides in [false, true] {
        let shop = Shop::new(OF_MANIFESTS, 156);
        let conf = |data: serde_json::Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "conf"}, "data": data});
        let mut api = shop::deployment("api", &[]);
        shop.write("v1", &[conf(json!({"of": "v1"})), api.clone()]);
        api["spec"]["template"]["metadata"]["annotations"] = json!({"of": "v2"});
        shop.write("v2", &[conf(json!({"of": "v2", "more": "x"})), api]);
        assert!(succeeded(&shop.deploy("v1").await));
        let edit = |fields: serde_json::Value| {
            let mut world = shop.setup.shared.world();
            world.edit_as("kubectl-edit", &key("ConfigMap", "conf"), fields).expect("may edit");
        };
        if besides {
            edit(json!({"metadata": {"annotations": {"note": "mine"}}}));
        }
        let before = shop.setup.content();
        let item = disturbed(&shop, || edit(json!({"data": {"more": "mine"}}))).await;
        assert!(item.remedy.contains("conf: `data.more` is to be `x` again"), "{}", item.remedy);
        edit(json!({"data": {"more": "x"}}));
        let environment = shop.setup.environment();
        let end = environment.take_over(None, Wish::Resume, &shop.setup.options("second")).await;
        let Ok(Some(RunEnd::Over { outcome: Outcome::RolledBack { not_serving, .. }, .. })) = end else {
            panic!("{end:?}")
        };
        if besides {
            // Taken from him, his note would go along: then it is he who is told.
            let [failure] = &not_serving[..] else { panic!("{not_serving:?}") };
            let told = "ConfigMap shop/conf was changed since it was put back: data.more x (by kubectl-edit)";
            assert_eq!(failure.message, told);
            edit(json!({"data": {"more": null}}));
        } else {
            assert_eq!(not_serving, []);
        }
        assert_eq!(shop.setup.content(), before);
    }
}

/// Values of Secrets are in no release and on no screen: they are put back from where they are kept.
#[tokio::test(start_paused = true)]
async fn an_edit_of_a_secret_is_undone_out_of_what_is_kept_of_it() {
    for as_before in [false, true] {
        let shop = shop(153).await;
        let before = shop.setup.content();
        let item = disturbed(&shop, || {
            let edit = json!({"data": {"of": "bWluZQ=="}});
            shop.setup
                .shared
                .world()
                .edit_as("kubectl-patch", &key("Secret", "pass"), edit)
                .expect("may edit");
        })
        .await;
        let remedy = &item.remedy;
        assert!(!remedy.contains("show release") && !remedy.contains("maily.dev/sealed"), "{remedy}");
        let patch =
            "`kubectl patch Secret pass --namespace shop --patch \"$(kubectl get secret maily-payload-";
        let commands: Vec<&str> = remedy.split(patch).skip(1).collect();
        assert_eq!(commands.len(), 2, "{remedy}");
        // What is kept under the names that are named: as the run had written it, and as it was before.
        let kept = |command: &str| {
            let (hash, rest) = command.split_once(' ').expect("an option follows");
            let template =
                "--namespace shop --output go-template='{\"data\":{\"of\":\"{{.data.value}}\"}}')\"`";
            assert!(rest.starts_with(template), "{rest}");
            let key = key("Secret", &format!("maily-payload-{hash}"));
            shop.setup.shared.world().get(&key).expect("is kept").body()["data"]["value"].clone()
        };
        assert_eq!((kept(commands[0]), kept(commands[1])), (json!("djI="), json!("djE=")));
        let value = kept(commands[usize::from(as_before)]);
        let edit = json!({"data": {"of": value}});
        shop.setup.shared.world().edit_as("kubectl-patch", &key("Secret", "pass"), edit).expect("may edit");
        is_taken_back(&shop).await;
        assert_eq!(shop.setup.content(), before);
    }
}

/// Nobody has to come back for each of them.
#[tokio::test(start_paused = true)]
async fn all_that_a_person_has_changed_stands_in_the_first_report() {
    let shop = shop(154).await;
    let before = shop.setup.content();
    let first = shop.released().await.objects[&deployment()].desired.clone();
    let set = |kind: &str, name: &str, manager: &'static str, of: &str| {
        let edit = json!({"data": {"of": of}});
        shop.setup.shared.world().edit_as(manager, &key(kind, name), edit).expect("may edit");
    };
    let item = disturbed(&shop, || {
        set("ConfigMap", "conf", "kubectl-edit", "mine");
        set("Secret", "pass", "kubectl-patch", "bWluZQ==");
        shop.setup.shared.world().delete(&deployment(), &Precondition::Any).expect("is there");
    })
    .await;
    let why = &item.why.message;
    assert!(why.starts_with("Deployment shop/api: it was deleted meanwhile; "), "{why}");
    assert!(
        why.contains("; ConfigMap shop/conf: it was changed meanwhile: data.of v2 -> mine (by kubectl-edit)"),
        "{why}"
    );
    assert!(why.contains("; Secret shop/pass: it was changed meanwhile: data.of "), "{why}");
    assert!(why.ends_with("; not taken back either: ConfigMap/fresh"), "{why}");
    let remedy = &item.remedy;
    for part in [
        "put Deployment shop/api back as it was before the run",
        "undo the edit of ConfigMap shop/conf: `data.of` is to be `v2` again",
        "undo the edit of Secret shop/pass: `kubectl patch",
    ] {
        assert!(remedy.contains(part), "{part}: {remedy}");
    }
    assert_eq!(remedy.matches("mailyctl resume").count(), 1, "{remedy}");
    // Everything of it done, one `resume` is enough.
    set("ConfigMap", "conf", "kubectl-edit", "v2");
    set("Secret", "pass", "kubectl-patch", "djI=");
    shop.make(&json!(first)).await;
    is_taken_back(&shop).await;
    assert_eq!(shop.setup.content(), before);
}

fn deployment() -> ObjectKey {
    ObjectKey::new(ObjectKind::new("apps/v1", "Deployment"), Some("shop"), "api")
}
