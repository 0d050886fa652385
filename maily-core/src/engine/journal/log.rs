//! The log of one run: segments that are created only if absent, so that the log is its own compare-and-swap.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc, time::Duration};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use serde::{Deserialize, Serialize};

use super::{
    JournalError, JournalEvent,
    pack::{PART, pack, uncompressed, unpack},
};
use crate::{
    engine::{Epoch, Outcome, Plan, RunId},
    planted::{Defect, is_planted},
    provider::{Created, ErrorKind, ProviderError, RecordStore},
    runtime::{Moment, Runtime},
};

/// Version of the journal format.
pub const JOURNAL_FORMAT: u32 = 1;
/// A segment 0 up to this many packed bytes carries its plan.
const INLINE: usize = 400 * 1024;
/// Time until a record is written again, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Segments that are read at once.
const READS: usize = 8;

/// One record of a run's journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Segment<'a> {
    /// [`JOURNAL_FORMAT`].
    pub format: u32,
    /// Epoch of the writer.
    pub epoch: Epoch,
    /// Tells two writers of one epoch number apart.
    pub nonce: u64,
    /// What happened, in order.
    pub events: Cow<'a, [JournalEvent]>,
    /// The plan, in segment 0 where it is small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Cow<'a, Plan>>,
    /// Number of blob parts that hold the plan, in segment 0 where it is large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_parts: Option<u32>,
}

/// A run's journal as it was read.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The run.
    pub run: RunId,
    /// Its plan; none where the process ended before all of it was stored: then nothing else was done either.
    pub plan: Option<Plan>,
    /// All events in order, with the epoch of their writer.
    pub events: Vec<(Epoch, JournalEvent)>,
    /// Number of the next segment.
    pub next: u64,
}

/// Key of a segment.
pub fn segment_key(run: &RunId, number: u64) -> String {
    format!("run/{run}/{number:06}")
}

/// The runs on record, and those of which the sweeping left something, by id: in the order of their beginning.
///
/// # Errors
/// When the store cannot be reached.
pub(crate) async fn runs(store: &dyn RecordStore) -> Result<BTreeSet<RunId>, JournalError> {
    let keys = store.list("run/").await?;
    Ok(keys.iter().filter_map(|key| key.strip_prefix("run/")?.split('/').next().map(RunId::from)).collect())
}

/// Reads a run's journal. `None` where there is none.
///
/// # Errors
/// When a record is damaged, of a newer format, or the store cannot be reached.
pub async fn read(store: &dyn RecordStore, run: &RunId) -> Result<Option<Recorded>, JournalError> {
    let count = segments(store, run).await?;
    if count == 0 {
        return Ok(None);
    }
    let mut recorded = Recorded { run: run.clone(), plan: None, events: Vec::new(), next: count };
    let mut plan = PlanSource::default();
    // Boxed one by one: a stream over borrowing closures could not be sent to another thread.
    let reads: Vec<BoxFuture<'_, _>> = (0..count).map(|number| segment(store, run, number).boxed()).collect();
    let mut reads = stream::iter(reads).buffered(READS);
    let mut number = 0;
    while let Some(read) = reads.next().await {
        let gone = || missing(segment_key(run, number), "it was deleted a moment ago");
        let mut segment = match read {
            // The sweeping leaves what it cannot read, and may be under way.
            Ok(None) | Err(JournalError::Damaged { .. }) if is_forgotten(store, run).await? => {
                return Ok(None);
            }
            read => read?.ok_or_else(gone)?,
        };
        number += 1;
        plan.look_in(&mut segment);
        let events = segment.events.into_owned().into_iter();
        recorded.events.extend(events.map(|event| (segment.epoch, event)));
    }
    let stored = recorded.events.iter().any(|(_, event)| follows_the_plan(event));
    recorded.plan = match plan.fetch(store, run, stored).await {
        Err(JournalError::Damaged { .. }) if is_forgotten(store, run).await? => return Ok(None),
        plan => plan?,
    };
    Ok(Some(recorded))
}

/// Number of a run's segments.
///
/// # Errors
/// When one of them is missing: what it told cannot be guessed.
async fn segments(store: &dyn RecordStore, run: &RunId) -> Result<u64, JournalError> {
    let prefix = format!("run/{run}/");
    let keys = store.list(&prefix).await?;
    let mut numbers: Vec<u64> =
        keys.iter().filter_map(|key| key.strip_prefix(&prefix)?.parse().ok()).collect();
    numbers.sort_unstable();
    match (0..).zip(&numbers).find(|(expected, found)| expected != *found) {
        // What the sweeping leaves of a run is for its former holders alone.
        Some(_) if is_swept(store, run).await? => Ok(0),
        Some((gap, later)) => Err(missing(segment_key(run, gap), &format!("segment {later} is there"))),
        None => Ok(numbers.len() as u64),
    }
}

/// Deletes a run that is over. Segments with a takeover's claim stay for good: a former holder who was halted before an
/// append would else find its place free. Where there are some, a mark tells readers that nothing else was lost.
///
/// # Errors
/// When the store fails.
pub(in crate::engine) async fn sweep(store: &dyn RecordStore, run: &RunId) -> Result<(), JournalError> {
    let keys = store.list(&format!("run/{run}/")).await?;
    let mark = swept_key(run);
    let format = serde_json::json!({"format": JOURNAL_FORMAT});
    store.create(&mark, &pack(&format)).await?;
    let mut claims = false;
    // From the first on: a run without its first segment is not taken for one that goes on.
    for key in keys {
        let Some(bytes) = store.get(&key).await? else { continue };
        let claim = |event: &JournalEvent| {
            matches!(event, JournalEvent::EpochClaimed { .. }) && !is_planted(Defect::ClaimsSwept)
        };
        match parse(&key, &bytes) {
            Ok(segment) if !segment.events.iter().any(claim) => store.delete(&key).await?,
            // What cannot be read may have been one.
            Ok(_) | Err(JournalError::Damaged { .. }) => claims = true,
            Err(error) => return Err(error),
        }
    }
    for key in store.list(&format!("blob/{run}/")).await? {
        store.delete(&key).await?;
    }
    if !claims {
        store.delete(&mark).await?;
    }
    Ok(())
}

/// Whether a run was forgotten, and what is there of it is what had to stay.
async fn is_swept(store: &dyn RecordStore, run: &RunId) -> Result<bool, JournalError> {
    Ok(store.get(&swept_key(run)).await?.is_some())
}

/// The same, or all of it has gone since it was listed, and the mark with it.
async fn is_forgotten(store: &dyn RecordStore, run: &RunId) -> Result<bool, JournalError> {
    Ok(is_swept(store, run).await? || segments(store, run).await? == 0)
}

fn swept_key(run: &RunId) -> String {
    format!("swept/{run}")
}

fn missing(key: String, why: &str) -> JournalError {
    let message = format!("it is missing, and {why}: what it told cannot be guessed");
    JournalError::Damaged { key, message }
}

/// Whether a run writes this only when all of its plan is stored.
fn follows_the_plan(event: &JournalEvent) -> bool {
    let early = matches!(
        event,
        JournalEvent::RunStarted { .. }
            | JournalEvent::EpochClaimed { .. }
            | JournalEvent::RunFinished { outcome: Outcome::Cancelled { .. }, .. }
    );
    !early
}

/// Reads a run's plan alone. `None` where there is none, or the process ended before all of it was stored.
///
/// # Errors
/// When a record is damaged, missing, of a newer format, or the store cannot be reached.
pub async fn read_plan(store: &dyn RecordStore, run: &RunId) -> Result<Option<Plan>, JournalError> {
    let first = match segment(store, run, 0).await {
        Err(JournalError::Damaged { .. }) if is_swept(store, run).await? => return Ok(None),
        first => first?,
    };
    let Some(mut first) = first else {
        segments(store, run).await?;
        return Ok(None);
    };
    let mut plan = PlanSource::default();
    plan.look_in(&mut first);
    match plan.fetch(store, run, false).await? {
        Some(plan) => Ok(Some(plan)),
        // Whether it ever was there as a whole the rest of the journal tells.
        None => Ok(read(store, run).await?.and_then(|recorded| recorded.plan)),
    }
}

async fn segment(
    store: &dyn RecordStore,
    run: &RunId,
    number: u64,
) -> Result<Option<Segment<'static>>, JournalError> {
    let key = segment_key(run, number);
    let bytes = store.get(&key).await?;
    bytes.map(|bytes| parse(&key, &bytes)).transpose()
}

/// Where a run's plan is.
#[derive(Default)]
struct PlanSource {
    inline: Option<Plan>,
    digest: String,
    parts: Option<u32>,
}

impl PlanSource {
    /// Takes what a segment says of the plan.
    fn look_in(&mut self, segment: &mut Segment<'_>) {
        if let Some(JournalEvent::RunStarted { plan, .. }) = segment.events.first() {
            self.digest.clone_from(plan);
        }
        self.inline = self.inline.take().or_else(|| segment.plan.take().map(Cow::into_owned));
        self.parts = self.parts.or(segment.plan_parts);
    }

    /// The plan. A part that is missing is a loss where all were stored once; else the process ended before.
    async fn fetch(
        self,
        store: &dyn RecordStore,
        run: &RunId,
        stored: bool,
    ) -> Result<Option<Plan>, JournalError> {
        let (None, Some(parts)) = (&self.inline, self.parts) else { return Ok(self.inline) };
        let mut bytes = Vec::new();
        for part in 0..parts {
            let key = blob_key(run, &self.digest, part);
            match store.get(&key).await? {
                Some(part) => bytes.extend(part),
                None if stored => return Err(missing(key, "the run went on after it")),
                None => return Ok(None),
            }
        }
        unpack(&blob_key(run, &self.digest, 0), &bytes).map(Some)
    }
}

fn blob_key(run: &RunId, digest: &str, part: u32) -> String {
    format!("blob/{run}/{digest}/{part:04}")
}

fn parse(key: &str, bytes: &[u8]) -> Result<Segment<'static>, JournalError> {
    let json = uncompressed(key, bytes)?;
    match unpack::<Segment>(key, &json) {
        Ok(segment) if segment.format == JOURNAL_FORMAT => Ok(segment),
        read => match format_of(key, &json)? {
            format if format > JOURNAL_FORMAT => Err(JournalError::Newer { key: key.to_owned(), format }),
            _ => read,
        },
    }
}

/// The format that a record says it has.
pub(in crate::engine) fn format_of(key: &str, bytes: &[u8]) -> Result<u32, JournalError> {
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    match unpack::<Head>(key, bytes)?.format {
        0 => Err(JournalError::Damaged { key: key.to_owned(), message: "there is no format 0".to_owned() }),
        format => Ok(format),
    }
}

/// Appends to one run's journal as the holder of one epoch.
#[derive(Clone, Debug)]
pub struct Writer {
    store: Arc<dyn RecordStore>,
    runtime: Arc<dyn Runtime>,
    run: RunId,
    epoch: Epoch,
    nonce: u64,
    next: u64,
}

/// What a takeover may meet at the place of its own segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// The next number is tried: a late segment of the holder before us.
    Older,
    /// We are no longer the holder.
    Stop,
}

impl Writer {
    /// A writer whose next segment has this number.
    pub fn new(
        store: Arc<dyn RecordStore>,
        runtime: Arc<dyn Runtime>,
        run: RunId,
        epoch: Epoch,
        next: u64,
    ) -> Self {
        let nonce = runtime.random();
        Self { store, runtime, run, epoch, nonce, next }
    }

    /// Writes segment 0 with the plan, and the plan's blobs where it is large.
    ///
    /// # Errors
    /// [`JournalError::NotHolder`] when somebody else writes this run.
    pub async fn begin(
        &mut self,
        plan: &Plan,
        events: &[JournalEvent],
        until: Moment,
    ) -> Result<(), JournalError> {
        let bytes = pack(&self.segment(events, Some(plan), None));
        if bytes.len() <= INLINE {
            return self.put(bytes, Taken::Stop, until).await;
        }
        let packed = pack(plan);
        let parts: Vec<&[u8]> = packed.chunks(PART).collect();
        let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        // The first event alone goes with the announcement: nothing may be started before the plan is durable.
        let (first, rest) = events.split_at(1.min(events.len()));
        self.put(pack(&self.segment(first, None, Some(count))), Taken::Stop, until).await?;
        for (part, bytes) in (0_u32..).zip(&parts) {
            let key = blob_key(&self.run, &plan.digest, part);
            if self.create(&key, bytes, until).await?.is_some() {
                // Its key tells its content: another holder's would be the same.
                let message = "something else is in its place".to_owned();
                return Err(JournalError::Damaged { key, message });
            }
        }
        if rest.is_empty() { Ok(()) } else { self.append(rest, until).await }
    }

    /// Appends the claim of a takeover. Late segments of older holders may come in between.
    ///
    /// # Errors
    /// [`JournalError::NotHolder`] when a newer holder was met.
    pub async fn claim(&mut self, by: &str, reason: Option<&str>, until: Moment) -> Result<(), JournalError> {
        let (by, reason) = (by.to_owned(), reason.map(str::to_owned));
        let at = Some(self.runtime.wall());
        let event = JournalEvent::EpochClaimed { epoch: self.epoch, by, reason, at };
        self.put(pack(&self.segment(&[event], None, None)), Taken::Older, until).await
    }

    /// Appends events as one segment.
    ///
    /// # Errors
    /// [`JournalError::NotHolder`] when the place was taken by somebody else.
    pub async fn append(&mut self, events: &[JournalEvent], until: Moment) -> Result<(), JournalError> {
        self.put(pack(&self.segment(events, None, None)), Taken::Stop, until).await
    }

    /// Appends each event as a segment of its own, and waits for none of them before it sends the next: a defect.
    pub(in crate::engine) async fn append_at_once(
        &mut self,
        events: &[JournalEvent],
        until: Moment,
    ) -> Result<(), JournalError> {
        let appends: Vec<_> = (self.next..)
            .zip(events)
            .map(|(next, event)| {
                let mut writer = Self { next, ..self.clone() };
                async move { writer.append(std::slice::from_ref(event), until).await }
            })
            .collect();
        self.next += u64::try_from(appends.len()).unwrap_or_default();
        futures::future::try_join_all(appends).await.map(drop)
    }

    fn segment<'a>(
        &self,
        events: &'a [JournalEvent],
        plan: Option<&'a Plan>,
        plan_parts: Option<u32>,
    ) -> Segment<'a> {
        let (events, plan) = (Cow::Borrowed(events), plan.map(Cow::Borrowed));
        Segment { format: JOURNAL_FORMAT, epoch: self.epoch, nonce: self.nonce, events, plan, plan_parts }
    }

    async fn put(&mut self, bytes: Vec<u8>, taken: Taken, until: Moment) -> Result<(), JournalError> {
        loop {
            let key = segment_key(&self.run, self.next);
            let Some(there) = self.create(&key, &bytes, until).await? else {
                self.next += 1;
                return Ok(());
            };
            let theirs = parse(&key, &there)?;
            let older = theirs.epoch < self.epoch && !is_planted(Defect::LateSegmentStops);
            let passes = taken == Taken::Older && older;
            if passes || is_planted(Defect::TakenSegmentIgnored) {
                self.next += 1;
                continue;
            }
            return Err(JournalError::NotHolder { epoch: self.epoch, other: Some(theirs.epoch) });
        }
    }

    /// Creates a record; with what is there where somebody else was first. Tries again while the store is not reachable,
    /// or says that the record is there and has none.
    async fn create(&self, key: &str, bytes: &[u8], until: Moment) -> Result<Option<Vec<u8>>, JournalError> {
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.create_once(key, bytes).await {
                Ok(there) => return Ok(there),
                Err(error) => error,
            };
            if error.kind() == ErrorKind::StaleEpoch {
                return Err(JournalError::NotHolder { epoch: self.epoch, other: None });
            }
            let again = error.is_transient() || error.kind() == ErrorKind::Conflict;
            if !again || self.runtime.now() >= until {
                return Err(error.into());
            }
            self.runtime.sleep(error.retry_after().unwrap_or(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn create_once(&self, key: &str, bytes: &[u8]) -> Result<Option<Vec<u8>>, ProviderError> {
        if self.store.create(key, bytes).await? == Created::Created {
            return Ok(None);
        }
        match self.store.get(key).await? {
            // Our own answer was lost.
            Some(there) if there == bytes && !is_planted(Defect::OwnSegmentUnknown) => Ok(None),
            Some(there) => Ok(Some(there)),
            // Deleted a moment ago, or a conflict of another kind, such as that of a quota.
            None => {
                let message = "it is said to be there, and is not";
                Err(ProviderError::new(ErrorKind::Conflict, "records", "create", key, message))
            }
        }
    }
}

impl From<ProviderError> for JournalError {
    fn from(error: ProviderError) -> Self {
        Self::Store(error)
    }
}
