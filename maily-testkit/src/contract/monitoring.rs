//! What every [`Monitoring`] does.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use maily_core::{
    provider::{
        Answer, ErrorKind, Found, Marker, MarkerQuery, MonitorState, Monitoring, RangeQuery, Reading, Silence,
    },
    runtime::Runtime,
};

/// Time within which markers and silences have to show.
const SOON: Duration = Duration::from_secs(120);

/// A place to run the suite in: queries whose answers are known, in the provider's language.
#[derive(Clone, Debug)]
pub struct Place {
    /// The provider.
    pub monitoring: Arc<dyn Monitoring>,
    /// Matches one series, which has been there for a minute at least, with this label.
    pub one: (String, (String, String)),
    /// Matches several series.
    pub many: String,
    /// Is valid and matches nothing.
    pub nothing: String,
    /// Matches what is not delivered.
    pub down: String,
    /// Matches one series whose value is no number.
    pub not_finite: String,
    /// Is no query.
    pub malformed: String,
    /// Tags of one monitor.
    pub monitor: BTreeMap<String, String>,
    /// The clock.
    pub runtime: Arc<dyn Runtime>,
}

impl Place {
    async fn query(&self, query: &str) -> Answer {
        self.monitoring.query(query, None).await.expect("answers")
    }

    fn past(&self, query: &str, length: SignedDuration) -> RangeQuery {
        let to = self.runtime.wall();
        RangeQuery { query: query.to_owned(), from: to - length, to, step: Duration::from_secs(5) }
    }
}

/// Sentence 1: one series is answered with its labels and a value.
pub async fn one_series_has_labels_and_a_value(place: &Place) {
    let answer = place.query(&place.one.0).await;
    assert!(matches!(answer.reading(), Reading::Value(_)), "{answer:?}");
    let Found::Series(series) = &answer.found else { panic!("{answer:?}") };
    assert_eq!((series.len(), series[0].points.len()), (1, 1));
    let (label, value) = &place.one.1;
    assert_eq!(series[0].labels.get(label), Some(value));
}

/// Sentence 2: several series are all answered.
pub async fn many_series_are_told(place: &Place) {
    let answer = place.query(&place.many).await;
    let Found::Series(series) = &answer.found else { panic!("{answer:?}") };
    assert!(series.len() > 1, "{answer:?}");
    assert_eq!(answer.reading(), Reading::ManySeries(series.len()));
}

/// Sentence 3: nothing is nothing.
pub async fn no_data_is_no_value(place: &Place) {
    assert_eq!(place.query(&place.nothing).await.found, Found::NoData);
    let range = place.past(&place.nothing, SignedDuration::from_mins(1));
    assert_eq!(place.monitoring.range(&range).await.expect("answers").found, Found::NoData);
}

/// Sentence 4: a source that is down is told.
pub async fn a_source_that_is_down_is_told(place: &Place) {
    assert!(matches!(place.query(&place.down).await.found, Found::SourceDown { .. }));
}

/// Sentence 5: what is no number is told.
pub async fn what_is_not_finite_is_told(place: &Place) {
    let answer = place.query(&place.not_finite).await;
    assert!(matches!(answer.reading(), Reading::NotFinite(_)), "{answer:?}");
}

/// Sentence 6: a malformed query is refused.
pub async fn malformed_queries_are_refused(place: &Place) {
    let error = place.monitoring.query(&place.malformed, None).await.expect_err("is refused");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let range = place.past(&place.malformed, SignedDuration::from_mins(1));
    let error = place.monitoring.range(&range).await.expect_err("is refused");
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

/// Sentence 7: a range has its values in order, and none where there was none.
pub async fn a_range_is_ordered_and_bounded(place: &Place) {
    let range = place.past(&place.one.0, SignedDuration::from_secs(30));
    let answer = place.monitoring.range(&range).await.expect("answers");
    let Found::Series(series) = &answer.found else { panic!("{answer:?}") };
    let times: Vec<Timestamp> = series[0].points.iter().map(|(at, _)| *at).collect();
    assert!(times.len() > 2 && times.is_sorted(), "{times:?}");
    assert!(times.iter().all(|at| (range.from..=range.to).contains(at)), "{times:?}");
    let past = range.from - SignedDuration::from_hours(24 * 3650);
    let long_ago = RangeQuery { from: past, to: past + SignedDuration::from_secs(30), ..range };
    assert_eq!(place.monitoring.range(&long_ago).await.expect("answers").found, Found::NoData);
}

/// Sentence 8: markers are found by tag and time, each as often as it was set.
pub async fn markers_are_found_by_tag_and_time(place: &Place) {
    let now = place.runtime.wall();
    let minute = SignedDuration::from_mins(1);
    let tags = BTreeMap::from([("run".to_owned(), "markers".to_owned())]);
    let marker = |at, title: &str, run: &str| Marker {
        id: String::new(),
        at,
        title: title.to_owned(),
        text: "more".to_owned(),
        tags: BTreeMap::from([("run".to_owned(), run.to_owned())]),
    };
    let wanted = [marker(now, "began", "markers"), marker(now, "began", "markers")];
    let others = [marker(now, "other run", "x"), marker(now - 10 * minute, "too early", "markers")];
    for marker in wanted.iter().chain(&others) {
        place.monitoring.mark(marker).await.expect("is set");
    }
    let query = MarkerQuery { from: now - minute, to: now + minute, tags };
    let until = place.runtime.now() + SOON;
    let found = loop {
        let found = place.monitoring.markers(&query).await.expect("answers");
        if found.len() >= wanted.len() || place.runtime.now() > until {
            break found;
        }
        place.runtime.sleep(Duration::from_secs(1)).await;
    };
    assert_eq!(found.iter().map(|one| one.title.as_str()).collect::<Vec<_>>(), ["began", "began"]);
    assert_ne!(found[0].id, found[1].id);
}

/// Sentence 9: monitors are chosen by all their tags.
pub async fn monitors_are_chosen_by_tag(place: &Place) {
    let found = place.monitoring.monitors(&place.monitor).await.expect("answers");
    assert_eq!(found.iter().map(|one| &one.state).collect::<Vec<_>>(), [&MonitorState::Ok]);
    let mut other = place.monitor.clone();
    other.insert("nobody".to_owned(), "has this".to_owned());
    assert_eq!(place.monitoring.monitors(&other).await.expect("answers"), []);
}

/// Sentence 10: a silence shows until it ends or is lifted.
pub async fn a_silence_shows_and_ends(place: &Place) {
    let one =
        async || place.monitoring.monitors(&place.monitor).await.expect("answers").pop().expect("is there");
    let silence = |length| Silence {
        tags: place.monitor.clone(),
        until: place.runtime.wall() + length,
        reason: "deployment".to_owned(),
    };
    let id = place.monitoring.silence(&silence(SignedDuration::from_hours(1))).await.expect("is set");
    let silenced = one().await;
    assert!(silenced.silenced_until.is_some(), "{silenced:?}");
    assert_eq!(silenced.state, MonitorState::Ok);
    for _ in 0..2 {
        place.monitoring.unsilence(&id).await.expect("absence is success");
        assert_eq!(one().await.silenced_until, None);
    }
    place.monitoring.silence(&silence(SignedDuration::from_secs(60))).await.expect("is set");
    assert!(one().await.silenced_until.is_some());
    place.runtime.sleep(Duration::from_secs(61)).await;
    assert_eq!(one().await.silenced_until, None);
}
