//! One function per command: arguments to library calls to screens.

mod deploy;
mod doctor;
mod fence;
mod logs;
mod look;
mod phased;
mod project;
mod sandbox;
mod schema;
mod shell;

use maily_core::engine::{RunId, Wish};
use maily_testkit::sim::Mode;

use crate::{
    args::{Args, Command, EnvCommand, Globals, ShowCommand},
    exit::{CliError, Code},
    render::{Ui, of_environment},
    session::{self, Consent},
    wire::{Wired, Workshop},
};

/// Carries out a command.
pub(crate) async fn dispatch(args: Args) -> Result<Code, CliError> {
    let globals = args.globals;
    let ui = Ui::new(&globals);
    if globals.sandbox && globals.kubeconfig.is_some() {
        return Err(
            CliError::usage("`--kubeconfig` means nothing in a sandbox").help("leave one of the two away")
        );
    }
    match args.command {
        Command::Init(args) => project::init(&ui, &globals, &args),
        Command::Env(EnvCommand::Bind(args)) => project::bind(&ui, &globals, &args).await,
        Command::Env(EnvCommand::List) => project::list(&ui, &globals),
        Command::Plan(args) => deploy::plan(&ui, &globals, &args).await,
        Command::Apply(args) => deploy::apply(&ui, &globals, &args).await,
        Command::Deploy(args) => deploy::deploy(&ui, &globals, &args).await,
        Command::PhasedDeploy(args) => phased::deploy(&ui, &globals, &args).await,
        Command::Rollback(args) => deploy::rollback(&ui, &globals, &args).await,
        Command::Remove(args) => deploy::remove(&ui, &globals, &args).await,
        Command::Status(args) => look::status(&ui, &globals, &args).await,
        Command::History(args) => look::history(&ui, &globals, &args).await,
        Command::Show(ShowCommand::Run { env, run }) => look::run(&ui, &globals, &env, run.as_deref()).await,
        Command::Show(ShowCommand::Release { env, release }) => {
            look::release(&ui, &globals, &env, release).await
        }
        Command::Show(ShowCommand::Project { env }) => project::show(&ui, &globals, &env),
        Command::Logs(args) => logs::logs(&ui, &globals, &args).await,
        Command::Resume(args) => {
            in_environment(&globals, args.env.env.as_deref(), async |wired| {
                let only = args.run.as_deref().map(RunId::from);
                session::take_over(&ui, wired, only.as_ref(), Wish::Resume, &args.turn).await
            })
            .await
        }
        Command::Abort(args) => {
            let wish = if args.leave { Wish::Leave } else { Wish::Abort };
            in_environment(&globals, args.env.env.as_deref(), async |wired| {
                let consent = match args.options.yes {
                    true => Consent::Needless,
                    false => session::consent(&ui, wired, wish).await?,
                };
                let only = match &consent {
                    Consent::Needless => None,
                    Consent::To(run) => Some(run),
                    Consent::NoRun => return session::nothing_to(&ui, &wired.environment.name, wish, None),
                };
                session::take_over(&ui, wired, only, wish, &args.options.turn).await
            })
            .await
        }
        Command::Doctor(args) => doctor::doctor(&ui, &globals, &args).await,
        Command::Schema(args) => schema::schema(&ui, args.of),
        Command::Completions { shell } => shell::completions(&ui, shell),
        Command::Man { folder } => shell::man(&ui, &folder),
        Command::Sandbox(command) => sandbox::sandbox(&ui, &globals, &command).await,
    }
}

/// Opens an environment to change it, and writes down what the sandbox has become, also after an error.
async fn in_environment(
    globals: &Globals,
    name: Option<&str>,
    act: impl AsyncFnOnce(&Wired) -> Result<Code, CliError>,
) -> Result<Code, CliError> {
    let workshop = Workshop::open(globals, Mode::Write)?;
    let wired = workshop.wire(name).await?;
    let result = act(&wired).await;
    workshop.close();
    result.map_err(|error| match wired.resolved.project.environments.len() {
        0 | 1 => error,
        _ => CliError {
            message: of_environment(&error.message, &wired.environment.name),
            help: error.help.map(|help| of_environment(&help, &wired.environment.name)),
            ..error
        },
    })
}
