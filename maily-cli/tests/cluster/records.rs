//! What is written down, and what never is.

use maily_core::{object::ObjectKind, provider::ListQuery};
use serde_json::json;

use crate::site::{Site, app};

const WORD: &str = "correct-horse-battery-staple";

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn secret_values_stand_in_no_plan_no_screen_and_no_journal() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let secret = |word: &str| {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "alpha"}, "stringData": {"PASSWORD": word}}).to_string()
    };
    let with = |version: &str, word: &str| {
        let text = app("alpha", version, json!({})) + &format!("---\n{}\n", secret(word));
        (text.replace("configMapRef", "secretRef"), ())
    };
    let site = Site::bound("secret", &[("v1", with("v1", WORD).0), ("v2", with("v2", "another").0)]).await;
    let encoded = STANDARD.encode(WORD);
    let plan = site.run(&["plan", "--version", "v1", "--out", "plan.json", "-v"]).expect(0);
    let saved = std::fs::read_to_string(site.path().join("plan.json")).expect("can be read");
    let applied = site.run(&["apply", "plan.json", "--yes", "-v"]).expect(0);
    let live = site.get("v1", "Secret", "alpha").await.expect("is there");
    assert_eq!(live.text("/data/PASSWORD"), Some(encoded.as_str()));
    let second = site.run(&["deploy", "--version", "v2", "--yes", "-v", "-o", "json"]).expect(0);
    let shown = site.run(&["show", "release", "1", "-o", "json"]).expect(0);
    let run = site.run(&["show", "run", "-o", "json"]).expect(0);
    for text in [
        &plan.out,
        &plan.err,
        &saved,
        &applied.out,
        &applied.err,
        &second.out,
        &second.err,
        &shown.out,
        &run.out,
    ] {
        assert!(!text.contains(WORD) && !text.contains(&encoded), "{text}");
    }
    let query = ListQuery::new(ObjectKind::new("v1", "Secret"), Some(&site.namespace));
    for record in site.cluster.list(&query).await.expect("answers") {
        if record.name().starts_with("maily-production.") {
            let bytes = STANDARD.decode(record.text("/data/record").unwrap_or_default()).unwrap_or_default();
            assert!(!String::from_utf8_lossy(&bytes).contains(WORD), "{}", record.name());
        }
    }
    // The old value is had again without anybody telling it.
    site.run(&["rollback", "--to-version", "v1", "--yes"]).expect(0);
    let live = site.get("v1", "Secret", "alpha").await.expect("is there");
    assert_eq!(live.text("/data/PASSWORD"), Some(encoded.as_str()));
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_release_of_five_megabytes_works() {
    let noise = |seed: u64| -> String {
        let mut state = seed;
        let mut text = String::with_capacity(250_000);
        while text.len() < 250_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.push_str(&format!("{state:016x}"));
        }
        text
    };
    let large = |version: &str| {
        let mut text = app("alpha", version, json!({}));
        for number in 0..20_u64 {
            let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("large-{number}")}, "data": {"noise": noise(number + version.len() as u64)}});
            text.push_str(&format!("---\n{body}\n"));
        }
        text
    };
    let site = Site::bound("large", &[("v1", large("v1")), ("v10", large("v10"))]).await;
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    let first = site.content().await;
    site.run(&["deploy", "--version", "v10", "--yes"]).expect(0);
    site.run(&["rollback", "--to-version", "v1", "--yes"]).expect(0);
    assert_eq!(site.content().await, first);
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn nothing_of_ours_stands_in_a_pod_template() {
    // Not an image of the project: a new version leaves it as it is.
    let other = app("beta", "v1", json!({})).replace("registry.example/shop/beta", "other.example/beta");
    let versions = ["v1", "v2"].map(|version| (version, app("alpha", version, json!({})) + &other));
    let site = Site::bound("template", &versions).await;
    site.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    let deployment = async || site.get("apps/v1", "Deployment", "beta").await.expect("is there");
    let before = deployment().await;
    let stamps = |object: &maily_core::object::Object| {
        (object.generation(), object.text("/metadata/annotations/maily.dev~1stamp").map(str::to_owned))
    };
    assert!(stamps(&before).1.is_some());
    assert!(!before.at("/spec/template").expect("is there").to_string().contains("maily"));
    site.run(&["deploy", "--version", "v2", "--yes"]).expect(0);
    assert_eq!(stamps(&deployment().await), stamps(&before), "an unchanged service is not touched");
}
