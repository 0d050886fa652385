//! The programs that render a project's sources, with a word for who waits for them.

use std::{fmt, path::Path, time::Duration};

use async_trait::async_trait;
use maily_core::source::{Printed, ProgramTools, SourceError, Tools, spoken};

use crate::render::{Ui, plain};

/// So long nobody wonders.
const PATIENCE: Duration = Duration::from_secs(2);

/// Programs of the machine; tells whom one waits for, and what they say beside their output.
pub(crate) struct ToldTools {
    tell: Box<dyn Fn(&str) + Send + Sync>,
    mark: String,
}

impl ToldTools {
    pub(crate) fn new(ui: &Ui) -> Self {
        Self { tell: Box::new(ui.teller()), mark: ui.beside.warn("!") }
    }
}

impl fmt::Debug for ToldTools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToldTools").finish_non_exhaustive()
    }
}

#[async_trait]
impl Tools for ToldTools {
    async fn run(&self, program: &str, args: &[String], folder: &Path) -> Result<Printed, SourceError> {
        let tools = ProgramTools;
        let mut run = tools.run(program, args, folder);
        #[expect(clippy::disallowed_methods, reason = "a person waits by the machine's clock")]
        let soon = tokio::time::timeout(PATIENCE, &mut run).await;
        let ended = match soon {
            Ok(ended) => ended,
            Err(_) => {
                let (what, limit) = (spoken(program, args), ProgramTools::LIMIT.as_secs());
                (self.tell)(&plain(&format!("waits for `{what}` to end, at most {limit} s")));
                run.await
            }
        };
        if let Ok(printed) = &ended {
            for line in &printed.remarks {
                (self.tell)(&format!("{} {program}: {}", self.mark, plain(line)));
            }
        }
        ended
    }
}
