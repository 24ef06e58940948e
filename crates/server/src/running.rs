//! Starting the server and waiting for its end.

use crate::answers::Answers;
use crate::app::{App, Parts};
use crate::attention::Unheard;
use crate::auth::attempts::Attempts;
use crate::auth::first::FirstCode;
use crate::auth::old_secret::OldSecret;
use crate::auth::passwords::Passwords;
use crate::auth::secret;
use crate::bodies::Bodies;
use crate::checkpoint::SecretJobs;
use crate::config::ServerConfig;
use crate::disk_floor::DiskFloor;
use crate::error::ServerError;
use crate::executor_api::{Capacities, Claims};
use crate::fairness::Fairness;
use crate::files::Files;
use crate::fleet::{self, Fleet};
use crate::git::{self, Repositories};
use crate::listener::{Shown, Tls};
use crate::metrics::{Depths, Forwarded, Metrics};
use crate::public_api::Readiness;
use crate::results;
use crate::secret_keys::{self, SecretKeysError};
use crate::site_config::{self, SiteConfig};
use crate::slots::{InTurn, Slots};
use crate::{
    checkpoint, executor_api, heard_out, janitor, listener, pages, private_files, public_api, requests,
    retention, scaling, way,
};
use axum::{Router, middleware};
use jobs::{Clock, WatchedClock};
use secrecy::SecretString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use store::{DatabaseChoice, DatabaseClock, SqlStore, Store, StoreError, StoreOptions};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The API token's file in the data directory.
const API_TOKEN_FILE: &str = "api-token";
/// The site configuration in the data directory.
const SITE_CONFIG_FILE: &str = "site-config.jsonc";
/// The mirrors' directory in the data directory.
const REPOSITORIES_DIR: &str = "repositories";
/// The uploaded files' directory in the data directory.
const FILES_DIR: &str = "files";

/// A server that listens.
pub struct RunningServer {
    addr: SocketAddr,
    app: App,
    stopped: JoinHandle<()>,
}

impl RunningServer {
    /// Where it listens.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// For whom its certificate is, where connections to it are made safe.
    pub fn tls(&self) -> Option<Shown> {
        self.app.tls.as_ref().map(Tls::shown)
    }

    /// What the public API is called with.
    pub fn api_token(&self) -> &SecretString {
        &self.app.api_token
    }

    /// What executors present, as the site configuration says now.
    pub fn shared_secret(&self) -> Option<SecretString> {
        self.app.site.current().access_token.clone()
    }

    /// The path that signs in whoever opens it within ten minutes, once, as who may everything; a new one each time. None
    /// where somebody has an account already.
    pub async fn first_sign_in(&self) -> Result<Option<String>, ServerError> {
        if !self.app.store.people(None).await?.is_empty() {
            return Ok(None);
        }
        let file = |source| ServerError::File { path: "/dev/urandom".into(), source };
        Ok(Some(format!("/sign-in?code={}", self.app.first_code.make().map_err(file)?)))
    }

    /// Waits until the server has stopped and everything it took on is done.
    pub async fn join(self) -> Result<(), ServerError> {
        Ok(self.stopped.await?)
    }
}

/// Opens everything and listens. `stop` ends the server: it takes nothing new, ends waits and streams
/// at once, and lets the requests under way finish.
pub async fn start(mut config: ServerConfig, stop: CancellationToken) -> Result<RunningServer, ServerError> {
    config.data_dir = open_data_dir(&config.data_dir)?;
    let (app, store) = open(&config, &stop).await?;
    let listen = |source| ServerError::Listen { addr: config.listen, source };
    let socket = TcpListener::bind(config.listen).await.map_err(listen)?;
    let addr = socket.local_addr().map_err(listen)?;
    if let Some(scaling) = config.scaling.take() {
        scaling::begin(&app, scaling)?;
    }
    tracing::info!(%addr, data_dir = %config.data_dir.display(), version = config.version, "listening");
    let stopped = tokio::spawn(run(app.clone(), store, config, socket));
    Ok(RunningServer { addr, app, stopped })
}

/// Makes the data directory and gives its absolute path: git runs in other directories than we do.
fn open_data_dir(dir: &Path) -> Result<PathBuf, ServerError> {
    let made = private_files::make_private_dir(dir).and_then(|()| dir.canonicalize());
    made.map_err(|source| ServerError::File { path: dir.to_owned(), source })
}

/// Everything that calls are answered with; and the store beside it, which is closed after the last of them.
async fn open(config: &ServerConfig, stop: &CancellationToken) -> Result<(App, Arc<SqlStore>), ServerError> {
    git::check_installed().await.map_err(|fault| ServerError::Git(fault.to_string()))?;
    let dir = &config.data_dir;
    let site_path = config.site_config.clone().unwrap_or_else(|| dir.join(SITE_CONFIG_FILE));
    let (database, clock) = database_and_clock(config).await?;
    let keys = Arc::new(config.secret_keys.open(dir)?);
    let site = SiteConfig::open(&site_path, dir)?;
    let options = StoreOptions {
        dir: dir.clone(),
        database,
        objects: results::choice(config, site.current().bucket.clone())?,
        clock: clock.clone(),
        retry: config.retry,
        keys,
        max_log_bytes: config.limits.log_text,
        max_queued: config.limits.queued_jobs,
    };
    let opened = SqlStore::open(options).await;
    let sql = Arc::new(opened.map_err(|fault| not_opened(config, fault))?);
    let store: Arc<dyn Store> = sql.clone();
    let (mirrors, shared) = (dir.join(REPOSITORIES_DIR), config.database_url.is_some());
    let results = !store.objects().is_shared();
    let disk_floor = Arc::new(DiskFloor::new(dir.clone(), config.disk_floor, !shared, results));
    let limits = || config.limits.clone();
    let repositories =
        Repositories::open(mirrors, Arc::clone(&store), limits(), Arc::clone(&disk_floor), shared).await;
    let files = Files::open(dir.join(FILES_DIR), Arc::clone(&store), limits(), Arc::clone(&disk_floor)).await;
    let parts = Parts {
        repositories: repositories.map_err(|fault| ServerError::Git(fault.to_string()))?,
        files: files.map_err(|fault| ServerError::Files(fault.to_string()))?,
        store,
        site,
        fairness: Fairness::default(),
        fleet: Fleet::default(),
        claims: Claims::default(),
        capacities: Capacities::default(),
        secret_jobs: SecretJobs::default(),
        unheard: Unheard::default(),
        clock,
        trusted_proxies: config.trusted_proxies.clone(),
        version: config.version.clone(),
        data_dir: dir.clone(),
        tls: config.tls.clone().map(Tls::open).transpose()?,
        metrics: Arc::new(Metrics::default()),
        depths: Depths::default(),
        readiness: Readiness::default(),
        disk_floor,
        forwarded: Forwarded::new(config.limits.forwarded_metrics),
        attempts: Attempts::default(),
        old_secret: OldSecret::default(),
        passwords: Passwords::default(),
        first_code: FirstCode::default(),
        api_token: secret::open_api_token(&dir.join(API_TOKEN_FILE))?,
        submitted: Bodies::new(&config.limits, InTurn::new),
        about_jobs: Bodies::new(&config.limits, InTurn::among_addresses),
        of_executors: Bodies::new(&config.limits, InTurn::among_addresses),
        results_in: InTurn::new(config.limits.index_uploads, config.limits.index_uploads_per_client),
        reads: Slots::new(config.limits.reads, config.limits.reads_per_client),
        pages: InTurn::new(config.limits.pages, config.limits.pages_per_client),
        forms: Bodies::new(&config.limits, InTurn::new),
        answers: Answers::new(config.limits.answers, config.limits.answers_per_client),
        files_out: Answers::new(config.limits.file_reads, config.limits.file_reads_per_client),
        submits: Slots::new(config.limits.submits, config.limits.submits_per_client),
        git_transfers: InTurn::new(config.limits.git_transfers, config.limits.git_transfers_per_client),
        limits: config.limits.clone(),
        leases: config.lease,
        same_executor_later: config.retry.same_executor_later,
        stop: stop.clone(),
        tasks: TaskTracker::new(),
    };
    Ok((App(Arc::new(parts)), sql))
}

/// Servers of one database have one clock, which is its own: leases are counted by it.
async fn database_and_clock(
    config: &ServerConfig,
) -> Result<(DatabaseChoice, Arc<WatchedClock>), ServerError> {
    let (database, clock): (_, Arc<dyn Clock>) = match config.database_url.clone() {
        None => (DatabaseChoice::Embedded, Arc::clone(&config.clock)),
        Some(url) => {
            let clock = DatabaseClock::start(&url, &config.lease).await?;
            (DatabaseChoice::Postgres { url }, clock)
        }
    };
    Ok((database, Arc::new(WatchedClock::new(clock, &config.lease))))
}

/// Keys that don't fit are told with the place where they are configured, which the store does not know.
fn not_opened(config: &ServerConfig, fault: StoreError) -> ServerError {
    match fault {
        StoreError::UnknownSealingKey { .. } | StoreError::WrongSealingKey { .. } => {
            let place = config.secret_keys.place(&config.data_dir);
            SecretKeysError::NotThese { place, fault: fault.into() }.into()
        }
        fault => fault.into(),
    }
}

async fn run(app: App, store: Arc<SqlStore>, config: ServerConfig, socket: TcpListener) {
    app.tasks.spawn(janitor::take_back_stalled(app.clone()));
    app.tasks.spawn(janitor::release_due(app.clone()));
    app.tasks.spawn(janitor::tidy(app.clone()));
    app.tasks.spawn(retention::executors(app.clone()));
    app.tasks.spawn(fleet::count(app.clone()));
    app.tasks.spawn(retention::jobs(app.clone()));
    app.tasks.spawn(retention::files(app.clone()));
    app.tasks.spawn(results::check(app.clone()));
    app.tasks.spawn(results::seal_logs(app.clone()));
    app.tasks.spawn(results::sweep_objects(app.clone()));
    app.tasks.spawn(retention::uploads(app.clone()));
    app.tasks.spawn(retention::acts(app.clone()));
    app.tasks.spawn(site_config::note_changes(app.clone()));
    app.tasks.spawn(retention::identities(app.clone()));
    app.tasks.spawn(retention::accesses(app.clone()));
    app.tasks.spawn(retention::sessions(app.clone()));
    let (keys, data_dir) = (config.secret_keys.clone(), config.data_dir.clone());
    app.tasks.spawn(secret_keys::follow(app.clone(), Arc::clone(&store), keys, data_dir));
    app.tasks.spawn(checkpoint::empty(app.clone(), Arc::clone(&store)));
    listener::serve(socket, router(&app), &app).await;
    app.tasks.close();
    if tokio::time::timeout(config.limits.shutdown_grace, app.tasks.wait()).await.is_err() {
        tracing::warn!("work was still under way when the grace period ended: it was left");
    }
    if let Err(fault) = store.close().await {
        tracing::warn!(error = &fault as &dyn std::error::Error, "the store did not close cleanly");
    }
    tracing::info!("stopped");
}

fn router(app: &App) -> Router {
    Router::new()
        .merge(executor_api::router())
        .merge(public_api::router(app))
        .merge(pages::router(app))
        .fallback(pages::no_such_path)
        .method_not_allowed_fallback(public_api::no_such_method)
        .layer(middleware::from_fn_with_state(app.clone(), requests::watch))
        .layer(middleware::from_fn_with_state(app.stop.clone(), heard_out::hear_out))
        .layer(middleware::from_fn_with_state(app.clone(), way::note))
        .with_state(app.clone())
}
