//! `executor up`: control plane and agent in one process.

use super::run::Agent;
use super::serve::{self, Known};
use super::supervise::HandedOn;
use crate::agent_config::{AgentSettings, Connection};
use crate::args::ServerArgs;
use crate::exit::{Exit, Failure, Outcome};
use crate::lifecycle::{self, Lifecycle};
use crate::logging;
use crate::paths::Paths;
use runtimes::PrivateMounts;
use secrecy::ExposeSecret;
use server::RunningServer;
use tokio_util::sync::CancellationToken;

/// What its agent serves: the control plane in this process, wherever that listens.
const SERVES: &str = "up";

/// Runs both until they are told to leave: first the agent, which still has to tell how its jobs
/// ended, then the control plane.
pub(crate) async fn run(
    paths: &Paths,
    host: &str,
    mounts: Result<PrivateMounts, Failure>,
    args: ServerArgs,
    known: Known,
    settings: AgentSettings,
) -> Outcome {
    if serve::tls_files(&args).is_some() {
        return Err(Failure::usage(
            "`executor up` is control plane and agent of one machine, which speak to each other in plain text: start \
             `executor server` with --tls-cert, and `executor run` beside it",
        ));
    }
    let lifecycle =
        Lifecycle::listen(lifecycle::OF_JOBS).map_err(|fault| Failure::chain(Exit::System, &fault))?;
    lifecycle.listen_to_leave().map_err(|fault| Failure::chain(Exit::System, &fault))?;
    let data_dir = paths.server_data_dir(args.data_dir.clone());
    let stop_server = CancellationToken::new();
    let server = serve::start(data_dir.clone(), &args, known, stop_server.clone()).await?;

    let connection = connection_to(&server)?;
    let handed_on = handed_on(&connection);
    let drain = &lifecycle.drain;
    let started = Agent::start(&data_dir, host, mounts, connection, settings, handed_on, SERVES, drain).await;
    let agent = match started {
        Ok(agent) => agent,
        Err(failure) => {
            stop_server.cancel();
            serve::join(server).await?;
            return Err(failure);
        }
    };
    agent.introduce()?;
    // A second reader of the same data directory must find the same images, wherever it was started.
    let absolute = std::fs::canonicalize(&data_dir).unwrap_or(data_dir);
    serve::ready(paths, &server, Some(absolute)).await?;

    let ended = agent.run(&lifecycle, Some(server.addr())).await;
    stop_server.cancel();
    let served = serve::join(server).await;
    if ended.is_ok() && served.is_ok() {
        logging::tell("all jobs are done; goodbye")?;
    }
    ended.and(served).map(|_| Exit::Success)
}

/// How its agent reaches the control plane in this process.
fn connection_to(server: &RunningServer) -> Result<Connection, Failure> {
    let url = serve::url(server.addr());
    let password = server.shared_secret().ok_or_else(|| {
        Failure::usage(
            "the site configuration has no executors.accessToken, so no agent can connect: give it one",
        )
    })?;
    Ok(Connection {
        url: url.parse().map_err(|fault| Failure::system(format!("{url}: {fault}")))?,
        password,
        registration: None,
        queues: wire::paths::QUEUES.map(str::to_owned).to_vec(),
        multi_queue: true,
    })
}

/// What the supervisors of its jobs can't read in the environment of this process: as variables, since
/// everybody can read arguments.
fn handed_on(connection: &Connection) -> HandedOn {
    let Connection { url, password, queues, .. } = connection;
    [
        ("EXECUTOR_FRONTEND_URL", Some(url.to_string())),
        ("EXECUTOR_FRONTEND_PASSWORD", Some(password.expose_secret().to_owned())),
        ("EXECUTOR_REGISTRATION_TOKEN", None),
        ("EXECUTOR_QUEUE_NAME", None),
        ("EXECUTOR_QUEUE_NAMES", Some(queues.join(","))),
    ]
    .map(|(name, value)| (name.to_owned(), value.map(Into::into)))
    .to_vec()
}
