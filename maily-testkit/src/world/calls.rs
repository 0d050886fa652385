//! Who asked for what, when, and what came of it.

use std::collections::VecDeque;

use jiff::Timestamp;
use maily_core::provider::ErrorKind;
use serde::{Deserialize, Serialize};

/// Calls that are kept.
const KEPT: usize = 500;

/// A call of a provider. It holds names and never a value: no secret can be in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub who: String,
    /// Of which provider, such as `cluster` or `secrets`.
    pub provider: String,
    /// What.
    pub operation: String,
    /// On what.
    pub resource: String,
    /// What came of it.
    pub outcome: CallOutcome,
}

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallOutcome {
    /// It was answered.
    Done,
    /// It was refused.
    Refused(ErrorKind),
    /// The provider did not answer, and nothing happened.
    Down,
    /// It took effect, and its answer was lost.
    Lost,
}

/// The last calls, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallLog(VecDeque<Call>);

impl CallLog {
    pub(crate) fn add(&mut self, call: Call) {
        self.0.push_back(call);
        if self.0.len() > KEPT {
            self.0.pop_front();
        }
    }

    /// The calls, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Call> {
        self.0.iter()
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there was none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_keeps_the_newest() {
        let mut log = CallLog::default();
        for number in 0..KEPT + 10 {
            log.add(Call {
                at: Timestamp::UNIX_EPOCH,
                who: "maily".into(),
                provider: "cluster".into(),
                operation: "get".into(),
                resource: number.to_string(),
                outcome: CallOutcome::Done,
            });
        }
        assert_eq!(log.len(), KEPT);
        assert_eq!(log.iter().next().map(|call| call.resource.as_str()), Some("10"));
    }
}
