//! Who takes a run over while something of the holder before is still on its way to the journal.

use std::sync::Arc;

use super::{JournalError, JournalEvent, Writer};
use crate::{
    engine::{Epoch, RunId, StepId},
    provider::RecordStore,
    records::MemoryRecords,
    runtime::{Runtime, TokioRuntime},
};

fn writer(records: &Arc<MemoryRecords>, epoch: u64, next: u64) -> Writer {
    let (store, runtime): (Arc<dyn RecordStore>, Arc<dyn Runtime>) =
        (Arc::clone(records) as _, Arc::new(TokioRuntime));
    Writer::new(store, runtime, RunId::from("20260101-000000-aaaaaa"), Epoch(epoch), next)
}

fn begins() -> Vec<JournalEvent> {
    let step = StepId::new("production", "api", "rollout");
    vec![JournalEvent::StepStarted { step, at: TokioRuntime.wall() }]
}

#[tokio::test]
async fn a_claim_goes_behind_late_segments_of_the_holder_before_and_of_nobody_else() {
    let records = Arc::new(MemoryRecords::default());
    let until = TokioRuntime.now();
    let mut former = writer(&records, 1, 0);
    former.append(&begins(), until).await.expect("is written");
    // Who claims has read one segment, and two more are on their way.
    for _ in 0..2 {
        former.append(&begins(), until).await.expect("is written");
    }
    let mut taken = writer(&records, 3, 1);
    taken.claim("another", None, until).await.expect("goes behind them");
    assert_eq!(records.list("run/").await.expect("answers").len(), 4);
    let late = former.append(&begins(), until).await.expect_err("the place is taken");
    assert!(matches!(late, JournalError::NotHolder { other: Some(Epoch(3)), .. }), "{late}");
    let lower = writer(&records, 2, 1).claim("a third", None, until).await.expect_err("is too late");
    assert!(matches!(lower, JournalError::NotHolder { other: Some(Epoch(3)), .. }), "{lower}");
    taken.append(&begins(), until).await.expect("is the holder");
}

/// Each rule is worth what turns red without it.
#[cfg(feature = "planted-defects")]
#[test]
fn a_late_segment_that_ends_a_takeover_is_missed() {
    use crate::planted::{Defect, turns_red};

    let claimed = a_claim_goes_behind_late_segments_of_the_holder_before_and_of_nobody_else;
    turns_red(Defect::LateSegmentStops, claimed);
}
