//! The command line.

mod completion;
mod database;
mod identity;
mod job;
mod known;
#[cfg(test)]
mod of_the_api;
mod queueing;
mod results;
mod secrets;
mod sim;
mod stock;
mod users;

pub(crate) use completion::Shell;
pub(crate) use database::{DatabaseArgs, ExportArgs, ImportArgs};
pub(crate) use identity::{AuditArgs, InviteCommand, NumberedArgs, TokenCommand};
pub(crate) use job::{JobArgs, JobCommand, JobListArgs, JobRunArgs, JobSubmitArgs, JobUploadArgs};
pub(crate) use queueing::{AgentArgs, AgentCommand, QueueArgs, QueueCommand};
pub(crate) use results::{JobArtifactsArgs, JobLogsArgs, JobResultsArgs, UploadCommand};
pub(crate) use secrets::{
    RotateKeyArgs, SecretArgs, SecretCommand, SecretSetArgs, ServerCommand, ServerCommandArgs,
    ServerDoctorArgs, WhoseArgs,
};
pub(crate) use sim::SimArgs;
pub(crate) use stock::{ImageCommand, ImageStoreArgs, RepoCommand};
pub(crate) use users::UserCommand;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

const AFTER: &str = "Without a command it is `executor run`. What an agent can be told is in its environment: see \
                     `executor run --help-env`.";

/// Runs code that nobody should have to trust: isolated, limited, observable, with logs and results
/// that are not lost.
#[derive(Debug, Parser)]
#[command(name = "executor", version, max_term_width = 100, after_help = AFTER)]
pub(crate) struct Cli {
    /// What to do; without it, `run`.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a control plane and an agent together: the quickest way to try it all
    Up(ServerArgs),
    /// Start the control plane: queue, repositories, API
    Server(ServerCommandArgs),
    /// Start the agent: take jobs, run each in a sandbox, report
    Run(RunArgs),
    /// Check configuration, programs, host and shared secret as an agent would find them
    Validate,
    /// Look at everything that can be known of this host before a job runs on it, and tell what to mend
    Doctor(DoctorArgs),
    /// Print units for systemd. The other verbs are those of Sourcegraph's executor, for scripts that call them:
    /// they install nothing, and say what is needed here in its place
    #[command(subcommand)]
    Install(InstallCommand),
    /// Start a virtual machine to try it
    #[command(hide = true)]
    TestVm(TestVmArgs),
    /// Submit and look after jobs
    #[command(subcommand)]
    Job(JobCommand),
    /// Look after the queues: pause them, limit how many of their jobs run
    #[command(subcommand)]
    Queue(QueueCommand),
    /// Look after the agents that the control plane has heard of
    #[command(subcommand)]
    Agent(AgentCommand),
    /// Look after the secrets that jobs can ask for
    #[command(subcommand)]
    Secret(SecretCommand),
    /// Look after the repositories that jobs can use
    #[command(subcommand)]
    Repo(RepoCommand),
    /// Look after the tokens of the control plane's API: who may do what
    #[command(subcommand)]
    Token(TokenCommand),
    /// Look after the code indexes that jobs uploaded
    #[command(subcommand)]
    Upload(UploadCommand),
    /// Look after the people who can sign in to the control plane's pages
    #[command(subcommand)]
    User(UserCommand),
    /// List who did what, the latest first
    Audit(AuditArgs),
    /// Look after the container images on this host
    #[command(subcommand)]
    Image(ImageCommand),
    /// Try the queue and its leases against simulated faults: exits with 1 when a rule is broken, and tells the seed that
    /// repeats it
    Sim(SimArgs),
    /// Print what completes these commands in a shell
    Completion {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// Where everything is kept [default: `EXECUTOR_DATA_DIR`, else /var/lib/executor for root and ~/.local/share/executor
    /// for others]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:7080", value_parser = crate::commands::serve::listen)]
    pub(crate) listen: SocketAddr,
    /// A file with the certificate to serve by TLS with, and those that lead to its authority, PEM. Both files are read again
    /// when they change
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// A file with the certificate's private key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// A file with the URL of a PostgreSQL database (15 or newer) to keep jobs in, as postgres://USER:PASSWORD@HOST:PORT/NAME
    /// [default: a file in the data directory, executor.db]
    #[arg(long, value_name = "FILE")]
    pub(crate) database_url_file: Option<PathBuf>,
    /// What stays free on the disk of the data directory, such as 500M or 2G; 0 is no floor [default: 1G, on small disks a
    /// twentieth of them]. While less is free no jobs, files, artifacts, indexes, mirrors and texts of logs are taken; what
    /// keeps jobs going is
    #[arg(long, value_name = "SIZE", value_parser = jobs::parse_size)]
    pub(crate) disk_floor: Option<u64>,
    /// Site configuration, JSON with comments [default: DATA_DIR/site-config.jsonc, made on first start]
    #[arg(long, value_name = "FILE")]
    pub(crate) site_config: Option<PathBuf>,
    /// A file with the keys that secrets are sealed with, ID:KEY in each line, the first for new secrets; KEY as `openssl rand
    /// -hex 32` makes one [default: `EXECUTOR_SERVER_SECRET_KEYS`, else DATA_DIR/secret-keys, made on first start]
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_keys_file: Option<PathBuf>,
    /// A file with who we are where the site configuration's object store is, as `ACCESS_KEY_ID:SECRET_ACCESS_KEY`
    /// [default: `EXECUTOR_SERVER_S3_CREDENTIALS`]
    #[arg(long, value_name = "FILE")]
    pub(crate) s3_credentials_file: Option<PathBuf>,
    /// A proxy in front of the control plane, or a network of them, that is believed when it says whom a request comes
    /// from and that it came by https (X-Forwarded-For, -Proto, -Host). May be given several times
    #[arg(long, value_name = "ADDRESS|NETWORK", value_parser = crate::commands::serve::network)]
    pub(crate) trusted_proxy: Vec<IpNet>,
    /// How long an executor may be silent before its jobs are given to others: 3s to 1h. A network outage that is longer
    /// than this, less 5s, costs the jobs that run their try; a host that died costs its jobs as much time before they
    /// run again. An agent that is started again hands back at once what it lost. Executors that can't be told (any but
    /// this program's) have 25s at most, as they expect
    #[arg(long, value_name = "DURATION", default_value = "90s", value_parser = crate::commands::serve::lease)]
    pub(crate) lease: Duration,
    /// How often a job is tried again at no charge because its executor could not run it: its registry could not be
    /// reached, its sandbox not be made, the host's disk was full; 0 to 10
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=10))]
    pub(crate) fault_retries: u32,
}

/// What an agent can't do without.
const RUN_HELP: &str = "Its environment says what it does: EXECUTOR_FRONTEND_URL, EXECUTOR_FRONTEND_PASSWORD and \
    EXECUTOR_QUEUE_NAME (or EXECUTOR_QUEUE_NAMES) must be set; `executor doctor` looks at the rest.";

#[derive(Debug, Default, Args)]
#[command(after_help = RUN_HELP)]
pub(crate) struct RunArgs {
    /// Print every environment variable with its meaning, and leave
    #[arg(long, value_name = "FORMAT", num_args = 0..=1, default_missing_value = "text", require_equals = true)]
    pub(crate) help_env: Option<HelpFormat>,
    /// With `--help-env`: JSON instead of text
    #[arg(long, requires = "help_env")]
    pub(crate) json: bool,
    /// Check programs and host first, as `validate` does; the shared secret aside
    #[arg(long)]
    pub(crate) verify: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    /// Count warnings as faults
    #[arg(long)]
    pub(crate) strict: bool,
    /// Print every check with what it is about, as Markdown, and leave
    #[arg(long, conflicts_with_all = ["json", "strict"])]
    pub(crate) list: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum InstallCommand {
    /// Say of each of the verbs below what it would, and which packages are needed
    All,
    /// Say that ignite, which that executor starts virtual machines with, is not needed
    Ignite {
        /// Without effect
        #[arg(long, value_name = "DIR", default_value = "/usr/local/bin")]
        bin_dir: PathBuf,
    },
    /// Say that an image for such virtual machines is not needed
    Image {
        /// Which one: executor-vm, sandbox or kernel
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Say that network plugins for such virtual machines are not needed
    Cni,
    /// Say where `src`, Sourcegraph's command line client, is needed, and where it is to be had; nothing is fetched
    SrcCli {
        /// Without effect
        #[arg(long, value_name = "DIR", default_value = "/usr/local/bin")]
        bin_dir: PathBuf,
    },
    /// Print a unit file for systemd, with a comment on each line that is not plain
    SystemdUnit {
        /// Which: executor (the agent), executor-server (the control plane) or executor-user (an agent of an ordinary
        /// user)
        #[arg(value_name = "NAME", default_value = "executor")]
        name: UnitName,
    },
    /// Say that firewall rules around such virtual machines are not needed
    IptablesRules {
        /// Without effect
        #[arg(long)]
        recreate_chain: bool,
    },
}

/// The units there are.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum UnitName {
    Executor,
    ExecutorServer,
    ExecutorUser,
}

#[derive(Debug, Args)]
pub(crate) struct TestVmArgs {
    /// A repository to clone into it
    #[arg(long, value_name = "NAME")]
    pub(crate) repo: Option<String>,
    /// Which revision of it
    #[arg(long, value_name = "REV")]
    pub(crate) revision: Option<String>,
    /// Print nothing but the machine's name
    #[arg(long)]
    pub(crate) name_only: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum HelpFormat {
    Text,
    Markdown,
    Json,
}
