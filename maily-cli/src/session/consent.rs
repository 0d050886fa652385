//! The yes of a person, where somebody has to say it.

use std::io::{BufRead as _, Write as _};

use maily_core::{
    engine::{Planned, RunId, Wish},
    model::Approval,
};

use crate::{
    exit::{CliError, Code},
    render::Ui,
    signals::Asking,
    wire::Wired,
};

/// Asks for the yes to a plan, which is shown before. `again` is what to say where nobody can be asked.
pub(super) fn approve(ui: &Ui, wired: &Wired, planned: &Planned, again: &str) -> Result<(), CliError> {
    let name = &wired.environment.name;
    let needed = wired.resolved.environment.approval == Approval::Required;
    if !ui.can_ask() {
        ui.brief_plan(planned);
        let (code, message) = if needed {
            (Code::Approval, format!("`{name}` needs approval, and nobody can be asked here"))
        } else {
            (
                Code::Usage,
                "this needs a yes, and nobody can be asked here: standard input is no terminal".to_owned(),
            )
        };
        return Err(CliError::new(code, message).help(again));
    }
    ui.plan(planned)?;
    let question =
        if needed { format!("`{name}` needs approval. Carry it out?") } else { "Carry it out?".to_owned() };
    if wired.aside(|| ask(&question))? {
        Ok(())
    } else {
        Err(CliError::new(Code::Failed, "not approved: nothing was changed"))
    }
}

/// What somebody has said yes to.
pub(crate) enum Consent {
    /// Nobody has to be asked.
    Needless,
    /// The end of this run: not of one that has begun since.
    To(RunId),
    /// There was none to ask about.
    NoRun,
}

/// Asks whether the run that has not ended is to end otherwise than it began: the approval on which it began was for what
/// it brings, so that going on needs none, and everything else needs one of its own.
pub(crate) async fn consent(ui: &Ui, wired: &Wired, wish: Wish) -> Result<Consent, CliError> {
    let name = &wired.environment.name;
    let needed = wired.resolved.environment.approval == Approval::Required;
    if wish == Wish::Resume || (wish == Wish::Abort && !needed) {
        return Ok(Consent::Needless);
    }
    // Before the records are read: what is missing among them is written again.
    wired.environment.check().await?;
    let Some(unfinished) = wired.environment.head_to_end().await?.unfinished else {
        return Ok(Consent::NoRun);
    };
    let run = &unfinished.recorded.run;
    if !ui.can_ask() {
        let (code, message) = if needed {
            (Code::Approval, format!("`{name}` needs approval, and nobody can be asked here"))
        } else {
            (Code::Usage, "to end a run with everything as it is now needs a yes".to_owned())
        };
        return Err(CliError::new(code, message).help("say `--yes`"));
    }
    let question = match wish {
        Wish::Leave => format!("End run {run} and leave everything as it is now, neither new nor old?"),
        _ => format!("`{name}` needs approval. Take run {run} back?"),
    };
    match wired.aside(|| ask(&question))? {
        true => Ok(Consent::To(run.clone())),
        false => Err(CliError::new(Code::Failed, "not approved: the run is as it was")),
    }
}

/// Asks a question on the terminal; no answer is a no.
pub(crate) fn ask(question: &str) -> Result<bool, CliError> {
    let failed = |error: std::io::Error| {
        CliError::usage(format!("failed to ask: {error}")).help("with `--yes` nobody is asked")
    };
    let mut err = std::io::stderr().lock();
    let question = crate::render::beside_results(&format!("{question} [y/N]"));
    write!(err, "{question} ").and_then(|()| err.flush()).map_err(failed)?;
    drop(err);
    let _asking = Asking::begin();
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(failed)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
