//! What jobs run on: repositories and images.

use clap::{Args, Subcommand};
use jobs::Namespace;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum RepoCommand {
    /// Add a repository by path or URL; the control plane keeps a mirror of it
    Add {
        /// Its name in jobs, such as `app` or `github.com/acme/app`
        name: String,
        /// A path on the control plane's host, or a URL
        source: String,
        /// Whose it is to be: global, user:NAME or org:NAME [default: yours]
        #[arg(long)]
        namespace: Option<Namespace>,
        /// JSON instead of text
        #[arg(long)]
        json: bool,
    },
    /// List the repositories
    List {
        /// JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Forget a repository and remove its mirror
    Remove {
        /// Its name
        name: String,
        /// Whose it is: global, user:NAME or org:NAME [default: yours]
        #[arg(long)]
        namespace: Option<Namespace>,
        /// JSON instead of text
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Import an image from a file: an OCI or Docker archive, or a root file system as tar
    Import {
        /// The image's name and tag, such as `debian:12`
        name: String,
        /// The archive
        file: PathBuf,
        #[command(flatten)]
        store: ImageStoreArgs,
    },
    /// List the images on this host
    List {
        #[command(flatten)]
        store: ImageStoreArgs,
    },
    /// Remove an image's name; `gc` then frees its space
    Remove {
        /// The image's name
        name: String,
        #[command(flatten)]
        store: ImageStoreArgs,
    },
    /// Remove layers that no image needs
    Gc {
        #[command(flatten)]
        store: ImageStoreArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ImageStoreArgs {
    /// The data directory whose images are meant [default: `EXECUTOR_DATA_DIR`, else that of the last `executor up`, else as
    /// for `executor up`]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
}
