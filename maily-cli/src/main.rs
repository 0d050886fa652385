//! `mailyctl`: arguments in, one call of the library, a result or an error out.

mod args;
mod commands;
mod complete;
mod exit;
mod file;
mod prober;
mod programs;
mod render;
mod session;
mod signals;
mod wire;

use std::process::ExitCode;

// One thread: what it does is wait for others, and each further thread would have a heap of its own to keep.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    if complete::answered() {
        return ExitCode::SUCCESS;
    }
    let args = match args::parse() {
        Ok(args) => args,
        Err(error) if error.use_stderr() && args::wants_json(std::env::args_os()) => {
            let globals = args::Globals {
                file: "maily.yaml".into(),
                output: args::Output::Json,
                ..args::Globals::default()
            };
            render::error(&exit::CliError::from(error), &globals);
            return exit::Code::Usage.into();
        }
        Err(error) => error.exit(),
    };
    render::logging(args.globals.verbose);
    let globals = args.globals.clone();
    match commands::dispatch(args).await {
        Ok(code) => code.into(),
        Err(error) => {
            render::error(&error, &globals);
            error.code.into()
        }
    }
}
