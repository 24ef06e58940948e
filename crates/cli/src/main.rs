//! `executor`: the one binary. Reads the command line and the environment, chooses the
//! implementations and hands over.

mod agent_config;
mod args;
mod certificates;
mod client;
mod commands;
mod env;
mod exit;
mod first_process;
mod for_jobs;
mod lifecycle;
mod logging;
mod one_line;
mod paths;
mod shown;
mod systemd;
mod terminal;
mod usage;

use args::{Command, HelpFormat, ImageCommand, RunArgs, ServerArgs, ServerCommand, ServerCommandArgs};
use client::{Client, Settings};
use commands::serve::Known;
use commands::{
    agent, api_document, audit, completion, doctor, image, install, job, queue, repo, run, secret, serve,
    simulate, status, supervise, token, transfer, up, upload, user, validate,
};
use env::{EnvReader, System, Variables};
use exit::{Exit, Failure, Outcome};
use paths::Paths;
use runtimes::PrivateMounts;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use systemd::Notifier;

/// What the program is called with to be one of its own helpers.
const HELPER: &str = "internal-helper";
/// Open files without which no agent starts.
const FEWEST_FILES: u64 = 128;
/// Threads of an agent whose jobs have supervisors, which do the work: each more is memory for nothing.
const AGENT_THREADS: usize = 2;

fn main() -> ExitCode {
    keep_memory_out_of_core_dumps();
    runtimes::outlive_limits_of_files();
    let mut args = std::env::args_os().skip(1).peekable();
    // Every HTTP client needs it. Nobody else installs one, so this can't fail.
    let provide_tls = || rustls::crypto::ring::default_provider().install_default();
    if args.next_if(|first| first == HELPER).is_some() {
        if args.next_if(|role| role == systemd::scope::ROLE).is_some() {
            return systemd::scope::main(args);
        }
        if args.next_if(|role| role == supervise::ROLE).is_none() {
            return runtimes::helper_main(args);
        }
        let _ = provide_tls();
        return supervise::main(args);
    }
    let _ = provide_tls();
    let variables = System::variables();
    let done = match usage::read(std::env::args_os()) {
        Ok(cli) if first_process::is_this() && serves(cli.command.as_ref()) => {
            match first_process::attend() {
                Ok(code) => return code,
                Err(failure) => Err(failure),
            }
        }
        Ok(cli) => {
            if serves(cli.command.as_ref()) {
                // To read the command line took more than anything that follows for long.
                runtimes::give_back_memory();
            }
            run_command(&variables, cli.command.unwrap_or(Command::Run(RunArgs::default())))
        }
        Err(other) => other.tell(),
    };
    let exit = done.unwrap_or_else(|Failure { exit, message }| {
        // Standard error may be gone; the exit code still tells.
        let _ = writeln!(std::io::stderr(), "executor: {}", shown::lines(&message));
        exit
    });
    ExitCode::from(exit as u8)
}

/// Whether it goes on until it is told to end, and starts others meanwhile.
fn serves(command: Option<&Command>) -> bool {
    let Some(command) = command else { return true };
    matches!(command, Command::Run(RunArgs { help_env: None, .. }) | Command::Up(_) | Command::Server(_))
}

/// There are secrets in it: of jobs, of the operator, of whoever may submit. What we start inherits the limit.
fn keep_memory_out_of_core_dumps() {
    // To lower a limit needs no right, so this can't fail.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

fn run_command(variables: &Variables, command: Command) -> Outcome {
    let program = program_name();
    let mut env = EnvReader::new(variables, &program);
    let paths = Paths::read(&env);
    let host = agent_config::host_name(&env);
    logging::start(&mut env);

    match command {
        Command::Run(RunArgs { help_env: Some(format), json, .. }) => {
            help_env(if json { HelpFormat::Json } else { format }, &env);
            Ok(Exit::Success)
        }
        Command::Run(RunArgs { help_env: None, verify, .. }) => run_agent(env, &paths, &host, verify),
        Command::Validate => {
            let mounts = isolate_mounts(&mut env);
            let (connection, settings) = run::read(env)?;
            block_on(validate::run(&paths, &host, mounts, connection, settings))
        }
        Command::Doctor(args) => {
            let mounts = isolate_mounts(&mut env);
            doctor::run(&args, (variables, &program), env, &paths, mounts)
        }
        Command::Install(command) => install::run(&command),
        Command::TestVm(args) => install::test_vm(&args),
        Command::Up(args) => run_both(env, &paths, &host, args),
        Command::Server(ServerCommandArgs { command: None, serve: args }) => {
            let systemd = Notifier::read(&env);
            let roots = certificates::read(&mut env);
            let known = Known::read(&mut env, &args, roots)?;
            env.finish().map_err(Failure::usage)?;
            block_on(serve::run(&paths, args, known, &systemd))
        }
        Command::Server(ServerCommandArgs { command: Some(command), .. }) => {
            beside_the_server(&paths, command, env)
        }
        Command::Job(command) => call(env, &paths, async |client| job::run(client, variables, command).await),
        Command::Queue(command) => call(env, &paths, async |client| queue::run(client, command).await),
        Command::Agent(command) => call(env, &paths, async |client| agent::run(client, command).await),
        Command::Token(command) => call(env, &paths, async |client| token::run(client, command).await),
        Command::Upload(command) => call(env, &paths, async |client| upload::run(client, command).await),
        Command::User(command) => call(env, &paths, async |client| user::run(client, command).await),
        Command::Audit(args) => call(env, &paths, async |client| audit::run(client, args).await),
        Command::Secret(command) => call(env, &paths, async |client| secret::run(client, command).await),
        Command::Repo(command) => call(env, &paths, async |client| repo::run(client, command).await),
        Command::Completion { shell } => completion::run(shell),
        Command::Image(command) => run_image(env, &paths, command),
        Command::Sim(args) => {
            env.finish().map_err(Failure::usage)?;
            simulate::run(&args)
        }
    }
}

fn run_agent(mut env: EnvReader<'_>, paths: &Paths, host: &str, verify: bool) -> Outcome {
    check_open_files()?;
    let mounts = isolate_mounts(&mut env);
    let guardian = agent_config::guardian_ahead();
    let (connection, mut settings) = run::read(env)?;
    settings.guarded_by(guardian);
    let threads = settings.supervised.then_some(AGENT_THREADS);
    block_on_threads(threads, run::run(paths, host, mounts, connection, settings, verify))
}

fn run_both(mut env: EnvReader<'_>, paths: &Paths, host: &str, args: ServerArgs) -> Outcome {
    check_open_files()?;
    let mounts = isolate_mounts(&mut env);
    let guardian = agent_config::guardian_ahead();
    let roots = certificates::named(&env);
    let known = Known::read(&mut env, &args, roots)?;
    let mut settings = agent_config::read_for_up(env).map_err(Failure::usage)?;
    settings.guarded_by(guardian);
    block_on(up::run(paths, host, mounts, args, known, settings))
}

fn run_image(mut env: EnvReader<'_>, paths: &Paths, command: ImageCommand) -> Outcome {
    let rights = become_root(&mut env);
    if matches!(command, ImageCommand::Import { .. }) {
        // Without, files would not keep their owners.
        rights?;
    }
    env.finish().map_err(Failure::usage)?;
    image::run(paths, command)
}

/// What is done for a server and not by it. Of the environment each reads what it needs, so that nothing else can keep an
/// operator from it.
fn beside_the_server(paths: &Paths, command: ServerCommand, env: EnvReader<'_>) -> Outcome {
    match command {
        ServerCommand::Doctor(args) => block_on(doctor::run_for_server(paths, *args, env)),
        ServerCommand::Status { json } => call(env, paths, async |client| status::run(client, json).await),
        ServerCommand::Openapi => api_document::run(),
        ServerCommand::RotateKey(args) => serve::rotate_key(paths, args, &env),
        ServerCommand::Migrate(args) => block_on(transfer::run_migrate(paths, args)),
        ServerCommand::Export(args) => block_on(transfer::run_export(paths, args)),
        ServerCommand::Import(args) => block_on(transfer::run_import(paths, args)),
    }
}

/// Has the control plane do something that the environment, or the user's settings, name.
fn call(mut env: EnvReader<'_>, paths: &Paths, work: impl AsyncFnOnce(&Client) -> Outcome) -> Outcome {
    let client = Settings::client(&mut env, paths)?;
    env.finish().map_err(Failure::usage)?;
    block_on(work(&client))
}

/// With fewer, nothing that an agent begins comes to a good end.
fn check_open_files() -> Result<(), Failure> {
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < FEWEST_FILES => Err(Failure::system(format!(
            "an agent may have {limit} open files here and needs {FEWEST_FILES}, and 64 more for each job: raise the \
             limit (LimitNOFILE of a systemd unit, or `ulimit -n`)"
        ))),
        _ => Ok(()),
    }
}

/// Mounts that jobs need are made where only this process and its children see them, so that they
/// are gone with it. Must happen while there is only one thread; whether it is needed shows later.
fn isolate_mounts(env: &mut EnvReader<'_>) -> Result<PrivateMounts, Failure> {
    become_root(env)?;
    runtimes::private_mounts().map_err(|fault| Failure::chain(Exit::System, &fault))
}

/// An ordinary user becomes root of a user namespace where containers of ours run the jobs. Must happen
/// while there is only one thread.
fn become_root(env: &mut EnvReader<'_>) -> Result<(), Failure> {
    if rustix::process::geteuid().is_root() || !agent_config::chooses_oci(env) {
        return Ok(());
    }
    let search_path = env.text("PATH").unwrap_or_default();
    let done = runtimes::become_root(&agent_config::helper(), search_path.as_ref());
    done.map_err(|fault| Failure::chain(Exit::System, &fault))
}

fn block_on(work: impl Future<Output = Outcome>) -> Outcome {
    block_on_threads(None, work)
}

/// As many as there are processors, unless it is said how many.
fn block_on_threads(threads: Option<usize>, work: impl Future<Output = Outcome>) -> Outcome {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = threads {
        builder.worker_threads(threads);
    }
    let runtime = builder.enable_all().build();
    runtime.map_err(|fault| Failure::chain(Exit::System, &fault))?.block_on(work)
}

fn help_env(format: HelpFormat, env: &EnvReader<'_>) {
    let text = match format {
        HelpFormat::Text => env::help::text(env),
        HelpFormat::Markdown => env::help::markdown(),
        HelpFormat::Json => format!("{:#}\n", env::help::json(env)),
    };
    // Whoever read it may have seen enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// The base name of the program as it was called, which variables can be bound to.
fn program_name() -> String {
    let called = std::env::args_os().next().unwrap_or_default();
    Path::new(&called)
        .file_name()
        .map_or_else(|| "executor".into(), |name| name.to_string_lossy().into_owned())
}
