//! Secrets that the control plane keeps, and the keys that they are sealed with.

use super::ServerArgs;
use super::database::{DatabaseArgs, ExportArgs, ImportArgs};
use super::known;
use clap::{Args, Subcommand};
use jobs::Namespace;
use jobs::secrets::Scope;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum SecretCommand {
    /// Keep a secret for jobs that ask for it; its value comes from standard input or a file, never from the command line.
    /// `DOCKER_AUTH_CONFIG` is what the images of all jobs are pulled with
    Set(SecretSetArgs),
    /// List the secrets, without their values
    List {
        #[command(flatten)]
        whose: WhoseArgs,
        /// JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Show a secret, without its value
    Show {
        #[command(flatten)]
        which: SecretArgs,
        /// JSON instead of text
        #[arg(long)]
        json: bool,
    },
    /// Forget a secret
    Delete {
        #[command(flatten)]
        which: SecretArgs,
        /// JSON instead of text
        #[arg(long)]
        json: bool,
    },
    /// List which jobs a secret was handed to, the latest first
    Log {
        #[command(flatten)]
        which: SecretArgs,
        /// How many at most
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=400))]
        limit: u32,
        /// Only what is older, as the page before told
        #[arg(long, value_name = "NUMBER")]
        before: Option<i64>,
        /// JSON instead of a table
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct SecretSetArgs {
    /// The variable that steps find it in: capital letters, digits and '_'
    pub(crate) key: String,
    /// A file that holds the value, taken as it is; without it standard input does, of one line without its end
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) whose: WhoseArgs,
    /// JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// Whose secrets are meant.
#[derive(Debug, Args)]
pub(crate) struct WhoseArgs {
    /// Jobs of which queue may have it: batches or codeintel [default: batches; of lists, both]
    #[arg(long, value_parser = known::scope(), hide_possible_values = true)]
    pub(crate) scope: Option<Scope>,
    /// Whose it is: global, user:NAME or org:NAME [default: that of the API token]
    #[arg(long)]
    pub(crate) namespace: Option<Namespace>,
}

/// One secret.
#[derive(Debug, Args)]
pub(crate) struct SecretArgs {
    /// Its key, or its id
    pub(crate) key: String,
    #[command(flatten)]
    pub(crate) whose: WhoseArgs,
}

/// The control plane, or something to do for it.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ServerCommandArgs {
    #[command(subcommand)]
    pub(crate) command: Option<ServerCommand>,
    #[command(flatten)]
    pub(crate) serve: ServerArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ServerCommand {
    /// Put a new key in front of those that secrets are sealed with. A server that runs takes it up within seconds, seals
    /// everything anew, and says in its log when an older key may be removed from the file
    RotateKey(RotateKeyArgs),
    /// Bring the schema of the database up to date, as a server does when it starts, and leave
    Migrate(DatabaseArgs),
    /// Write all that the database holds into a file; also while a server uses it. Texts of logs, files, mirrors and keys
    /// stay in the data directory
    Export(ExportArgs),
    /// Put what was exported into a database that holds nothing yet: of the same kind, or of the other one
    Import(ImportArgs),
    /// Look at everything that can be known of a control plane before it starts, and while it runs, and tell what to mend.
    /// Its options are those that the server would have
    Doctor(Box<ServerDoctorArgs>),
    /// Tell where the control plane is that jobs are submitted to, and which version it is, if it answers
    Status {
        /// JSON instead of text
        #[arg(long)]
        json: bool,
    },
    /// Print what the public API is, as OpenAPI 3.1
    Openapi,
}

#[derive(Debug, Args)]
pub(crate) struct ServerDoctorArgs {
    /// JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    /// Count warnings as faults
    #[arg(long)]
    pub(crate) strict: bool,
    #[command(flatten)]
    pub(crate) serve: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RotateKeyArgs {
    /// The server's data directory, which its key file is in [default: as for `executor server`]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// The key file, where it is another one
    #[arg(long, value_name = "FILE", conflicts_with = "data_dir")]
    pub(crate) secret_keys_file: Option<PathBuf>,
    /// Put it behind the others: it is known, and seals nothing. Where several servers share a database, each gets the file
    /// so before any has the new key in front
    #[arg(long)]
    pub(crate) standby: bool,
    /// JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
}
