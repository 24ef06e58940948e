//! `executor server`: the control plane.

use super::{print, serve_scaling};
use crate::args::{RotateKeyArgs, ServerArgs};
use crate::client::Settings;
use crate::env::EnvReader;
use crate::exit::{Exit, Failure, Outcome};
use crate::lifecycle::{self, Lifecycle};
use crate::logging;
use crate::one_line;
use crate::paths::Paths;
use crate::systemd::{self, Notifier, Watched};
use ipnet::IpNet;
use jobs::LeasePolicy;
use server::{
    RotatedKey, RunningServer, S3Credentials, SECRET_KEYS_FILE, Scaling, ScalingError, SecretKeys,
    SecretKeysError, ServerConfig, ServerError, Shown, SiteConfigError, TlsFiles,
};
use std::io::IsTerminal;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tls::Roots;
use tokio_util::sync::CancellationToken;

/// The variable that keys for secrets may be in.
const SECRET_KEYS: &str = "EXECUTOR_SERVER_SECRET_KEYS";
/// The variable that may say who we are where the object store is.
const S3_CREDENTIALS: &str = "EXECUTOR_SERVER_S3_CREDENTIALS";
/// Agents send four heartbeats while a lease lasts: more would cost more than a job that begins anew a little later.
const SHORTEST_LEASE: Duration = Duration::from_secs(3);
const LONGEST_LEASE: Duration = Duration::from_hours(1);

/// What the environment says of a control plane.
pub(crate) struct Known {
    /// What it seals secrets with.
    pub(crate) keys: SecretKeys,
    /// Which clouds are told how long the queues are.
    pub(crate) scaling: Option<Scaling>,
    /// Who it is where its object store is.
    s3_credentials: Option<S3Credentials>,
    /// Whom it believes there.
    roots: Roots,
}

impl Known {
    /// Reads it. What is wrong with one of the clouds is noted in `env`.
    pub(crate) fn read(env: &mut EnvReader<'_>, args: &ServerArgs, roots: Roots) -> Result<Self, Failure> {
        let s3_credentials = s3_credentials(env, args.s3_credentials_file.as_deref())?;
        Ok(Self { keys: secret_keys(env, args)?, scaling: serve_scaling::read(env), s3_credentials, roots })
    }
}

/// Reads an address to listen on.
pub(crate) fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "it must be an IP address and a port, such as 127.0.0.1:7080".to_owned())
}

/// Reads an address or a network.
pub(crate) fn network(text: &str) -> Result<IpNet, String> {
    let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network.map_err(|_| "it must be an IP address or a network, such as 10.0.0.4 or 10.0.0.0/24".to_owned())
}

/// Reads the length of a lease.
pub(crate) fn lease(text: &str) -> Result<Duration, String> {
    let lease = crate::env::duration(text)?;
    let fits = (SHORTEST_LEASE..=LONGEST_LEASE).contains(&lease);
    fits.then_some(lease).ok_or_else(|| "it must be from 3s to 1h".to_owned())
}

/// Serves until it is told to leave.
pub(crate) async fn run(paths: &Paths, args: ServerArgs, known: Known, systemd: &Notifier) -> Outcome {
    let lifecycle =
        Lifecycle::listen(lifecycle::OF_REQUESTS).map_err(|fault| Failure::chain(Exit::System, &fault))?;
    let data_dir = paths.server_data_dir(args.data_dir.clone());
    let server = start(data_dir, &args, known, lifecycle.drain.clone()).await?;
    ready(paths, &server, None).await?;
    let watched = Watched { server: Some(server.addr()), agent: None };
    let _told = systemd::attend(systemd, watched, lifecycle.drain.clone());
    join(server).await
}

/// Starts the control plane; it leaves when `stop` is cancelled.
pub(crate) async fn start(
    data_dir: PathBuf,
    args: &ServerArgs,
    known: Known,
    stop: CancellationToken,
) -> Result<RunningServer, Failure> {
    let mut config = ServerConfig::new(args.listen, data_dir);
    config.database_url = args.database_url_file.as_deref().map(database_url).transpose()?;
    config.tls = tls_files(args);
    config.disk_floor = args.disk_floor;
    config.site_config.clone_from(&args.site_config);
    config.secret_keys = known.keys;
    config.scaling = known.scaling;
    config.s3_credentials = known.s3_credentials;
    config.roots = known.roots;
    config.trusted_proxies.clone_from(&args.trusted_proxy);
    config.lease = LeasePolicy::of(args.lease);
    config.retry.max_faults = args.fault_retries;
    server::start(config, stop).await.map_err(|fault| Failure::chain(exit_of(&fault), &fault))
}

fn s3_credentials(env: &EnvReader<'_>, file: Option<&Path>) -> Result<Option<S3Credentials>, Failure> {
    let (text, place) = match (env.text(S3_CREDENTIALS), file) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            return Err(Failure::usage(format!(
                "there are credentials both in {S3_CREDENTIALS} and in --s3-credentials-file: leave one out"
            )));
        }
        (Some(text), None) => (text, S3_CREDENTIALS.to_owned()),
        (None, Some(file)) => {
            let option = "--s3-credentials-file";
            let text = one_line::read(option, file, "write ACCESS_KEY_ID:SECRET_ACCESS_KEY")?;
            (text, format!("{option} {}", file.display()))
        }
    };
    let wrong =
        || Failure::usage(format!("{place} must hold ACCESS_KEY_ID:SECRET_ACCESS_KEY and nothing else"));
    S3Credentials::parse(&text).ok_or_else(wrong).map(Some)
}

/// Where the keys for secrets are. Of two lists nobody should have to know which one counts.
fn secret_keys(env: &EnvReader<'_>, args: &ServerArgs) -> Result<SecretKeys, Failure> {
    match (env.text(SECRET_KEYS), &args.secret_keys_file) {
        (Some(_), Some(_)) => Err(Failure::usage(format!(
            "there are keys for secrets both in {SECRET_KEYS} and in --secret-keys-file: leave one out"
        ))),
        (Some(keys), None) => Ok(SecretKeys::Given(keys.into())),
        (None, Some(file)) => Ok(SecretKeys::File(file.clone())),
        (None, None) => Ok(SecretKeys::InDataDir),
    }
}

/// Puts a new key into the file of keys.
pub(crate) fn rotate_key(paths: &Paths, args: RotateKeyArgs, env: &EnvReader<'_>) -> Outcome {
    if env.text(SECRET_KEYS).is_some() {
        return Err(Failure::usage(format!(
            "the keys for secrets are in {SECRET_KEYS}: put a new ID:KEY in front of them there, KEY as `openssl rand -hex \
             32` makes one, and start the server again"
        )));
    }
    let in_data_dir = || paths.server_data_dir(args.data_dir).join(SECRET_KEYS_FILE);
    let file = args.secret_keys_file.unwrap_or_else(in_data_dir);
    let rotated = server::rotate_secret_key(&file, args.standby);
    let RotatedKey { id, file } = rotated.map_err(|fault| Failure::chain(Exit::Usage, &fault))?;
    let place = if args.standby { "stands by" } else { "comes first" };
    let told = format!("key {id} {place} in {}", file.display());
    let rotated = serde_json::json!({ "id": id, "file": file, "standby": args.standby });
    print::tell(args.json, &rotated, &told)
}

/// What connections are to be made safe with.
pub(crate) fn tls_files(args: &ServerArgs) -> Option<TlsFiles> {
    let (certificate, key) = args.tls_cert.clone().zip(args.tls_key.clone())?;
    Some(TlsFiles { certificate, key })
}

/// Reads a database's URL, which is a secret: it holds a password.
pub(crate) fn database_url(path: &Path) -> Result<String, Failure> {
    one_line::read("--database-url-file", path, "write postgres://USER:PASSWORD@HOST:PORT/NAME")
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
        | ServerError::NoS3Credentials
        | ServerError::SecretKeys(SecretKeysError::Content { .. } | SecretKeysError::NotThese { .. })
        | ServerError::Tls(_)
        | ServerError::Scaling(ScalingError::Credentials(_))
        | ServerError::DatabaseUrl(_) => Exit::Usage,
        ServerError::SiteConfig(SiteConfigError::File { source, .. })
        | ServerError::SecretKeys(SecretKeysError::File { source, .. })
        | ServerError::Listen { source, .. } => named(source),
        _ => Exit::System,
    }
}

/// Leaves the settings for the client and says that all is ready.
pub(crate) async fn ready(
    paths: &Paths,
    server: &RunningServer,
    data_dir: Option<PathBuf>,
) -> Result<(), Failure> {
    let server_url = url_of(server.addr(), server.tls().as_ref());
    Settings { server_url: server_url.clone(), api_token: server.api_token().clone(), data_dir }
        .write(&paths.settings)?;
    logging::tell(&format!("listening on {server_url}"))?;
    // Whoever reads a terminal may do everything already; of a file, or a service's log, nobody knows who reads it.
    if std::io::stdout().is_terminal() {
        let first = server.first_sign_in().await.map_err(|fault| Failure::chain(exit_of(&fault), &fault))?;
        logging::tell(&match first {
            Some(path) => format!("open {server_url}{path} within ten minutes to see it in a browser"),
            None => format!("open {server_url} to see it in a browser"),
        })?;
    }
    Ok(())
}

/// Waits for the control plane's end.
pub(crate) async fn join(server: RunningServer) -> Outcome {
    server.join().await.map_err(|fault| Failure::chain(Exit::System, &fault))?;
    Ok(Exit::Success)
}

/// Where a client on this host finds a server, and how.
pub(crate) fn url_of(addr: SocketAddr, tls: Option<&Shown>) -> String {
    tls.map_or_else(|| url(addr), |shown| safe_url(addr, shown))
}

/// The same by TLS: under a name that the certificate is for, if it is for one.
fn safe_url(addr: SocketAddr, shown: &Shown) -> String {
    let plain = url(addr);
    match shown.names.iter().find(|name| !name.contains('*')) {
        Some(name) => format!("https://{name}:{}", addr.port()),
        None => plain.replacen("http", "https", 1),
    }
}

/// Where a client on this host finds a server that listens on `addr`.
pub(crate) fn url(addr: SocketAddr) -> String {
    match addr {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => format!("http://127.0.0.1:{}", v4.port()),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => format!("http://[::1]:{}", v6.port()),
        addr => format!("http://{addr}"),
    }
}
