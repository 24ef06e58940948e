//! What jobs leave, as the command line has it.

use clap::{Args, Subcommand};
use jobs::Namespace;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum UploadCommand {
    /// List the code indexes that jobs uploaded, the latest first
    List {
        /// Only of this repository
        #[arg(long, value_name = "NAME")]
        repo: Option<String>,
        /// Only of this namespace: global, user:NAME or org:NAME
        #[arg(long)]
        namespace: Option<Namespace>,
        /// Only those that say that they came of this job
        #[arg(long, value_name = "ID", value_parser = super::job::job_id)]
        job: Option<i64>,
        /// How many at most
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// Only what is older: the last number of the page before
        #[arg(long, value_name = "NUMBER")]
        before: Option<i64>,
        /// JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Show one
    Show {
        /// Its number
        #[arg(value_name = "NUMBER")]
        id: i64,
        /// JSON instead of text
        #[arg(long)]
        json: bool,
    },
    /// Save one in a file, compressed with gzip as it came
    Download {
        /// Its number
        #[arg(value_name = "NUMBER")]
        id: i64,
        /// Where to [default: index-NUMBER.scip.gz, or .lsif.gz, here]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// In place of a file that is there
        #[arg(long)]
        force: bool,
        /// JSON instead of text
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct JobArtifactsArgs {
    /// The job's id
    #[arg(value_parser = super::job::job_id)]
    pub(crate) id: i64,
    /// Of this try instead of the latest
    #[arg(long, value_name = "N")]
    pub(crate) attempt: Option<u32>,
    /// Save the files of this artifact
    #[arg(long, value_name = "NAME", conflicts_with = "all")]
    pub(crate) download: Option<String>,
    /// Save the files of all artifacts
    #[arg(long)]
    pub(crate) all: bool,
    /// Where to; made if it is not there [default: here]
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// In place of files that are there
    #[arg(long)]
    pub(crate) force: bool,
    /// JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct JobResultsArgs {
    /// The job's id
    #[arg(value_parser = super::job::job_id)]
    pub(crate) id: i64,
    /// Of this try instead of the latest
    #[arg(long, value_name = "N")]
    pub(crate) attempt: Option<u32>,
    /// Print the changes of all steps together, for `git apply -p0`, and nothing else
    #[arg(long, conflicts_with = "json")]
    pub(crate) diff: bool,
    /// JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct JobLogsArgs {
    /// The job's id
    #[arg(value_parser = super::job::job_id)]
    pub(crate) id: i64,
    /// Of this try instead of the latest
    #[arg(long, value_name = "N", conflicts_with = "follow")]
    pub(crate) attempt: Option<u32>,
    /// Wait for more until the job ends
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// One JSON event a line instead of text
    #[arg(long)]
    pub(crate) json: bool,
}
