//! Who may do what, and who did.

use super::known;
use clap::{Args, Subcommand};
use jobs::{Namespace, Role};
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token for somebody else. It is printed once, and never again
    Create {
        /// What people know it by, such as `ci`
        name: String,
        /// What its holder may: reader, submitter, operator or admin; no more than you
        #[arg(long, value_parser = known::role(), hide_possible_values = true)]
        role: Role,
        /// Whose things its holder works with: global, user:NAME or org:NAME [default: the same as you]
        #[arg(long)]
        namespace: Option<Namespace>,
        /// How long it is good, such as 30d [default: until it is revoked]
        #[arg(long, value_name = "DURATION", value_parser = crate::env::duration)]
        expires: Option<Duration>,
        /// JSON instead of text
        #[arg(long)]
        json: bool,
    },
    /// List the tokens that are not revoked
    List {
        /// JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Make a token good for nothing, from now on
    Revoke(NumberedArgs),
    /// Say whose the token is that you use
    Whoami {
        /// JSON instead of text
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct NumberedArgs {
    /// Its id, as the list tells it
    pub(crate) id: i64,
    /// JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum InviteCommand {
    /// Make a registration token, which an agent gets an identity of its own for: `EXECUTOR_REGISTRATION_TOKEN`. It is
    /// printed once, and never again
    Create {
        /// What people know it by, such as `rack-7`
        name: String,
        /// For how many agents it is good
        #[arg(long, value_name = "N", default_value_t = 1)]
        uses: u32,
        /// How long it is good, such as 30m or 7d; up to a year
        #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = crate::env::duration)]
        expires: Duration,
        /// JSON instead of text
        #[arg(long)]
        json: bool,
    },
    /// List the registration tokens that are not revoked
    List {
        /// JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Make a registration token good for nothing. The agents that have used it stay what they are
    Revoke(NumberedArgs),
}

#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// Only this kind, such as token.create
    #[arg(long, value_parser = known::action(), hide_possible_values = true)]
    pub(crate) action: Option<String>,
    /// Without what jobs were given of secrets, secret.read
    #[arg(long)]
    pub(crate) without_reads: bool,
    /// Only what was done to things of this namespace: global, user:NAME or org:NAME
    #[arg(long)]
    pub(crate) namespace: Option<Namespace>,
    /// How many at most
    #[arg(long, default_value_t = 50)]
    pub(crate) limit: u32,
    /// Only what is older: what the page before ended with
    #[arg(long, value_name = "CURSOR")]
    pub(crate) before: Option<String>,
    /// JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}
