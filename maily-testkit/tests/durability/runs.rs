//! Runs whose records cannot be written or read: they stop before their next effect, and nothing is guessed.

use std::{fs, path::Path, sync::Arc};

use maily_core::{
    engine::{
        EnvironmentError, Epoch, Event, Outcome, ReleaseId, RunEnd, RunOptions, What, Wish, history,
        journal::{JournalError, segment_key},
    },
    provider::RecordStore as _,
    records::FolderRecords,
};

use crate::place::{Place, deploy};

async fn released(records: &Path, version: &str) -> Place {
    let place = Place::new(11, records);
    let end = deploy(&place.environment(), version, &RunOptions::new("tester")).await.expect("runs");
    let RunEnd::Over { outcome: Outcome::Succeeded { .. }, .. } = end else { panic!("{end:?}") };
    place
}

#[tokio::test(start_paused = true)]
async fn records_that_cannot_be_written_stop_a_run_before_its_next_effect() {
    let folder = tempfile::tempdir().expect("can be made");
    let place = released(folder.path(), "v1").await;
    let environment = place.environment();
    let (runs, away) = (folder.path().join("run"), folder.path().join("away"));
    let mut options = RunOptions::new("tester");
    let (from, to) = (runs.clone(), away.clone());
    options.listener = Arc::new(move |event: &Event| {
        let begins =
            matches!(&event.what, What::StepStarted { step } if step.as_str() == "production/api/rollout");
        if begins && !to.exists() {
            // A file stands in the way now: not even root can write below it.
            fs::rename(&from, &to).expect("is ours");
            fs::write(&from, "").expect("can be made");
        }
    });
    let error = deploy(&environment, "v2", &options).await.expect_err("cannot go on");
    let EnvironmentError::Journal(JournalError::Store(error)) = error else { panic!("{error:?}") };
    assert!(error.resource().starts_with("run/"), "{error}");
    assert!(place.image("api").ends_with(":v2"), "that was announced");
    assert!(place.image("web").ends_with(":v1"), "this could not be");

    fs::remove_file(&runs).expect("is ours");
    fs::rename(&away, &runs).expect("is ours");
    let options = RunOptions::new("tester");
    let end = environment.take_over(None, Wish::Resume, &options).await.expect("runs").expect("there is one");
    let RunEnd::Over { outcome: Outcome::Succeeded { release: ReleaseId(2), .. }, .. } = end else {
        panic!("{end:?}")
    };
    assert!(place.image("web").ends_with(":v2"));
}

/// Records of one release: cut, or of another format.
#[tokio::test(start_paused = true)]
async fn damaged_claims_and_releases_are_named_and_a_lost_release_is_written_again() {
    let folder = tempfile::tempdir().expect("can be made");
    released(folder.path(), "v1").await;
    let store = FolderRecords::new(folder.path());
    let release = "release/000000001";
    let kept = store.get(release).await.expect("can be read").expect("is there");
    // Without the record of the release, the claim is looked at.
    for (key, without) in [(release, None), ("epoch/000000000000001", Some(release))] {
        if let Some(without) = without {
            store.delete(without).await.expect("is deleted");
        }
        let file = folder.path().join(format!("{key}.record"));
        let whole = fs::read_to_string(&file).expect("is there");
        let other = |format: &str| whole.replacen("\"format\":1,", &format!("\"format\":{format},"), 1);
        for (text, newer) in [
            (String::new(), false),
            (whole[..whole.len() / 2].to_owned(), false),
            (other("0"), false),
            (other("2"), true),
        ] {
            fs::write(&file, &text).expect("is ours");
            let error = history::head(&store).await.expect_err("is refused");
            match &error {
                JournalError::Newer { key: named, format: 2 } if newer => assert_eq!(named, key),
                JournalError::Damaged { key: named, .. } if !newer => assert_eq!(named, key),
                other => panic!("{text}: {other:?}"),
            }
        }
        fs::write(&file, &whole).expect("is ours");
    }
    let head = history::head(&store).await.expect("can be read");
    assert_eq!((head.epoch, head.releases), (Some(Epoch(1)), vec![ReleaseId(1)]));
    assert_eq!(store.get(release).await.expect("can be read"), Some(kept));
}

/// What a release consists of is in its run: a gap there must not make it look like a first installation.
#[tokio::test(start_paused = true)]
async fn a_release_whose_run_is_incomplete_is_no_first_installation() {
    let folder = tempfile::tempdir().expect("can be made");
    let place = released(folder.path(), "v1").await;
    let environment = place.environment();
    let head = environment.head().await.expect("can be read");
    let (run, _) = head.release.clone().expect("is in force");
    let key = segment_key(&run, 0);
    environment.records.delete(&key).await.expect("is deleted");
    let error = environment.released(&head).await.expect_err("is refused");
    let EnvironmentError::Journal(JournalError::Damaged { key: named, .. }) = &error else {
        panic!("{error:?}")
    };
    assert_eq!(*named, key);
}
