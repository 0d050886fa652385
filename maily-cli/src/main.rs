//! `mailyctl`: arguments in, one call of the library, a result or an error out.

mod args;
mod commands;
mod exit;
mod prober;
mod render;
mod session;
mod wire;

use std::process::ExitCode;

use clap::Parser as _;

#[tokio::main]
async fn main() -> ExitCode {
    let args = args::Args::parse();
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
