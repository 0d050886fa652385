//! Amounts with their units.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::NameError;

/// An amount as Kubernetes writes it, such as `250m` or `512Mi`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Quantity(String);

/// Suffixes and what they multiply by.
const UNITS: &[(&str, f64)] = &[
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("m", 0.001),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("", 1.0),
];

impl Quantity {
    /// As a number of whole units: CPUs or bytes.
    pub fn value(&self) -> f64 {
        split(&self.0).map_or(0.0, |(number, factor)| number * factor)
    }

    /// The unit, empty where none is written.
    pub fn unit(&self) -> &str {
        self.0.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
    }

    /// The text, as the API takes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn split(text: &str) -> Option<(f64, f64)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor = UNITS.iter().find(|(name, _)| *name == unit)?.1;
    if number.is_empty() || number.starts_with('.') || number.ends_with('.') {
        None
    } else {
        Some((number.parse().ok()?, factor))
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        match split(text) {
            Some(_) => Ok(Self(text.to_owned())),
            None => Err(QuantityError(format!("`{text}` is no amount; write it like `250m` or `512Mi`"))),
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct QuantityError(pub(super) String);

impl From<NameError> for QuantityError {
    fn from(error: NameError) -> Self {
        Self(error.to_string())
    }
}

/// A share from 1 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Percent(pub u8);

impl FromStr for Percent {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let number = text.strip_suffix('%').and_then(|number| number.trim().parse().ok());
        match number.filter(|number| (1..=100).contains(number)) {
            Some(number) => Ok(Self(number)),
            None => Err(QuantityError(format!("`{text}` is no share; write it like `70%`"))),
        }
    }
}

/// A TCP port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Port(pub u16);

impl FromStr for Port {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        match text.parse() {
            Ok(number) if number > 0 => Ok(Self(number)),
            _ => Err(QuantityError(format!("`{text}` is no port; write a number from 1 to 65535"))),
        }
    }
}

/// A status of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Status(pub u16);

impl FromStr for Status {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        match text.parse() {
            Ok(number) if (100..600).contains(&number) => Ok(Self(number)),
            _ => Err(QuantityError(format!("`{text}` is no status of HTTP; write one like `200`"))),
        }
    }
}

/// A time span in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seconds(pub u64);

impl Seconds {
    /// As time for something.
    ///
    /// # Errors
    /// When it is no time at all.
    pub fn at_least_one(self) -> Result<Self, QuantityError> {
        if self.0 == 0 {
            return Err(QuantityError("there has to be some time, at least 1s".to_owned()));
        }
        Ok(self)
    }
}

impl FromStr for Seconds {
    type Err = QuantityError;

    /// `90s`, `15m`, `1h30m`, `2d`.
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let refuse =
            || QuantityError(format!("`{text}` is no time span; write it like `90s`, `15m` or `1h30m`"));
        let mut total = 0_u64;
        let mut number = String::new();
        if text.is_empty() {
            return Err(refuse());
        }
        for c in text.chars() {
            if c.is_ascii_digit() {
                number.push(c);
                continue;
            }
            let unit = match c {
                's' => 1,
                'm' => 60,
                'h' => 3600,
                'd' => 86_400,
                _ => return Err(refuse()),
            };
            let amount: u64 = std::mem::take(&mut number).parse().map_err(|_| refuse())?;
            total = amount.checked_mul(unit).and_then(|part| total.checked_add(part)).ok_or_else(refuse)?;
        }
        if number.is_empty() { Ok(Self(total)) } else { Err(refuse()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_units() {
        assert!(("512Mi".parse::<Quantity>().unwrap().value() - 536_870_912.0).abs() < 1.0);
        assert!(("250m".parse::<Quantity>().unwrap().value() - 0.25).abs() < 1e-9);
        for text in ["", "Mi", "5x", "1.", ".5", "-1"] {
            assert!(text.parse::<Quantity>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn spans_have_units() {
        assert_eq!("1h30m".parse::<Seconds>().unwrap(), Seconds(5400));
        for text in ["", "15", "m", "1x", "1h3", "99999999999999999999d"] {
            assert!(text.parse::<Seconds>().is_err(), "{text:?}");
        }
        assert!(Seconds(0).at_least_one().is_err() && Seconds(1).at_least_one().is_ok());
    }

    #[test]
    fn ports_and_statuses_are_in_their_range() {
        assert_eq!("8080".parse::<Port>().unwrap(), Port(8080));
        for text in ["0", "65536", "http", "-1", ""] {
            assert!(text.parse::<Port>().unwrap_err().to_string().contains("1 to 65535"), "{text:?}");
        }
        assert_eq!("204".parse::<Status>().unwrap(), Status(204));
        assert!("99".parse::<Status>().is_err() && "600".parse::<Status>().is_err());
    }

    #[test]
    fn shares_have_a_sign() {
        assert_eq!("70%".parse::<Percent>().unwrap(), Percent(70));
        for text in ["70", "0%", "101%", "%"] {
            assert!(text.parse::<Percent>().is_err(), "{text:?}");
        }
    }
}
