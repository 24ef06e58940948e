//! This program as the supervisor of a job, which an agent starts. It reads the same environment, so what
//! it runs the job with is the same too.

use super::run::{self, Use};
use crate::agent_config;
use crate::env::{EnvReader, System};
use crate::exit::{Exit, Failure};
use crate::{isolate_mounts, logging, paths, program_name};
use agent::{AgentConfig, SupervisorCommand, supervise};
use runtimes::oci::Tried;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Which helper it is.
pub(crate) const ROLE: &str = "supervise";

/// Variables that supervisors get, or do not, apart from those of the agent's own environment.
pub(crate) type HandedOn = Vec<(String, Option<OsString>)>;

/// What starts one for an agent called `name` that keeps its state below `data_dir`, with these variables
/// besides, and with what the agent has found out of this host.
pub(crate) fn command(
    data_dir: &Path,
    name: &str,
    env: HandedOn,
    tried: Option<&Tried>,
) -> SupervisorCommand {
    // It is plain data; without it, a supervisor finds out by itself.
    let tried = tried.and_then(|tried| serde_json::to_string(tried).ok()).unwrap_or_default();
    SupervisorCommand {
        program: "/proc/self/exe".into(),
        // Variables can be bound to it.
        arg0: program_name().into(),
        args: vec![crate::HELPER.into(), ROLE.into(), data_dir.into(), name.into(), tried.into()],
        env,
    }
}

/// Its life; `args` are those after its role.
pub(crate) fn main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let (Some(data_dir), Some(name), Some(tried), Some(job)) =
        (args.next(), args.next(), args.next(), args.next())
    else {
        return ExitCode::FAILURE;
    };
    let tried = serde_json::from_slice(tried.as_encoded_bytes()).ok();
    match run(&PathBuf::from(data_dir), &name.to_string_lossy(), tried, job.into()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { exit, message }) => {
            tracing::error!(message, "the supervisor of a job failed");
            ExitCode::from(exit as u8)
        }
    }
}

fn run(data_dir: &Path, name: &str, tried: Option<Tried>, job: PathBuf) -> Result<(), Failure> {
    let variables = System::variables();
    let mut env = EnvReader::new(&variables, &program_name());
    logging::start(&mut env);
    let mounts = isolate_mounts(&mut env);
    let (connection, settings) = run::read(env)?;
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build();
    tokio.map_err(|fault| Failure::chain(Exit::System, &fault))?.block_on(async {
        let runtime = run::runtime(&settings.runtime, data_dir, mounts, name, Use::ForOneJob(tried))?.runtime;
        let config: AgentConfig =
            settings.config(connection, name, agent_config::work_dir(&paths::agent(data_dir)));
        supervise(config, runtime, job).await.map_err(|fault| Failure::chain(Exit::System, &fault))
    })
}
