//! One's turn: waited for as long as the command line says, and told.

use std::sync::{Arc, Mutex, PoisonError};

use maily_core::engine::{Event, Head, Listener, Plan, Planned, RunOptions, What, history::Release};

use crate::{
    args::WaitArgs,
    exit::CliError,
    render::Ui,
    wire::{Wired, span, whoami},
};

/// What is on record of an environment.
pub(crate) struct Seen {
    pub(crate) head: Head,
    pub(crate) base: Option<Release>,
}

/// Reads the records, in one's turn; somebody else's unfinished run is an error.
pub(crate) async fn look(ui: &Ui, wired: &Wired, wait: &WaitArgs) -> Result<Seen, CliError> {
    let head = in_turn(ui, wired, wait).await?;
    let base = wired.environment.released(&head).await?;
    Ok(Seen { head, base })
}

/// Takes a saved plan up, in one's turn.
pub(crate) async fn take_up(
    ui: &Ui,
    wired: &Wired,
    plan: Plan,
    wait: &WaitArgs,
) -> Result<Planned, CliError> {
    in_turn(ui, wired, wait).await?;
    Ok(wired.environment.adopt_plan(plan).await?)
}

/// Waits for one's turn, and reads the records' head in it.
async fn in_turn(ui: &Ui, wired: &Wired, wait: &WaitArgs) -> Result<Head, CliError> {
    Ok(wired.environment.turn(&turn(ui, wired, wait)?).await?)
}

/// How to wait for one's turn: as long as the command line says, telling who is waited for.
pub(super) fn turn(ui: &Ui, wired: &Wired, wait: &WaitArgs) -> Result<RunOptions, CliError> {
    let mut options = RunOptions::new(whoami());
    wait_at_most(&mut options, wired, wait)?;
    let (name, tells, hears) = (wired.environment.name.clone(), ui.teller(), hearing(ui));
    options.listener = Arc::new(move |event: &Event| match &event.what {
        What::Queued { holder } => {
            let holder = crate::render::by_the_clock(&crate::render::plain(holder));
            tells(&format!("waits for {holder}, who holds {name}"));
        }
        _ => hears.event(event),
    });
    Ok(options)
}

/// Tells what a cluster that does not answer keeps waiting.
pub(crate) fn hearing(ui: &Ui) -> Arc<dyn Listener> {
    let (tells, last) = (ui.teller(), Mutex::new(String::new()));
    Arc::new(move |event: &Event| {
        if let What::Waiting { why } = &event.what
            && is_news(&last, why)
        {
            tells(&format!("waits: {}", crate::render::plain(why)));
        }
    })
}

/// Whether something is said for the first time in a row: a server that hangs fails in the same words again and again.
fn is_news(last: &Mutex<String>, text: &str) -> bool {
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    let is_news = *last != text;
    text.clone_into(&mut last);
    is_news
}

/// One time for all that a command waits for: for the plan, for the run, for both anew.
pub(super) fn wait_at_most(options: &mut RunOptions, wired: &Wired, wait: &WaitArgs) -> Result<(), CliError> {
    options.wait = wait.wait_lock.as_deref().map(|text| span(text, "wait-lock")).transpose()?;
    options.since = options.wait.map(|_| wired.since.get());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_wait_is_told_once() {
        let last = Mutex::new(String::new());
        let told = ["no answer", "no answer", "no answer", "503", "no answer"].map(|why| is_news(&last, why));
        assert_eq!(told, [true, false, false, true, true]);
    }
}
