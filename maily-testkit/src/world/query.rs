//! The part of PromQL that the world understands: `metric{label="value",label!="value"}`, alone or in one of `sum`,
//! `avg`, `min`, `max`, `count`.

use std::collections::BTreeMap;

use maily_core::provider::ErrorKind;

use super::Refusal;

/// A query that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) aggregate: Option<Aggregate>,
    pub(super) metric: String,
    pub(super) matchers: Vec<Matcher>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aggregate {
    Sum,
    Avg,
    Min,
    Max,
    Count,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Matcher {
    pub(super) label: String,
    pub(super) equal: bool,
    pub(super) value: String,
}

const AGGREGATES: &[(&str, Aggregate)] = &[
    ("sum", Aggregate::Sum),
    ("avg", Aggregate::Avg),
    ("min", Aggregate::Min),
    ("max", Aggregate::Max),
    ("count", Aggregate::Count),
];

impl Aggregate {
    pub(super) fn of(self, values: &[f64]) -> f64 {
        let count = f64::from(u32::try_from(values.len()).unwrap_or(u32::MAX));
        let sum: f64 = values.iter().sum();
        match self {
            Self::Sum => sum,
            Self::Avg => sum / count,
            // What is no number does not win.
            Self::Min => values.iter().copied().fold(f64::NAN, f64::min),
            Self::Max => values.iter().copied().fold(f64::NAN, f64::max),
            Self::Count => count,
        }
    }
}

impl Query {
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let refuse = || Refusal {
            kind: ErrorKind::Invalid,
            message: format!(
                "`{text}` is no query: the sandbox knows metric{{label=\"value\"}}, alone or in sum, avg, min, max, count"
            ),
        };
        let mut rest = text.trim();
        let wrapped = AGGREGATES.iter().find_map(|(name, aggregate)| {
            let inner = rest.strip_prefix(name)?.trim_start().strip_prefix('(')?.strip_suffix(')')?;
            Some((*aggregate, inner.trim()))
        });
        let aggregate = wrapped.map(|(aggregate, inner)| {
            rest = inner;
            aggregate
        });
        let (metric, labels) = match rest.split_once('{') {
            Some((metric, labels)) => {
                (metric.trim(), labels.trim_end().strip_suffix('}').ok_or_else(refuse)?)
            }
            None => (rest, ""),
        };
        if !is_name(metric) {
            return Err(refuse());
        }
        let mut matchers = Vec::new();
        for part in labels.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (left, value) = part.split_once('=').ok_or_else(refuse)?;
            let (label, equal) = match left.trim_end().strip_suffix('!') {
                Some(label) => (label.trim_end(), false),
                None => (left.trim_end(), true),
            };
            let value = value.trim().strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            let value = value.filter(|value| !value.contains('"')).ok_or_else(refuse)?;
            if !is_name(label) {
                return Err(refuse());
            }
            matchers.push(Matcher { label: label.to_owned(), equal, value: value.to_owned() });
        }
        Ok(Self { aggregate, metric: metric.to_owned(), matchers })
    }

    pub(super) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let of = |label: &str| labels.get(label).map(String::as_str).unwrap_or_default();
        self.matchers.iter().all(|matcher| (of(&matcher.label) == matcher.value) == matcher.equal)
    }

    /// The value that a label has to have.
    pub(super) fn pinned(&self, label: &str) -> Option<&str> {
        let found = self.matchers.iter().find(|matcher| matcher.equal && matcher.label == label);
        found.map(|matcher| matcher.value.as_str())
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_understood_or_refused() {
        let query = Query::parse(r#" sum ( pods_ready{service="api", version!="v1.0.0"} ) "#).unwrap();
        assert_eq!((query.aggregate, query.metric.as_str()), (Some(Aggregate::Sum), "pods_ready"));
        assert_eq!((query.pinned("service"), query.pinned("version")), (Some("api"), None));
        for text in ["", "sum(", "a b", "x{service}", "x{service=api}", "x{", "rate(x[5m])", "x > 1", "1x"] {
            assert_eq!(Query::parse(text).expect_err(text).kind, ErrorKind::Invalid);
        }
    }

    #[test]
    fn what_is_no_number_does_not_win() {
        assert!((Aggregate::Max.of(&[1.0, f64::NAN, 3.0]) - 3.0).abs() < f64::EPSILON);
        assert!(Aggregate::Sum.of(&[1.0, f64::NAN]).is_nan());
    }
}
