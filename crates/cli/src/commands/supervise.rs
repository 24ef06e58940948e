//! This program as the supervisor of a job, and as the nursery that makes supervisors for an agent. It reads the
//! same environment as the agent, so what it runs a job with is the same too.

use super::run::{self, Use};
use crate::agent_config;
use crate::env::{EnvReader, System};
use crate::exit::{Exit, Failure};
use crate::{logging, paths, program_name};
use agent::{AgentConfig, SupervisorCommand, catch_requests, nursery, supervise};
use runtimes::oci::Tried;
use runtimes::private_mounts;
use secrecy::{ExposeSecret, SecretString};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Which helper it is.
pub(crate) const ROLE: &str = "supervise";

/// Variables that supervisors get, or do not, apart from those of the agent's own environment.
pub(crate) type HandedOn = Vec<(String, Option<OsString>)>;

/// What starts a nursery for an agent called `name` that keeps its state below `data_dir`, with these variables
/// besides, and with what the agent has found out of this host. `starter` puts it in a scope of its own, if it is to
/// have one.
pub(crate) fn command(
    data_dir: &Path,
    name: &str,
    env: HandedOn,
    tried: Option<&Tried>,
    starter: Vec<OsString>,
) -> SupervisorCommand {
    // It is plain data; without it, a supervisor finds out by itself.
    let tried = tried.and_then(|tried| serde_json::to_string(tried).ok()).unwrap_or_default();
    SupervisorCommand {
        program: "/proc/self/exe".into(),
        // Variables can be bound to it.
        arg0: program_name().into(),
        args: vec![crate::HELPER.into(), ROLE.into(), data_dir.into(), name.into(), tried.into()],
        env,
        starter,
    }
}

/// What supervisors are told of an agent's identity: it stands in for the shared secret, and they register nothing.
pub(crate) fn identity(secret: &SecretString) -> HandedOn {
    vec![
        ("EXECUTOR_FRONTEND_PASSWORD".to_owned(), Some(secret.expose_secret().into())),
        ("EXECUTOR_REGISTRATION_TOKEN".to_owned(), None),
    ]
}

/// Its life; `args` are those after its role.
pub(crate) fn main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let (Some(data_dir), Some(name), Some(tried)) = (args.next(), args.next(), args.next()) else {
        return ExitCode::FAILURE;
    };
    let tried = serde_json::from_slice(tried.as_encoded_bytes()).ok();
    match run(&PathBuf::from(data_dir), &name.to_string_lossy(), tried) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { exit, message }) => {
            tracing::error!(message, "the supervisor of a job failed");
            ExitCode::from(exit as u8)
        }
    }
}

fn run(data_dir: &Path, name: &str, tried: Option<Tried>) -> Result<(), Failure> {
    let variables = System::variables();
    let mut env = EnvReader::new(&variables, &program_name());
    logging::start(&mut env);
    let (connection, mut settings) = run::read_as_supervisor(env)?;
    let failed = |fault: &(dyn std::error::Error + 'static)| Failure::chain(Exit::System, fault);
    // All that supervisors have in common is there. What follows is done by each of them.
    let Some(job) = nursery().map_err(|fault| failed(&fault))? else { return Ok(()) };
    let mounts = private_mounts().map_err(|fault| failed(&fault));
    settings.guarded_by(agent_config::guardian_ahead());
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build();
    tokio.map_err(|fault| failed(&fault))?.block_on(async {
        settings.make_launcher();
        catch_requests().map_err(|fault| failed(&fault))?;
        let runtime = run::runtime(&settings.runtime, data_dir, mounts, name, Use::ForOneJob(tried))?.runtime;
        let config: AgentConfig =
            settings.config(connection, name, agent_config::work_dir(&paths::agent(data_dir)));
        supervise(config, runtime, job).await.map_err(|fault| failed(&fault))
    })
}
