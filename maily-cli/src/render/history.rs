//! The table of runs on record.

use std::fmt::Write as _;

use jiff::Timestamp;
use maily_core::{engine::Outcome, release::RunSummary};

use super::{
    log::word,
    paint::Paint,
    tables::columns,
    text::{between, elapsed, plain, short},
};

/// How a run ended, and why where that is worth telling.
fn ended(run: &RunSummary) -> (&'static str, Option<String>) {
    match &run.outcome {
        None if run.damaged.is_some() => {
            ("not known", Some("its journal is damaged: `mailyctl doctor`".to_owned()))
        }
        None => match &run.stuck {
            Some(why) => ("stuck", Some(plain(why))),
            None => ("has not ended", None),
        },
        Some(outcome @ Outcome::RolledBack { why, .. }) => (word(outcome), Some(plain(&why.message))),
        Some(outcome @ Outcome::Succeeded { not_serving, .. }) => {
            (word(outcome), not_serving.first().map(|why| plain(&why.message)))
        }
        Some(outcome) => (word(outcome), None),
    }
}

/// Runs on record. Where a terminal has so many columns, no row is longer: the reasons stand in lines of their own, and
/// who it was says more by its beginning, or not at all, than a line does that the terminal breaks.
pub(crate) fn history(runs: &[RunSummary], now: Timestamp, wide: Option<usize>, paint: Paint) -> String {
    const BY: usize = 3;
    if runs.is_empty() {
        return "nothing on record yet\n".to_owned();
    }
    let mut rows = vec![["RUN", "AGE", "WHAT", "BY", "RELEASE", "RESULT"].map(str::to_owned).to_vec()];
    let mut reasons = vec![None];
    for run in runs {
        let age = run.ended.or(run.started).map(|at| elapsed(between(at, now))).unwrap_or_default();
        let release = run.release.map(|release| release.to_string()).unwrap_or_default();
        let (result, why) = ended(run);
        let whole = why.as_ref().map_or_else(|| result.to_owned(), |why| format!("{result}: {why}"));
        rows.push(vec![run.run.to_string(), age, run.title.clone(), plain(&run.by), release, whole]);
        // Below its row, a reason takes the second half of "rolled back, not serving" along.
        reasons.push(why.map(|why| match result.split_once(", ") {
            Some((result, more)) => (result, format!("{more}: {why}")),
            None => (result, why),
        }));
    }
    let width = |rows: &[Vec<String>], column: usize| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let over = |rows: &[Vec<String>]| {
        let whole = (0..rows[0].len()).map(|column| width(rows, column) + 2).sum::<usize>() - 2;
        wide.map_or(0, |wide| whole.saturating_sub(wide))
    };
    let cut = |rows: &mut [Vec<String>], column: usize, least: usize| {
        let room = width(rows, column).saturating_sub(over(rows)).max(least);
        for row in rows {
            row[column] = short(&row[column], room);
        }
    };
    if over(&rows) <= width(&rows, BY).saturating_sub(8) {
        reasons.fill(None);
    }
    for (row, (result, _)) in
        rows.iter_mut().zip(&reasons).filter_map(|(row, why)| Some((row, why.as_ref()?)))
    {
        row[5] = (*result).to_owned();
    }
    cut(&mut rows, BY, 8);
    if over(&rows) > 0 {
        for row in &mut rows {
            row.remove(BY);
        }
        cut(&mut rows, 2, 12);
    }
    let result = rows[0].len() - 1;
    let table = columns(&rows, |line, column, cell| match (line, column, cell) {
        (0, ..) => paint.faint(cell),
        (_, column, "succeeded") if column == result => paint.good(cell),
        (_, column, _) if column == result => paint.warn(cell),
        _ => cell.to_owned(),
    });
    let mut text = String::new();
    for (row, why) in table.lines().zip(reasons) {
        let _ = writeln!(text, "{row}");
        if let Some((_, why)) = why {
            let room = wide.map_or(usize::MAX, |wide| wide.saturating_sub(4));
            let _ = writeln!(text, "    {}", short(&why, room));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use maily_core::engine::{Failure, ReleaseId, RunId};

    use super::*;

    #[test]
    fn a_table_of_runs_fits_a_terminal_and_says_how_each_of_them_ended() {
        let now = "2026-11-26T15:24:04Z".parse::<Timestamp>().expect("is a time");
        let why = Failure::new("crash-loop", "container `maily-api` crashes again and again (exit code 1)");
        let back = |not_serving| Outcome::RolledBack { step: None, why: why.clone(), not_serving };
        let run = |title: &str, outcome: Option<Outcome>| RunSummary {
            run: RunId::from("20261126-152229-dbceff"),
            title: title.to_owned(),
            by: "uid0@vm-of-the-night/24385".to_owned(),
            reason: None,
            started: None,
            ended: Some("2026-11-26T15:22:29Z".parse().expect("is a time")),
            outcome,
            release: None,
            versions: BTreeMap::new(),
            stuck: None,
            damaged: None,
        };
        let released = Outcome::Succeeded { release: ReleaseId(4), not_serving: vec![why.clone()] };
        let runs = [
            run("deploy v1.1.0", Some(back(Vec::new()))),
            run("roll back to release 5", Some(back(vec![why.clone()]))),
            run("deploy v1.0.0", None),
            run("deploy v0.9.0", Some(released)),
            RunSummary { stuck: Some("it was changed meanwhile".to_owned()), ..run("deploy v0.8.0", None) },
            RunSummary { damaged: Some("it is cut".to_owned()), ..run("", None) },
        ];
        let told = history(&runs, now, Some(80), Paint::default());
        let lines: Vec<&str> = told.lines().collect();
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{told}");
        let ends = ["rolled back", "rolled back", "has not ended", "released", "stuck"];
        for (row, end) in lines.iter().filter(|line| line.starts_with("2026")).zip(ends) {
            assert!(row.starts_with("20261126-152229-dbceff  1m35s  ") && row.ends_with(end), "{told}");
        }
        // Why stands below, with more room than beside.
        assert!(lines.contains(&"    container `maily-api` crashes again and again (exit code 1)"), "{told}");
        assert_eq!(told.matches("\n    not serving: container").count(), 2, "{told}");
        assert!(lines.contains(&"    it was changed meanwhile"), "{told}");
        assert!(lines.contains(&"    its journal is damaged: `mailyctl doctor`"), "{told}");
        // Where there is room, and in a pipe, all of it is one line.
        for wide in [Some(200), None] {
            let told = history(&runs, now, wide, Paint::default());
            assert!(told.contains("rolled back: container `maily-api` crashes again and again"), "{told}");
            assert_eq!(told.lines().count(), 7, "{told}");
        }
    }
}
