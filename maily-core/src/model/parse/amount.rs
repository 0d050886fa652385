//! Amounts with a request and a limit.

use super::super::{Quantity, fields::Fields};

pub(super) fn range(fields: &mut Fields<'_, '_>, name: &'static str, default: &str) -> (Quantity, Quantity) {
    let fallback = || split(default).expect("the default is a range");
    let Some((text, place)) = fields.text(name) else { return fallback() };
    let errors = fields.errors();
    match split(&text) {
        Ok((low, high)) => {
            if let Some((message, help)) =
                [&low, &high].into_iter().find_map(|amount| wrong_unit(name, amount))
            {
                errors.add(place, message, Some(help));
            }
            (low, high)
        }
        Err(message) => {
            let help = if name == "cpu" {
                "write request..limit, like `250m..1`"
            } else {
                "write request..limit, like `512Mi..1Gi`"
            };
            errors.add(place, format!("`{name}`: {message}"), Some(help.into()));
            fallback()
        }
    }
}

fn split(text: &str) -> Result<(Quantity, Quantity), String> {
    let (low, high) = text.split_once("..").unwrap_or((text, text));
    let amount = |text: &str| text.parse::<Quantity>().map_err(|error| error.to_string());
    let (low, high) = (amount(low)?, amount(high)?);
    if low.value() > high.value() {
        return Err(format!("`{text}`: the request is above the limit"));
    }
    if high.value() <= 0.0 {
        return Err(format!("`{text}` is nothing"));
    }
    Ok((low, high))
}

/// Amounts that the API takes and nobody means: 512 bytes of memory, half a byte (`512m`), 500 Mi CPUs.
pub(super) fn wrong_unit(name: &str, amount: &Quantity) -> Option<(String, String)> {
    let number: String = amount.as_str().chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    match (name, amount.unit()) {
        ("cpu", "" | "m") => None,
        ("cpu", unit) => Some((
            format!("`{unit}` is no unit of `cpu`"),
            "write `250m` for a quarter of a CPU, or `2`".into(),
        )),
        (_, "") if amount.value() > 0.0 => {
            Some((format!("`{name}` has no unit"), format!("write `{number}Mi`, if that is meant")))
        }
        (_, "m") => Some((
            format!("`{name}`: `{amount}` is less than a byte"),
            format!("write `{number}Mi`, if that is meant"),
        )),
        _ => None,
    }
}
