//! `executor job`.

use super::known;
use super::queueing::OrderArgs;
use super::results::{JobArtifactsArgs, JobLogsArgs, JobResultsArgs};
use clap::{Args, Subcommand};
use jobs::{Namespace, State};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum JobCommand {
    /// Submit a job and follow it; the exit code tells how it ended (0 completed, 1 failed, 3 the
    /// system failed it, 130 cancelled)
    Run(Box<JobRunArgs>),
    /// Submit many jobs and leave: each line of a file is one. Prints their ids
    Submit(JobSubmitArgs),
    /// Upload files that jobs may name, where `job run` does not bring them along itself. Prints their ids
    Upload(JobUploadArgs),
    /// List jobs, newest first
    List(JobListArgs),
    /// Show one job
    Show(JobArgs),
    /// Say why a job waits, or why it ended
    Explain(JobArgs),
    /// Print a job's logs
    Logs(JobLogsArgs),
    /// List the files that a job left, or save them
    Artifacts(JobArtifactsArgs),
    /// Show what an execution of a batch change came to
    Results(JobResultsArgs),
    /// Stop a job
    Cancel(JobArgs),
}

#[derive(Debug, Args)]
pub(crate) struct JobRunArgs {
    /// A job file (YAML) instead of the options below
    #[arg(long, short, value_name = "FILE", conflicts_with_all = ["repo", "rev", "image", "step", "env", "secret", "stored_secret", "copy", "artifact", "queue", "priority", "delay", "concurrency", "needs", "command", "index"])]
    pub(crate) file: Option<PathBuf>,
    /// A repository that was added with `executor repo add`; without one the job is just steps
    #[arg(long, value_name = "NAME")]
    pub(crate) repo: Option<String>,
    /// Branch, tag or commit [default: the repository's HEAD]
    #[arg(long, value_name = "REV", requires = "repo")]
    pub(crate) rev: Option<String>,
    /// An index to make of the repository, in place of steps: JSON or YAML like an entry of `index_jobs` (queue codeintel)
    #[arg(long, value_name = "FILE", requires = "repo", conflicts_with_all = ["image", "step", "env", "secret", "stored_secret", "copy", "queue", "command"])]
    pub(crate) index: Option<PathBuf>,
    /// Container image of every step
    #[arg(long, value_name = "IMG", required_unless_present_any = ["file", "index"])]
    pub(crate) image: Option<String>,
    /// A step: a line of shell. May be given several times; they run before CMD
    #[arg(long, value_name = "SCRIPT")]
    pub(crate) step: Vec<String>,
    /// A variable for every step; `K` alone takes the value from this environment
    #[arg(long, short, value_name = "K=V")]
    pub(crate) env: Vec<String>,
    /// A variable whose value, taken from this environment, never reaches a log
    #[arg(long, value_name = "K")]
    pub(crate) secret: Vec<String>,
    /// A secret that the control plane keeps (`executor secret set`), for every step
    #[arg(long, value_name = "K")]
    pub(crate) stored_secret: Vec<String>,
    /// A local file to put into the workspace before the first step, at PATH or by its own name there
    #[arg(long, value_name = "LOCAL[:PATH]")]
    pub(crate) copy: Vec<String>,
    /// A file that the job leaves, by its path in the workspace, or a pattern such as out/**/*.xml: kept as NAME, else by the
    /// path's last part, for `executor job artifacts`
    #[arg(long, value_name = "[NAME=]PATH")]
    pub(crate) artifact: Vec<String>,
    /// Queue: batches or codeintel
    #[arg(long, default_value = "batches", value_parser = known::queue(), hide_possible_values = true)]
    pub(crate) queue: String,
    #[command(flatten)]
    pub(crate) order: OrderArgs,
    /// Tells this submission from others, in 1 to 200 visible ASCII characters: made again with the same key, it is the same job
    #[arg(long, value_name = "KEY", value_parser = idempotency_key)]
    pub(crate) idempotency_key: Option<String>,
    /// Submit, print the id, and leave
    #[arg(long, short)]
    pub(crate) detach: bool,
    /// One JSON event a line instead of text
    #[arg(long)]
    pub(crate) json: bool,
    /// The last step: a command and its arguments
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct JobSubmitArgs {
    /// A file with one job a line, each JSON as `POST /api/v1/jobs` takes it; `-` is standard input. All lines are looked at
    /// before the first is submitted; a thousand go with one call, of which all are submitted or none
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Tells this submission from others: made again with the same key, what is there already is not submitted twice. The job
    /// of line N has the key KEY-N
    #[arg(long, value_name = "KEY", value_parser = idempotency_key)]
    pub(crate) idempotency_key: Option<String>,
    /// JSON instead of text: of each job its line and its id
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct JobUploadArgs {
    /// A local file; its id is what a job names it by, as `"files": [{"path": PATH, "upload": ID}]`. It is kept for an hour, and
    /// as long as a job that names it. All files are looked at before the first is sent
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// JSON instead of text: of each file its id, name, size, hash and when it was last changed
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct JobListArgs {
    /// Only jobs of this queue
    #[arg(long, value_parser = known::queue(), hide_possible_values = true)]
    pub(crate) queue: Option<String>,
    /// Only jobs of this namespace: global, user:NAME or org:NAME
    #[arg(long)]
    pub(crate) namespace: Option<Namespace>,
    /// Only jobs that this executor has or had last. They are looked for as those with a text are
    #[arg(long, value_name = "NAME")]
    pub(crate) executor: Option<String>,
    /// Only jobs in this state: queued, processing, completed, errored, failed or canceled
    #[arg(long, value_parser = known::state(), hide_possible_values = true)]
    pub(crate) state: Option<State>,
    /// Only jobs that have it in their id, source, executor, reason or message as it is listed, in upper or lower case. As many are looked
    /// through as one answer may take, so there may be more than are shown
    #[arg(long)]
    pub(crate) text: Option<String>,
    /// How many at most
    #[arg(long, default_value_t = 50)]
    pub(crate) limit: u32,
    /// Only older jobs: the id that the page before told, or its last one
    #[arg(long, value_name = "ID")]
    pub(crate) before: Option<i64>,
    /// JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct JobArgs {
    /// The job's id
    #[arg(value_parser = job_id)]
    pub(crate) id: i64,
    /// JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

fn idempotency_key(text: &str) -> Result<String, String> {
    jobs::name::check_idempotency_key(text).map_err(|fault| fault.to_string())?;
    Ok(text.to_owned())
}

pub(super) fn job_id(text: &str) -> Result<i64, &'static str> {
    text.parse().map_err(|_| "it must be a number, as `executor job list` tells them")
}
