//! The figures as Markdown.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::{
    measure::{Cell, median},
    tools::Tool,
};

/// What is done to a namespace, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scene {
    /// Nothing is there.
    Install,
    /// Every image is another one.
    Upgrade,
    /// Nothing is different.
    Nothing,
    /// Back to the first version.
    Rollback,
}

impl Scene {
    pub(crate) const ALL: [Self; 4] = [Self::Install, Self::Upgrade, Self::Nothing, Self::Rollback];

    fn name(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Upgrade => "upgrade",
            Self::Nothing => "no-op",
            Self::Rollback => "rollback",
        }
    }

    /// The version that is there afterwards.
    pub(crate) fn version(self) -> &'static str {
        match self {
            Self::Install | Self::Rollback => "v1",
            Self::Upgrade | Self::Nothing => "v2",
        }
    }
}

pub(crate) struct Table {
    tools: Vec<Tool>,
    cells: BTreeMap<(usize, Scene, usize), Vec<Cell>>,
}

impl Table {
    pub(crate) fn new(tools: &[Tool]) -> Self {
        Self { tools: tools.to_vec(), cells: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, size: usize, scene: Scene, tool: Tool, cell: Cell) {
        if let Some(index) = self.tools.iter().position(|known| *known == tool) {
            self.cells.entry((size, scene, index)).or_default().push(cell);
        }
    }

    /// The three tables of one number of workloads.
    pub(crate) fn rows(&self, size: usize) -> String {
        let seconds = self.table(size, "seconds from start to all ready", |cells| {
            let median = median(cells.iter().map(Cell::seconds));
            if median >= crate::CAP.as_secs_f64() { "> 180".to_owned() } else { format!("{median:.2}") }
        });
        let requests = self.table(size, "API requests per workload", |cells| {
            format!("{:.1}", median(cells.iter().map(|cell| cell.requests)))
        });
        let peak = self.table(size, "peak resident memory in MiB", |cells| {
            format!("{:.0}", median(cells.iter().map(|cell| cell.peak_mib)))
        });
        format!("{seconds}\n{requests}\n{peak}")
    }

    fn table(&self, size: usize, what: &str, show: impl Fn(&[Cell]) -> String) -> String {
        let mut text = format!("**{size} workloads, {what}**\n\n| |");
        for tool in &self.tools {
            let _ = write!(text, " {} |", tool.name());
        }
        let timed = what.starts_with("seconds");
        let compared = timed.then(|| self.position(Tool::Mailyctl).zip(self.position(Tool::Bare))).flatten();
        if compared.is_some() {
            text.push_str(" mailyctl / bare |");
        }
        text.push_str("\n|---|");
        text.push_str(&"---|".repeat(self.tools.len() + usize::from(compared.is_some())));
        text.push('\n');
        for scene in Scene::ALL {
            let _ = write!(text, "| {} |", scene.name());
            for index in 0..self.tools.len() {
                let cells = self.cells.get(&(size, scene, index)).map(Vec::as_slice).unwrap_or_default();
                let shown = match cells.iter().find_map(|cell| cell.failure.as_deref()) {
                    Some(failure) => format!("failed: {failure}"),
                    None if cells.is_empty() => "–".to_owned(),
                    None => show(cells),
                };
                let _ = write!(text, " {shown} |");
            }
            if let Some((mine, bare)) = compared {
                let of = |index| {
                    let cells = self.cells.get(&(size, scene, index))?;
                    Some(median(cells.iter().map(Cell::seconds)))
                };
                let ratio = of(mine)
                    .zip(of(bare))
                    .map_or("–".to_owned(), |(mine, bare)| format!("{:.2}", mine / bare));
                let _ = write!(text, " {ratio} |");
            }
            text.push('\n');
        }
        text
    }

    fn position(&self, tool: Tool) -> Option<usize> {
        self.tools.iter().position(|known| *known == tool)
    }
}
