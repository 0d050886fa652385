//! Secrets as people write them: what reaches the cluster, and what of it is told.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use maily_core::{object::ObjectKind, provider::ListQuery};
use serde_json::{Value, json};

use crate::site::{Site, app};

const WORD: &str = "correct-horse-battery-staple-and-so-on";
const OLD: &str = "what-kubectl-had-applied-before";

/// A value as `base64` wraps it.
fn wrapped(word: &str) -> String {
    let text = STANDARD.encode(word);
    let (first, rest) = text.split_at(20);
    format!("{first}\n{rest}\n")
}

fn with_secret(secret: &Value) -> String {
    app("alpha", "v1", json!({})).replace("configMapRef", "secretRef") + &format!("---\n{secret}\n")
}

fn secret(content: Value) -> Value {
    let mut body = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "alpha"}});
    body.as_object_mut().expect("is a map").extend(content.as_object().expect("is a map").clone());
    body
}

/// No byte of the words on a screen, in a file or in a record, nor of their base64.
async fn nothing_is_told(site: &Site, texts: &[&str]) {
    let words: Vec<String> = [WORD, OLD].iter().flat_map(|w| [(*w).to_owned(), STANDARD.encode(w)]).collect();
    let told = |text: &str| words.iter().find(|word| text.contains(word.as_str())).cloned();
    for text in texts {
        assert_eq!(told(text), None, "{text}");
    }
    let query = ListQuery::new(ObjectKind::new("v1", "Secret"), Some(&site.namespace));
    let mut records = 0;
    for record in site.cluster.list(&query).await.expect("answers") {
        let Some(data) = record.text("/data/record") else { continue };
        records += 1;
        let bytes = STANDARD.decode(data).expect("is base64");
        let text = match bytes.strip_prefix(&[0x1f, 0x8b]) {
            Some(_) => inflated(&bytes),
            None => String::from_utf8(bytes).expect("is text"),
        };
        assert_eq!(told(&text), None, "{}: {text}", record.name());
    }
    assert!(records > 3, "there are records to look into");
}

fn inflated(bytes: &[u8]) -> String {
    let mut child = std::process::Command::new("gzip")
        .arg("-dc")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("gzip starts");
    let mut input = child.stdin.take().expect("is piped");
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut input, &bytes));
    let output = child.wait_with_output().expect("ends");
    writer.join().expect("ends").expect("is written");
    String::from_utf8(output.stdout).expect("is text")
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_wrapped_value_arrives_as_it_is_and_no_copy_of_kubectl_tells_the_old_one() {
    let ours = secret(json!({"data": {"PASSWORD": wrapped(WORD), "EMPTY": null}}));
    let site = Site::bound("wrapped", &[("v1", with_secret(&ours))]).await;
    // Applied by a client that keeps all of it, in plain text, in an annotation.
    site.write("before.json", &secret(json!({"stringData": {"PASSWORD": OLD}})).to_string());
    site.kubectl(&["apply", "-f", "before.json"]).expect(0);
    let live = site.get("v1", "Secret", "alpha").await.expect("is there");
    let kept = live.annotation("kubectl.kubernetes.io/last-applied-configuration").expect("keeps a copy");
    assert!(kept.contains(OLD));

    let plan = site.run(&["plan", "--version", "v1", "--out", "plan.json", "-v"]).expect(0);
    let saved = std::fs::read_to_string(site.path().join("plan.json")).expect("can be read");
    let applied = site.run(&["apply", "plan.json", "--yes", "-v"]).expect(0);
    let live = site.get("v1", "Secret", "alpha").await.expect("is there");
    assert_eq!(live.at("/data"), Some(&json!({"PASSWORD": STANDARD.encode(WORD), "EMPTY": ""})));
    let again = site.run(&["plan", "--version", "v1"]).expect(0);
    assert!(again.out.contains("nothing to do"), "{}", again.out);
    let run = site.run(&["show", "run", "-o", "json"]).expect(0);
    let release = site.run(&["show", "release", "1", "-o", "json"]).expect(0);
    // The way back to what was there before knows the value, and tells it to the cluster alone.
    let back = site.run(&["rollback", "--last-good", "--yes", "-o", "json"]).expect(0);
    let live = site.get("v1", "Secret", "alpha").await.expect("is there");
    assert_eq!(live.text("/data/PASSWORD"), Some(STANDARD.encode(OLD).as_str()));
    let texts = [&plan.out, &plan.err, &saved, &applied.out, &applied.err, &run.out, &release.out, &back.out];
    nothing_is_told(&site, &texts.map(String::as_str)).await;
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn what_the_server_refuses_of_a_secret_is_told_without_its_value() {
    // Only the server knows that this is no certificate's Secret, or that a key has a blank in it.
    let ours =
        secret(json!({"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": WORD}}));
    let site = Site::bound("untold", &[("v1", with_secret(&ours))]).await;
    let plan = site.run(&["plan", "--version", "v1", "-vv"]);
    assert_ne!(plan.code, 0, "{}", plan.out);
    let said = format!("{}{}", plan.out, plan.err);
    assert!(said.contains("data[.dockerconfigjson]: Invalid value"), "{said}");
    let deploy = site.run(&["deploy", "--version", "v1", "--yes", "-vv", "-o", "json"]);
    assert_ne!(deploy.code, 0, "{}", deploy.out);
    let run = site.run(&["show", "run", "-o", "json"]);
    let texts = [&plan.out, &plan.err, &deploy.out, &deploy.err, &run.out, &run.err];
    nothing_is_told(&site, &texts.map(String::as_str)).await;
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_misspelt_field_ends_a_run_at_once() {
    let text = app("alpha", "v1", json!({})).replace(r#""replicas":2"#, r#""replcas":2"#);
    let site = Site::bound("typo", &[("v1", text)]).await;
    let deploy = site.run(&["deploy", "--version", "v1", "--yes"]);
    assert_ne!(deploy.code, 0, "{}", deploy.out);
    let said = format!("{}{}", deploy.out, deploy.err);
    assert!(said.contains(".spec.replcas: field not declared in schema"), "{said}");
    assert!(deploy.took.as_secs() < 60, "took {:?}", deploy.took);
}
