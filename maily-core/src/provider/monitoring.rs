//! Metrics, markers in dashboards, and monitors that watch over both.

use std::{collections::BTreeMap, fmt, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ProviderError;

/// A value of a series.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    /// A number.
    Finite(f64),
    /// Not a number, such as errors per request without requests.
    NotANumber,
    /// Positive infinity.
    Infinity,
    /// Negative infinity.
    NegativeInfinity,
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        match value {
            value if value.is_nan() => Self::NotANumber,
            f64::INFINITY => Self::Infinity,
            f64::NEG_INFINITY => Self::NegativeInfinity,
            value => Self::Finite(value),
        }
    }
}

/// One series of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// What tells it from the others.
    pub labels: BTreeMap<String, String>,
    /// Values in order of time; one for an instant query.
    pub points: Vec<(Timestamp, Value)>,
}

/// What a query found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Found {
    /// One or more series, each with a value or more.
    Series(Vec<Series>),
    /// The query is valid and nothing matches it.
    NoData,
    /// What should deliver the data does not: the absence of a series means nothing.
    SourceDown {
        /// Which source, and what is known of it.
        why: String,
    },
}

/// Answer to a query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// What was found.
    pub found: Found,
    /// What the provider warned of, such as shards that did not answer. An answer with warnings may be incomplete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// What an answer says where one number was asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// The number.
    Value(f64),
    /// Nothing matched.
    NoData,
    /// The source is down.
    SourceDown(String),
    /// There is a value, and it is no number.
    NotFinite(Value),
    /// This many series matched, and none is more right than the others.
    ManySeries(usize),
    /// The answer is incomplete, and says why.
    Incomplete(String),
}

impl Answer {
    /// The newest value of the only series.
    pub fn reading(&self) -> Reading {
        if let Some(warning) = self.warnings.first() {
            return Reading::Incomplete(warning.clone());
        }
        match &self.found {
            Found::NoData => Reading::NoData,
            Found::SourceDown { why } => Reading::SourceDown(why.clone()),
            Found::Series(series) => match series.as_slice() {
                [] => Reading::NoData,
                [one] => match one.points.last() {
                    None => Reading::NoData,
                    Some((_, Value::Finite(value))) => Reading::Value(*value),
                    Some((_, other)) => Reading::NotFinite(*other),
                },
                many => Reading::ManySeries(many.len()),
            },
        }
    }
}

/// A range query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeQuery {
    /// The query, in the provider's own language.
    pub query: String,
    /// First moment.
    pub from: Timestamp,
    /// Last moment.
    pub to: Timestamp,
    /// Time between two values. A provider may widen it.
    pub step: Duration,
}

/// A mark on the time line of dashboards: a deployment began, ended, was rolled back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The provider's id; empty before it is known.
    #[serde(default)]
    pub id: String,
    /// When.
    pub at: Timestamp,
    /// One line.
    pub title: String,
    /// More.
    #[serde(default)]
    pub text: String,
    /// Tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// Which markers to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkerQuery {
    /// Not before.
    pub from: Timestamp,
    /// Not after.
    pub to: Timestamp,
    /// Tags that must be equal.
    pub tags: BTreeMap<String, String>,
}

/// What a monitor says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MonitorState {
    /// All is well.
    Ok,
    /// Its condition holds, but not long enough.
    Pending,
    /// Something is not well.
    Warn,
    /// Something is wrong.
    Alert,
    /// It has nothing to judge by.
    NoData,
    /// Anything else, by the provider's word: never to be read as `Ok`.
    Unknown(String),
}

/// A monitor or alerting rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Monitor {
    /// The provider's id.
    pub id: String,
    /// Name.
    pub name: String,
    /// What it says, silenced or not.
    pub state: MonitorState,
    /// Since when it says so, where the provider tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Until when it tells nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silenced_until: Option<Timestamp>,
    /// Tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// A silence to set. It always ends, so that one that is left behind ends too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Monitors with all these tags.
    pub tags: BTreeMap<String, String>,
    /// When it ends.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
}

/// Monitoring, such as Datadog, or Prometheus with Grafana and Alertmanager.
///
/// # Contract
/// 1. A query that matches one series answers it, with its labels and a value at the moment asked for.
/// 2. A query that matches several series answers all of them.
/// 3. A valid query that matches nothing is `NoData`; never a zero, never an error.
/// 4. Where what delivers the data is down, the answer is `SourceDown`, never `NoData`.
/// 5. Values that are not finite are told as such.
/// 6. A query that cannot be understood fails with `Invalid`.
/// 7. A range query answers values in order of time, none outside of the range; where there was none, none.
/// 8. `mark` has no idempotency token: the same marker twice is there twice. `markers` finds them by tag and time, in
///    order of time; a new one may be missing for some seconds.
/// 9. `monitors` with tags gives those that carry all of them; each tells its state.
/// 10. A silence shows in `silenced_until` of the monitors that it selects, until it ends or is lifted; it does not
///     change their state. Lifting an unknown silence succeeds.
#[async_trait]
pub trait Monitoring: fmt::Debug + Send + Sync + 'static {
    /// Values at a moment; now where none is given.
    ///
    /// # Errors
    /// See the contract.
    async fn query(&self, query: &str, at: Option<Timestamp>) -> Result<Answer, ProviderError>;

    /// Values over time.
    ///
    /// # Errors
    /// See the contract.
    async fn range(&self, query: &RangeQuery) -> Result<Answer, ProviderError>;

    /// Sets a marker; answers its id.
    ///
    /// # Errors
    /// When the provider cannot be reached or refuses.
    async fn mark(&self, marker: &Marker) -> Result<String, ProviderError>;

    /// Reads markers.
    ///
    /// # Errors
    /// When the provider cannot be reached or refuses.
    async fn markers(&self, query: &MarkerQuery) -> Result<Vec<Marker>, ProviderError>;

    /// Reads monitors, all pages.
    ///
    /// # Errors
    /// When the provider cannot be reached or refuses.
    async fn monitors(&self, tags: &BTreeMap<String, String>) -> Result<Vec<Monitor>, ProviderError>;

    /// Silences monitors; answers the silence's id.
    ///
    /// # Errors
    /// When the provider cannot be reached or refuses.
    async fn silence(&self, silence: &Silence) -> Result<String, ProviderError>;

    /// Lifts a silence; absence is success.
    ///
    /// # Errors
    /// When the provider cannot be reached or refuses.
    async fn unsilence(&self, id: &str) -> Result<(), ProviderError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(values: &[f64]) -> Series {
        let points = values.iter().map(|value| (Timestamp::UNIX_EPOCH, Value::from(*value))).collect();
        Series { labels: BTreeMap::new(), points }
    }

    fn answer(found: Found) -> Answer {
        Answer { found, warnings: Vec::new() }
    }

    #[test]
    fn a_reading_never_turns_silence_into_a_number() {
        let down = Found::SourceDown { why: "scrape failed".into() };
        assert_eq!(answer(Found::NoData).reading(), Reading::NoData);
        assert_eq!(answer(Found::Series(Vec::new())).reading(), Reading::NoData);
        assert_eq!(answer(Found::Series(vec![series(&[])])).reading(), Reading::NoData);
        assert_eq!(answer(down).reading(), Reading::SourceDown("scrape failed".into()));
        let nan = answer(Found::Series(vec![series(&[1.0, f64::NAN])]));
        assert_eq!(nan.reading(), Reading::NotFinite(Value::NotANumber));
        let infinite = answer(Found::Series(vec![series(&[f64::NEG_INFINITY])]));
        assert_eq!(infinite.reading(), Reading::NotFinite(Value::NegativeInfinity));
        let many = answer(Found::Series(vec![series(&[1.0]), series(&[1.0])]));
        assert_eq!(many.reading(), Reading::ManySeries(2));
        assert_eq!(answer(Found::Series(vec![series(&[1.0, 2.0])])).reading(), Reading::Value(2.0));
    }

    #[test]
    fn an_answer_with_warnings_is_incomplete() {
        let found = Found::Series(vec![series(&[1.0])]);
        let partial = Answer { found, warnings: vec!["one shard did not answer".into()] };
        assert_eq!(partial.reading(), Reading::Incomplete("one shard did not answer".into()));
    }
}
