//! People who sign in to the pages.

use super::known;
use clap::Subcommand;
use jobs::{Namespace, Role};

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Let somebody sign in. Their password is asked for, or read from standard input where that is no terminal
    Create {
        /// What they are known by, such as `ann`
        name: String,
        /// What they may: reader, submitter, operator or admin; no more than you
        #[arg(long, value_parser = known::role(), hide_possible_values = true)]
        role: Role,
        /// Whose things they work with: global, user:NAME or org:NAME [default: the same as you]
        #[arg(long)]
        namespace: Option<Namespace>,
        /// JSON instead of text
        #[arg(long)]
        json: bool,
    },
    /// List who can sign in
    List {
        /// JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Let somebody sign in no longer; their sessions end at once
    Remove {
        /// Their name
        name: String,
        /// JSON instead of text
        #[arg(long)]
        json: bool,
    },
    /// Set somebody's password, which is asked for or read as for `create`; their sessions end at once
    Password {
        /// Their name
        name: String,
        /// JSON instead of text
        #[arg(long)]
        json: bool,
    },
}
