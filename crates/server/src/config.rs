//! What a server is started with.

use crate::listener::TlsFiles;
use crate::pace::Pace;
use crate::scaling::Scaling;
use crate::secret_keys::SecretKeys;
use ipnet::IpNet;
use jiff::SignedDuration;
use jobs::files::{MAX_FILE_BYTES, MAX_FILES_BYTES};
use jobs::{Clock, LeasePolicy, RetryPolicy};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::{S3Credentials, SessionTerms, SystemClock};
use tls::Roots;

const MIB: usize = 1 << 20;

/// How long fetching from a repository's source may take, unless [`Limits::git_fetch`] says otherwise.
pub const GIT_FETCH: Duration = Duration::from_mins(10);

/// Everything [`crate::start`] needs to know.
#[derive(Clone)]
pub struct ServerConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What connections are made safe with; without it they are plain.
    pub tls: Option<TlsFiles>,
    /// Where everything is kept. Made when it is not there.
    pub data_dir: PathBuf,
    /// The URL of a PostgreSQL database, a secret; a file in the data directory without one. Mirrors of
    /// repositories are in the data directory all the same.
    pub database_url: Option<String>,
    /// The site configuration; `site-config.jsonc` in the data directory unless said otherwise.
    pub site_config: Option<PathBuf>,
    /// Bytes that stay free on the disk of the data directory; 0 is no floor, `None` one that fits the disk. Below it nothing is
    /// taken that grows as others like; what keeps jobs going is.
    pub disk_floor: Option<u64>,
    /// What secrets are sealed with.
    pub secret_keys: SecretKeys,
    /// Which clouds are told how long the queues are.
    pub scaling: Option<Scaling>,
    /// Who we are where a bucket is, if the site configuration names one.
    pub s3_credentials: Option<S3Credentials>,
    /// Whom we believe there.
    pub roots: Roots,
    /// How long a job stays its executor's without a heartbeat.
    pub lease: LeasePolicy,
    /// How often a job is tried.
    pub retry: RetryPolicy,
    /// Proxies that are believed when they say whom a request comes from, and that it came by https.
    pub trusted_proxies: Vec<IpNet>,
    /// The version this server says it is.
    pub version: String,
    /// Where time comes from, unless the database tells it.
    pub clock: Arc<dyn Clock>,
    /// What it takes at most.
    pub limits: Limits,
}

impl ServerConfig {
    /// The documented defaults for everything but the two that have none.
    pub fn new(listen: SocketAddr, data_dir: impl Into<PathBuf>) -> Self {
        Self {
            listen,
            tls: None,
            data_dir: data_dir.into(),
            database_url: None,
            site_config: None,
            disk_floor: None,
            secret_keys: SecretKeys::default(),
            scaling: None,
            s3_credentials: None,
            roots: Roots::default(),
            lease: LeasePolicy::default(),
            retry: RetryPolicy::default(),
            trusted_proxies: Vec::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            clock: Arc::new(SystemClock),
            limits: Limits::default(),
        }
    }
}

/// The server's limits. Each has a name, so that a refusal can tell it.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at one time. With all taken, one that has no request under way gives way to the next;
    /// if there is none, that waits in the kernel's queue.
    pub connections: usize,
    /// Requests under way of one client, that is of one address, at one time; one more is refused. Never
    /// more than three quarters of the connections, so that somebody else is always heard.
    pub requests_per_client: usize,
    /// How long a new connection may take until the head of its first request is there.
    pub first_head: Duration,
    /// How long a connection is kept until the head of its next request is there. Clients must give up
    /// idle connections sooner, or they meet one that was just closed.
    pub keep_alive: Duration,
    /// How long what was sent to a client may stay unread, or unanswered by a host that is gone: then its connection ends.
    pub unread: Duration,
    /// How long a client may take to send the body of a request other than git's, and how long one
    /// that sends or reads a file may stand still.
    pub body_read: Duration,
    /// How long an open git transfer may stand still.
    pub git_idle: Duration,
    /// How long a git client may take to say what it wants; the time that git keeps it waiting does not count.
    pub git_request: Duration,
    /// Bytes in the body of an ordinary executor call.
    pub call_body: usize,
    /// Bytes in the body of a log call.
    pub log_body: usize,
    /// Bodies of more than 256 KiB at one time, of each of three kinds of calls: of the public API, about jobs, and what executors
    /// say of themselves; more wait. Forms of pages, which are smaller, are a kind of their own.
    pub large_calls: usize,
    /// Those of one client, that is of one address.
    pub large_calls_per_client: usize,
    /// How long such a call waits for its turn.
    pub large_call_queue: Duration,
    /// Bytes of all other bodies of each of those kinds together, beyond the first 64 KiB of each; more wait as long.
    pub bodies: usize,
    /// Those of one client, that is of one address.
    pub bodies_per_client: usize,
    /// How long nothing may come of a body that has its turn.
    pub large_idle: Duration,
    /// Bytes in the body of a public API call.
    pub api_body: usize,
    /// Bytes in the body of a git request, after it was inflated.
    pub git_body: usize,
    /// Git transfers to executors at one time; more wait.
    pub git_transfers: usize,
    /// Those to one host.
    pub git_transfers_per_client: usize,
    /// How long a git request waits for one of those.
    pub git_queue: Duration,
    /// Fetches from repositories' sources at one time; more wait.
    pub git_fetches: usize,
    /// How long fetching from a repository's source may take.
    pub git_fetch: Duration,
    /// Bytes of the objects of one repository's mirror.
    pub mirror: u64,
    /// How long a question to a mirror, such as "which commit is this", may take.
    pub git_lookup: Duration,
    /// The longest a dequeue is held open.
    pub long_poll: Duration,
    /// Jobs that one queue holds.
    pub queued_jobs: u64,
    /// How often to look for ended jobs that were kept as long as the site configuration says.
    pub forget_jobs_every: Duration,
    /// For how long it is known who was given a secret.
    pub secret_accesses_kept: SignedDuration,
    /// How many such notes are kept.
    pub secret_accesses: u64,
    /// How often to look for those that are too old or too many.
    pub forget_accesses_every: Duration,
    /// How often logs of tries that are over are moved into the object store.
    pub seal_logs_every: Duration,
    /// How often it is looked through all logs for such that were missed.
    pub seal_all_logs_every: Duration,
    /// Bytes of log text of one job's try.
    pub log_text: u64,
    /// Bytes of one uploaded file.
    pub file: u64,
    /// Bytes of all uploaded files of one job.
    pub job_files: u64,
    /// Bytes of all uploaded files, each counted as [`store::FILE_CHARGE`] at least.
    pub files_total: u64,
    /// How long a file is kept after its upload, and after the end of the last job that names it.
    pub files_kept: Duration,
    /// Uploads at one time; more wait.
    pub uploads: usize,
    /// Those of one client, that is of one address.
    pub uploads_per_client: usize,
    /// How long an upload waits for one of those.
    pub upload_queue: Duration,
    /// How long an upload may take.
    pub upload: Duration,
    /// Bytes a second that an upload must have on average, once it has lasted for `body_read`.
    pub upload_rate: u64,
    /// Bytes of an uploaded index that come in one body.
    pub index_part: u64,
    /// Bytes that an index may have when it is unpacked.
    pub index_unpacked: u64,
    /// Bytes of all uploaded indexes together.
    pub indexes_total: u64,
    /// Bytes of all files together that jobs left.
    pub artifacts_total: u64,
    /// Indexes and files of jobs being uploaded at one time; more wait.
    pub index_uploads: usize,
    /// Those of one client, that is of one address.
    pub index_uploads_per_client: usize,
    /// How long an index may take to come in all its parts.
    pub index_begun_kept: SignedDuration,
    /// Submits under way at one time, those of clients that went away included; more wait.
    pub submits: usize,
    /// Those of one client, that is of one address.
    pub submits_per_client: usize,
    /// How long a submit waits for its turn.
    pub submit_queue: Duration,
    /// Lists that are made at one time; more wait.
    pub reads: usize,
    /// Those of one client, that is of one address.
    pub reads_per_client: usize,
    /// How long such a list waits for its turn.
    pub read_queue: Duration,
    /// Pages that are made at one time, half of them for one namespace at most; more wait, as long as lists.
    pub pages: usize,
    /// Those for one client, that is for one address.
    pub pages_per_client: usize,
    /// Bytes of pages and of answers of the public API of more than 64 KiB that are being sent, half of them for one namespace at most.
    pub answers: usize,
    /// Those to one client, that is to one address.
    pub answers_per_client: usize,
    /// Bytes of files of jobs that are in memory while executors read them.
    pub file_reads: usize,
    /// Those to one executor, that is to one address.
    pub file_reads_per_client: usize,
    /// How long such a call waits until there is room.
    pub file_read_queue: Duration,
    /// Repositories.
    pub repositories: usize,
    /// Acts in the audit log: of more the oldest go.
    pub audit_rows: u64,
    /// How long it is believed how long the queues are, when metrics are asked for.
    pub depths_kept: Duration,
    /// Bytes of the metrics that executors forward.
    pub forwarded_metrics: usize,
    /// How long a session of the pages lasts without being used.
    pub session_idle: SignedDuration,
    /// How long it lasts at all.
    pub session: SignedDuration,
    /// How long requests under way may take to finish when the server stops.
    pub shutdown_grace: Duration,
}

impl Limits {
    /// How slowly what is uploaded may come.
    pub(crate) const fn upload_pace(&self) -> Pace {
        Pace { idle: self.body_read, rate: self.upload_rate, whole: self.upload }
    }

    /// How slowly the body of a call may come that has a turn of its own.
    pub(crate) fn call_pace(&self) -> Pace {
        Pace { idle: self.large_idle.min(self.body_read), rate: self.upload_rate, whole: self.body_read }
    }

    /// How slowly a git client may say what it wants.
    pub(crate) const fn git_pace(&self) -> Pace {
        Pace { idle: self.git_idle, rate: self.upload_rate, whole: self.git_request }
    }

    /// How long sessions of the pages last.
    pub(crate) const fn sessions(&self) -> SessionTerms {
        SessionTerms { idle: self.session_idle, longest: self.session }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4_096,
            requests_per_client: 3_072,
            first_head: Duration::from_secs(10),
            keep_alive: Duration::from_mins(1),
            unread: Duration::from_mins(5),
            body_read: Duration::from_mins(1),
            git_idle: Duration::from_mins(1),
            git_request: Duration::from_mins(5),
            call_body: 4 * MIB,
            // Stock executors send the whole text of an entry again and again.
            log_body: 110 * MIB,
            // Escaped as JSON, a specification of 4 MiB may take several times that.
            api_body: 16 * MIB,
            large_calls: 16,
            large_calls_per_client: 12,
            large_call_queue: Duration::from_secs(30),
            bodies: 32 * MIB,
            bodies_per_client: 24 * MIB,
            large_idle: Duration::from_secs(10),
            git_body: 64 * MIB,
            git_transfers: 32,
            git_transfers_per_client: 24,
            git_queue: Duration::from_secs(30),
            git_fetches: 8,
            git_fetch: GIT_FETCH,
            mirror: 64 << 30,
            git_lookup: Duration::from_secs(30),
            long_poll: Duration::from_mins(1),
            queued_jobs: 1_000_000,
            forget_jobs_every: Duration::from_mins(5),
            secret_accesses_kept: SignedDuration::from_hours(90 * 24),
            secret_accesses: 1_000_000,
            forget_accesses_every: Duration::from_mins(5),
            seal_logs_every: Duration::from_secs(5),
            seal_all_logs_every: Duration::from_mins(1),
            log_text: 512 << 20,
            file: MAX_FILE_BYTES,
            job_files: MAX_FILES_BYTES,
            files_total: 32 << 30,
            files_kept: Duration::from_hours(1),
            uploads: 16,
            uploads_per_client: 12,
            upload_queue: Duration::from_secs(30),
            upload: Duration::from_mins(30),
            upload_rate: 16 << 10,
            index_part: 1 << 30,
            index_unpacked: 16 << 30,
            indexes_total: 64 << 30,
            artifacts_total: 128 << 30,
            index_uploads: 16,
            index_uploads_per_client: 12,
            index_begun_kept: SignedDuration::from_hours(24),
            submits: 128,
            submits_per_client: 96,
            submit_queue: Duration::from_secs(30),
            reads: 8,
            reads_per_client: 6,
            read_queue: Duration::from_secs(30),
            pages: 16,
            pages_per_client: 12,
            answers: 256 * MIB,
            answers_per_client: 192 * MIB,
            file_reads: 128 * MIB,
            file_reads_per_client: 96 * MIB,
            file_read_queue: Duration::from_secs(30),
            repositories: 10_000,
            audit_rows: 1_000_000,
            depths_kept: Duration::from_secs(2),
            forwarded_metrics: 64 * MIB,
            session_idle: SignedDuration::from_hours(12),
            session: SignedDuration::from_hours(7 * 24),
            shutdown_grace: Duration::from_secs(20),
        }
    }
}
