//! `completions` and `man`.

use std::path::Path;

use clap::CommandFactory as _;

use crate::{
    args::Args,
    complete,
    exit::{CliError, Code},
    render::{Ui, quoted, several},
};

pub(super) fn completions(ui: &Ui, shell: clap_complete::Shell) -> Result<Code, CliError> {
    let failed = |error: std::io::Error| {
        CliError::new(Code::Failed, format!("failed to make completions: {error}"))
            .help("`mailyctl completions --help` lists the shells that have some")
    };
    ui.print(&String::from_utf8_lossy(&complete::script(shell).map_err(failed)?))?;
    Ok(Code::Done)
}

pub(super) fn man(ui: &Ui, folder: &Path) -> Result<Code, CliError> {
    let failed = |error: std::io::Error| {
        CliError::new(Code::Failed, format!("failed to write man pages to `{}`: {error}", folder.display()))
            .help("name a folder that can be written, or made")
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(Args::command(), folder).map_err(failed)?;
    let pages = std::fs::read_dir(folder).map_err(failed)?.flatten();
    let ours = |page: &std::fs::DirEntry| page.file_name().to_string_lossy().starts_with("mailyctl");
    let count = pages.filter(ours).count();
    ui.tell(&format!(
        "wrote {} to `{}`: `man -l {}`",
        several(count, "man page"),
        folder.display(),
        quoted(&folder.join("mailyctl.1").display().to_string())
    ));
    Ok(Code::Done)
}
