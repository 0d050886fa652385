//! Draws the pictures of the documentation: runs `mailyctl` on a terminal of its own, in the sandbox, and writes what
//! stands on the screen as SVG.
//!
//! ```text
//! cargo build -p maily-cli && cargo run -p maily-cli --example picture
//! ```
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "an example prints, and waits by the machine's clock"
)]

mod screen;
#[path = "../../tests/terminal/mod.rs"]
mod terminal;

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// One picture: what is done before, and what is shown.
struct Scene {
    file: &'static str,
    before: &'static [&'static str],
    shown: &'static str,
    /// Exit code of the command that is shown.
    code: i32,
}

const SCENES: [Scene; 2] = [
    Scene { file: "run.svg", before: &[], shown: "phased-deploy --version v1.0.0 --yes", code: 0 },
    Scene {
        file: "failure.svg",
        before: &["sandbox fault add crash api@v1.1.0"],
        shown: "deploy --env production --version v1.1.0 --yes",
        code: 3,
    },
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let program = program()?;
    let folder = tempfile::tempdir()?;
    fs::copy(root.join("docs/examples/maily/maily.yaml"), folder.path().join("maily.yaml"))?;
    let command = |words: &str| {
        let mut command = Command::new(&program);
        command.current_dir(folder.path()).arg("--sandbox").args(words.split(' '));
        command.env_clear().envs([("USER", "ops"), ("TERM", "xterm-256color"), ("PATH", "/usr/bin:/bin")]);
        command
    };
    for scene in &SCENES {
        for words in scene.before {
            let done = command(words).output()?;
            if !done.status.success() {
                return Err(format!("`{words}`: {}", String::from_utf8_lossy(&done.stderr)).into());
            }
        }
        let (code, seen) = terminal::run(command(scene.shown), 110, None);
        if code != scene.code {
            return Err(format!("`{}` ended with {code}:\n{seen}", scene.shown).into());
        }
        let path = root.join("docs/images").join(scene.file);
        fs::write(&path, screen::svg(&format!("mailyctl --sandbox {}", scene.shown), seen.as_bytes(), 110))?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

/// The program beside this one.
fn program() -> Result<PathBuf, Box<dyn Error>> {
    let own = std::env::current_exe()?;
    let program = own.ancestors().nth(2).map(|folder| folder.join("mailyctl"));
    match program.filter(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => Err("`mailyctl` is not built yet: `cargo build -p maily-cli`".into()),
    }
}
