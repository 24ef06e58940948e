//! What is done to a server's database as a whole.

use clap::Args;
use std::path::PathBuf;

/// Where a server's database is.
#[derive(Debug, Args)]
pub(crate) struct DatabaseArgs {
    /// The server's data directory [default: as for `executor server`]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// File with the URL of a PostgreSQL database, where everything is in one
    #[arg(long, value_name = "FILE")]
    pub(crate) database_url_file: Option<PathBuf>,
    /// JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Where to: a file that is not there yet. It holds digests of tokens and sealed secrets
    pub(crate) file: PathBuf,
    /// Have no server start on the exported database in the data directory any more: it is moved. None may be running
    #[arg(long, conflicts_with = "database_url_file")]
    pub(crate) retire: bool,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// What `executor server export` wrote
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}
