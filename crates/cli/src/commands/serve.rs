//! `executor server`: the control plane.

use crate::args::ServerArgs;
use crate::client::Settings;
use crate::exit::{Exit, Failure, Outcome};
use crate::lifecycle::{self, Lifecycle};
use crate::logging;
use crate::paths::Paths;
use crate::systemd::{self, Notifier, Watched};
use jobs::LeasePolicy;
use server::{RunningServer, ServerConfig, ServerError, SiteConfigError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Two heartbeats of an executor with the usual settings.
const SHORTEST_LEASE: Duration = Duration::from_secs(10);
const LONGEST_LEASE: Duration = Duration::from_hours(1);

/// Reads an address to listen on.
pub(crate) fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "it must be an IP address and a port, such as 127.0.0.1:7080".to_owned())
}

/// Reads the length of a lease.
pub(crate) fn lease(text: &str) -> Result<Duration, String> {
    let lease = crate::env::duration(text)?;
    let fits = (SHORTEST_LEASE..=LONGEST_LEASE).contains(&lease);
    fits.then_some(lease).ok_or_else(|| "it must be from 10s, which is two heartbeats, to 1h".to_owned())
}

/// Serves until it is told to leave.
pub(crate) async fn run(paths: &Paths, args: ServerArgs, systemd: &Notifier) -> Outcome {
    let lifecycle =
        Lifecycle::listen(lifecycle::OF_REQUESTS).map_err(|fault| Failure::chain(Exit::System, &fault))?;
    let data_dir = paths.server_data_dir(args.data_dir.clone());
    let server = start(data_dir, &args, lifecycle.drain.clone()).await?;
    ready(paths, &server, None)?;
    let watched = Watched { server: Some(server.addr()), agent: None };
    let _told = systemd::attend(systemd, watched, lifecycle.drain.clone());
    join(server).await
}

/// Starts the control plane; it leaves when `stop` is cancelled.
pub(crate) async fn start(
    data_dir: PathBuf,
    args: &ServerArgs,
    stop: CancellationToken,
) -> Result<RunningServer, Failure> {
    let mut config = ServerConfig::new(args.listen, data_dir);
    config.database_url = args.database_url_file.as_deref().map(database_url).transpose()?;
    config.site_config.clone_from(&args.site_config);
    config.lease = LeasePolicy::of(args.lease);
    config.retry.max_faults = args.fault_retries;
    server::start(config, stop).await.map_err(|fault| Failure::chain(exit_of(&fault), &fault))
}

/// Reads a database's URL, which is a secret: it holds a password.
fn database_url(path: &Path) -> Result<String, Failure> {
    let file = || format!("--database-url-file {}", path.display());
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| Failure::usage(format!("{} can't be read: {error}", file())))?;
    let url = text.trim();
    if url.is_empty() {
        let remedy = "write postgres://USER:PASSWORD@HOST:PORT/NAME into it";
        return Err(Failure::usage(format!("{} is empty: {remedy}", file())));
    }
    Ok(url.to_owned())
}

/// Whose a fault is: what was configured, or what the machine does. A data directory that can't be used is the
/// machine's, for every command.
fn exit_of(fault: &ServerError) -> Exit {
    let named = |source: &std::io::Error| {
        use std::io::ErrorKind as Kind;
        match source.kind() {
            Kind::StorageFull | Kind::QuotaExceeded | Kind::ReadOnlyFilesystem => Exit::System,
            _ => Exit::Usage,
        }
    };
    match fault {
        ServerError::SiteConfig(SiteConfigError::Content { .. })
        | ServerError::ApiToken { .. }
        | ServerError::DatabaseUrl(_) => Exit::Usage,
        ServerError::SiteConfig(SiteConfigError::File { source, .. })
        | ServerError::Listen { source, .. } => named(source),
        _ => Exit::System,
    }
}

/// Leaves the settings for the client and says that all is ready.
pub(crate) fn ready(paths: &Paths, server: &RunningServer, data_dir: Option<PathBuf>) -> Result<(), Failure> {
    let server_url = url(server.addr());
    Settings { server_url: server_url.clone(), api_token: server.api_token().clone(), data_dir }
        .write(&paths.settings)?;
    logging::tell(&format!("listening on {server_url}"))
}

/// Waits for the control plane's end.
pub(crate) async fn join(server: RunningServer) -> Outcome {
    server.join().await.map_err(|fault| Failure::chain(Exit::System, &fault))?;
    Ok(Exit::Success)
}

/// Where a client on this host finds a server that listens on `addr`.
pub(crate) fn url(addr: SocketAddr) -> String {
    match addr {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => format!("http://127.0.0.1:{}", v4.port()),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => format!("http://[::1]:{}", v6.port()),
        addr => format!("http://{addr}"),
    }
}
