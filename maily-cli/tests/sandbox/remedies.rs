//! What is wrong is said once, in words of who reads it, and with one remedy wherever it is met.

use maily_testkit::harness::Reply;

use crate::{
    desk::Desk,
    server::{BOUND, bound, kubeconfig, refuse, serve},
};

const TWO: &str = "maily: 1\nproject: shop\nimages: 'registry.example/{service}:{version}'\n\
    environments:\n  staging: {namespace: shop-staging}\n  production: {namespace: shop}\n\
    services:\n  web: {workload: {port: 80}}\n";

#[test]
fn a_server_that_is_not_there_is_told_without_the_words_of_libraries() {
    let desk = Desk::with(BOUND);
    // Nobody listens there.
    desk.write("kubeconfig", &kubeconfig("http://127.0.0.1:9"));
    for command in [&["status"][..], &["doctor"], &["plan", "--version", "v1"]] {
        let done = desk.run(&[&["--kubeconfig", "kubeconfig"], command].concat()).expect(1);
        let told = format!("{}{}", done.out, done.err);
        for word in ["ServiceError", "client error", "os error", "describe `cluster`"] {
            assert!(!told.contains(word), "`{word}` in:\n{told}");
        }
        assert!(
            told.contains("the API server at 127.0.0.1:9 could not be reached: connection refused"),
            "{told}"
        );
        let help = told.lines().find(|line| line.contains("help: ")).expect("says what to do");
        for part in ["can be reached from here", "kubeconfig", "VPN"] {
            assert!(help.contains(part), "`{part}` in {help}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_remedy_for_whatever_right_is_missing() {
    let server = serve("u", |request| {
        let hidden = request.path.starts_with("/api/v1/namespaces/") && !request.path.ends_with("/secrets");
        let resource = if request.path.contains("/configmaps/") { "configmaps" } else { "namespaces" };
        let message = format!(
            "forbidden: User \"u\" cannot get resource \"{resource}\" in API group \"\" in the namespace \"shop\""
        );
        hidden.then(|| refuse(403, "Forbidden", &message))
    })
    .await;
    let desk = bound(&server);
    let run =
        |command: &[&str], code| desk.run(&[&["--kubeconfig", "kubeconfig"], command].concat()).expect(code);
    for told in [run(&["status"], 1).err, run(&["plan", "--version", "v1"], 1).err, run(&["doctor"], 1).out] {
        let helps: Vec<&str> = told.lines().filter(|line| line.contains("help: ")).collect();
        assert!(!helps.is_empty(), "{told}");
        for help in helps {
            assert!(help.contains(" doctor ") && help.contains("--role` prints"), "{help}");
        }
        assert!(!told.contains("a Role in namespace `shop` that allows `get` on `namespaces`"), "{told}");
    }
    // Where none is on record, none has failed.
    let told = run(&["doctor"], 1).out;
    assert!(!told.contains("✗ fence") && told.contains("! fence"), "{told}");
}

#[test]
fn a_rollback_names_the_file_that_it_needs() {
    let desk = Desk::empty();
    let told = desk.run(&["rollback", "--last-good"]).expect(2).err;
    assert!(told.contains("maily.yaml") && !told.contains("init"), "{told}");
    assert!(told.contains("no manifests") && told.contains("-C DIR"), "{told}");
    // Elsewhere a new one is as good.
    assert!(desk.run(&["deploy", "--version", "v1"]).expect(2).err.contains("`mailyctl init`"));
}

#[test]
fn each_of_several_errors_is_marked_as_one() {
    let desk =
        Desk::with(&TWO.replace("port: 80}", "port: x}, nedes: [db]").replace("{port: x}", "{prt: 1}"));
    let told = desk.sandbox(&["status", "--env", "staging"]).expect(2).err;
    let errors = told.lines().filter(|line| line.contains("maily.yaml:")).collect::<Vec<_>>();
    assert!(errors.len() > 1 && errors.iter().all(|line| line.starts_with("error: ")), "{told}");
}

#[test]
fn a_time_that_is_none_is_answered_with_its_units_and_the_least() {
    let desk = Desk::with(TWO);
    for time in ["0.1s", "12", "0s"] {
        let deploy = ["deploy", "--env", "staging", "--version", "v1", "--timeout", time, "--yes"];
        let told = desk.sandbox(&deploy).expect(2).err;
        assert!(told.contains("whole numbers of `s`, `m`, `h` or `d`, at least `1s`"), "{told}");
    }
}

#[test]
fn a_doctor_looks_at_every_environment_and_at_what_it_can() {
    let desk = Desk::with(TWO);
    let told = desk.sandbox(&["doctor"]).expect(0).out;
    assert!(told.contains("staging\n  ✓") && told.contains("\nproduction\n  ✓"), "{told}");
    let documents = desk.sandbox(&["doctor", "-o", "json"]).expect(0).out;
    let documents: Vec<serde_json::Value> =
        documents.lines().map(|line| serde_json::from_str(line).expect("is a document")).collect();
    let names: Vec<&str> = documents.iter().filter_map(|one| one["environment"].as_str()).collect();
    assert_eq!(names, ["staging", "production"]);
    // Programs need no cluster, and which one is missing is told beside the binding that is missing.
    let text = format!("{TWO}  chart: {{helm: {{chart: ./chart}}}}\n");
    let desk = Desk::with(&text);
    let mut command = desk.command(&["doctor", "--env", "production"]);
    command.env("PATH", "/nonexistent");
    let told = crate::desk::done(command).expect(1);
    assert!(told.out.contains("✗ helm"), "{told:?}");
    assert!(told.out.contains("✗ binding") && told.out.contains("mailyctl env bind production"), "{told:?}");
    desk.run(&["doctor", "--env", "nowhere"]).expect(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_answers_in_the_place_of_a_server_and_a_folder_that_cannot_be_made_have_a_remedy() {
    let server = serve("u", |request| {
        (request.path == "/version").then(|| Reply::new(200, "<html>log in first</html>"))
    })
    .await;
    let told = bound(&server).run(&["--kubeconfig", "kubeconfig", "status"]).expect(1).err;
    assert!(told.contains("the answer is not JSON"), "{told}");
    assert!(told.contains("help: see what answers at the address in the kubeconfig"), "{told}");
    let desk = Desk::empty();
    desk.write("file", "");
    let told = desk.run(&["man", "file/pages"]).expect(1).err;
    assert!(told.contains("failed to write man pages to `file/pages`"), "{told}");
    assert!(told.contains("help: name a folder that can be written"), "{told}");
}
