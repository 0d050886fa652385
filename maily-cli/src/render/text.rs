//! Small pieces of text.

use std::time::Duration;

use jiff::Timestamp;
use maily_core::engine::StepInfo;

/// A span in the two largest units that say something.
pub(crate) fn elapsed(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..10 => format!("{:.1}s", span.as_secs_f64()),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{}h", seconds / 86400, seconds % 86400 / 3600),
    }
}

/// What a step is about: its service, its gate, or what else its id names.
pub(crate) fn subject(step: &StepInfo) -> String {
    if let Some(service) = &step.service {
        return service.clone();
    }
    let parts: Vec<&str> = step.id.as_str().split('/').collect();
    let named = match parts.as_slice() {
        [_, _, "gate", gate] => gate,
        [_, subject, ..] => subject,
        _ => "",
    };
    named.to_owned()
}

/// What a step does: of several jobs and checks of one service the name, too.
pub(crate) fn doing(step: &StepInfo) -> String {
    let parts: Vec<&str> = step.id.as_str().split('/').collect();
    match parts.as_slice() {
        [_, _, "job" | "check", name] => format!("{} {name}", step.kind),
        _ => step.kind.clone(),
    }
}

/// Time from one moment to another; zero where clocks disagree.
pub(crate) fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// Text of others without anything that could steer a terminal, and without the hashes of values of Secrets.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => {
                // An escape sequence goes up to its final letter.
                if chars.next_if_eq(&'[').is_some() {
                    while chars.next_if(|c| !('\u{40}'..='\u{7e}').contains(c)).is_some() {}
                    chars.next();
                }
            }
            '\t' => out.push_str("    "),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    hidden(&out)
}

/// The same for a text of several lines.
pub(crate) fn clean(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(plain).collect();
    lines.join("\n")
}

/// What stands for a value of a Secret in plans and on record.
const SEALED: &str = "maily.dev/sealed:";
/// What a person reads in its place.
pub(super) const HIDDEN: &str = "(value hidden)";

/// A text without the hashes of values of Secrets: they say nothing to a person but that there is one.
pub(crate) fn hidden(text: &str) -> String {
    let mut parts = text.split(SEALED);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(HIDDEN);
        out.push_str(part.trim_start_matches(|c: char| c.is_ascii_hexdigit()));
    }
    out
}

/// A moment as a time of day, to the second.
pub(crate) fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M:%SZ").to_string()
}

/// A text in which moments are told as times of day, to the second.
pub(crate) fn by_the_clock(text: &str) -> String {
    let words: Vec<String> = text
        .split(' ')
        .map(|word| match word.parse::<Timestamp>() {
            Ok(at) => clock(at),
            Err(_) => word.to_owned(),
        })
        .collect();
    words.join(" ")
}

/// A number of things that have a regular plural.
pub(crate) fn several(count: usize, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}

/// What there is instead of what was named.
pub(crate) fn there_are<T: AsRef<str>>(names: &[T]) -> String {
    match names {
        [] => "there are none".to_owned(),
        [only] => format!("there is only {}", only.as_ref()),
        names => {
            let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
            format!("there are {}", names.join(", "))
        }
    }
}

/// At most so many characters.
pub(crate) fn short(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_of_others_do_not_reach_the_terminal() {
        assert_eq!(plain("a\u{1b}[31mred\u{1b}[0m\u{7}b\r\u{1b}]c\tz"), "aredb]c    z");
        assert_eq!(plain("plain ✓ text"), "plain ✓ text");
    }

    #[test]
    fn values_of_secrets_are_hidden_wherever_they_stand() {
        let told = "by kubectl: data.password maily.dev/sealed:a41c -> maily.dev/sealed:40f1, data.user";
        assert_eq!(hidden(told), "by kubectl: data.password (value hidden) -> (value hidden), data.user");
        assert_eq!(hidden("nothing of it"), "nothing of it");
        assert_eq!(plain("data.p maily.dev/sealed:a41c removed"), "data.p (value hidden) removed");
    }

    #[test]
    fn spans_are_short() {
        let texts =
            [300, 4_200, 59_000, 61_000, 3_700_000, 90_000_000].map(|ms| elapsed(Duration::from_millis(ms)));
        assert_eq!(texts, ["0.3s", "4.2s", "59s", "1m01s", "1h01m", "1d1h"]);
    }

    #[test]
    fn moments_are_told_by_the_clock() {
        let holder = "ops@vm/1 since 2026-11-25T21:04:38.791216Z (run 20261125-210438-abcdef)";
        assert_eq!(by_the_clock(holder), "ops@vm/1 since 21:04:38Z (run 20261125-210438-abcdef)");
    }

    #[test]
    fn one_is_not_several() {
        assert_eq!(there_are::<&str>(&[]), "there are none");
        assert_eq!(there_are(&["api"]), "there is only api");
        assert_eq!(there_are(&["api".to_owned(), "web".to_owned()]), "there are api, web");
        assert_eq!([several(1, "phase"), several(2, "phase")], ["1 phase", "2 phases"]);
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(short("abcdef", 4), "abc…");
        assert_eq!(short("abcd", 4), "abcd");
    }
}
