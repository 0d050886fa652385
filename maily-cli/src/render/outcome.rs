//! What came of a run, and what to do next.

use std::fmt::Write as _;

use maily_core::engine::{Failure, Outcome, RunEnd, Stuck};

use super::{paint::Paint, text::plain, tool::Tool};

pub(super) fn is_good(end: &RunEnd) -> bool {
    match end {
        RunEnd::Over {
            outcome: outcome @ (Outcome::Succeeded { .. } | Outcome::Unchanged { .. }), ..
        } => outcome.not_serving().is_empty(),
        _ => false,
    }
}

pub(super) fn report(environment: &str, end: &RunEnd, paint: Paint, tool: &Tool) -> String {
    let mut text = String::new();
    match end {
        RunEnd::Over { outcome: Outcome::Succeeded { release, not_serving }, .. }
            if not_serving.is_empty() =>
        {
            let _ = writeln!(text, "{} {environment} is at release {release}", paint.good("✓"));
        }
        RunEnd::Over { outcome: Outcome::Succeeded { release, not_serving }, .. } => {
            let what = "but not all that it left as it was serves";
            let _ = writeln!(text, "{} {environment} is at release {release}, {what}", paint.bad("✗"));
            idle(&mut text, environment, not_serving, paint, tool);
        }
        RunEnd::Over { outcome: Outcome::Unchanged { not_serving }, .. } if not_serving.is_empty() => {
            let _ = writeln!(text, "{} {environment}: nothing to do", paint.good("✓"));
        }
        RunEnd::Over { outcome: Outcome::Unchanged { not_serving }, .. } => {
            let what = "everything is as it was wanted, but not all of it serves";
            let _ = writeln!(text, "{} {environment}: {what}", paint.bad("✗"));
            idle(&mut text, environment, not_serving, paint, tool);
        }
        RunEnd::Over { outcome: Outcome::RolledBack { why, not_serving, .. }, run } => {
            let (sign, what) = if not_serving.is_empty() {
                (paint.warn("↩"), "everything is as it was before")
            } else {
                (paint.bad("✗"), "every object was put back as it was before, but not all is well")
            };
            let _ = writeln!(text, "{sign} {environment} was rolled back: {what}");
            failure(&mut text, why, paint);
            for gone in not_serving {
                let _ = writeln!(text, "  {}", paint.strong("was well before, and is not now:"));
                failure(&mut text, gone, paint);
            }
            if let Some(run) = run {
                next(&mut text, paint, &tool.call(&format!("show run --env {environment} {run}")));
            }
        }
        RunEnd::Over { outcome: Outcome::Cancelled { why }, .. } => {
            let _ = writeln!(
                text,
                "{} {environment}: ended before anything was changed: {}",
                paint.warn("↩"),
                plain(why)
            );
        }
        RunEnd::Over { outcome: Outcome::Stuck { items }, .. } => {
            let _ = writeln!(text, "{} {environment} is left as it is, as you asked", paint.bad("✗"));
            stuck(&mut text, items, paint);
        }
        RunEnd::Stuck { items, .. } => {
            let _ = writeln!(text, "{} {environment} needs a person", paint.bad("✗"));
            stuck(&mut text, items, paint);
            next(
                &mut text,
                paint,
                &format!("mend the cause, then `{}`", tool.call(&format!("resume --env {environment}"))),
            );
            next(
                &mut text,
                paint,
                &format!(
                    "or leave it as it is: `{}`",
                    tool.call(&format!("abort --leave --env {environment}"))
                ),
            );
        }
        RunEnd::Paused { run, why } => {
            let _ = writeln!(
                text,
                "{} run {run} of {environment} stopped and can be resumed: {}",
                paint.warn("◌"),
                plain(why)
            );
            next(&mut text, paint, &tool.call(&format!("resume --env {environment}")));
            next(
                &mut text,
                paint,
                &format!("or go back: {}", tool.call(&format!("abort --env {environment}"))),
            );
        }
    }
    text.truncate(text.trim_end().len());
    // Hints of the library name this program in backticks.
    tool.in_text(&text)
}

/// What was left as it was and does not serve, and how to see more of it.
fn idle(text: &mut String, environment: &str, not_serving: &[Failure], paint: Paint, tool: &Tool) {
    not_serving.iter().for_each(|why| failure(text, why, paint));
    next(text, paint, &tool.call(&format!("status --env {environment}")));
}

fn next(text: &mut String, paint: Paint, what: &str) {
    let _ = writeln!(text, "  {}: {what}", paint.strong("next"));
}

/// A failure with its evidence.
pub(super) fn failure(text: &mut String, why: &Failure, paint: Paint) {
    let _ = writeln!(text, "  {}: {} [{}]", paint.bad("why"), plain(&why.message), why.cause);
    if let Some(object) = &why.object {
        let at = why.evidence_at.map(|at| format!(", {at:.0}")).unwrap_or_default();
        let _ = writeln!(text, "  seen at: {}{at}", plain(object));
    }
    if !why.events.is_empty() {
        let _ = writeln!(text, "  its last events:");
        for event in &why.events {
            let _ = writeln!(text, "    {}", paint.faint(&plain(event)));
        }
    }
    if !why.log.is_empty() {
        let _ = writeln!(text, "  last lines of its log:");
        for line in &why.log {
            let _ = writeln!(text, "    {}", paint.faint(&plain(line)));
        }
    }
    if let Some(hint) = &why.hint {
        let _ = writeln!(text, "  {}: {}", paint.strong("help"), plain(hint));
    }
}

fn stuck(text: &mut String, items: &[Stuck], paint: Paint) {
    for item in items {
        let _ = writeln!(text, "  {}", paint.strong(item.step.as_str()));
        failure(text, &item.why, paint);
        let _ = writeln!(text, "  to do: {}", plain(&item.remedy));
    }
}
