//! `executor validate`: the documented checks, in the documented order, up to the first that fails.
//!
//! What the reference needs and we do not (programs of virtual machines; its own client, where no step of it runs on
//! this host) is not looked for; in its place the runtime looks at the host as it does when an agent starts.

mod git;
mod src_cli;
mod token;

use super::print;
use super::run;
use crate::agent_config::{AgentSettings, Connection};
use crate::exit::{Exit, Failure, Outcome};
use crate::paths::Paths;
use runtimes::PrivateMounts;

pub(crate) use git::{check as check_git, find as find_git, version as git_version};
pub(crate) use src_cli::{
    Judgement, REFUSED, REMEDY, check as check_src, find as find_src, judge as judge_src, tell as tell_of_src,
};
pub(crate) use token::{ask, below};

/// Runs the checks that come after the configuration's.
pub(crate) async fn run(
    paths: &Paths,
    host: &str,
    mounts: Result<PrivateMounts, Failure>,
    connection: Connection,
    settings: AgentSettings,
) -> Outcome {
    let checked = async {
        check_git(&settings).await?;
        check_src(&settings, &connection).await?;
        run::look_at_host(&run::data_dir(paths)?, host, mounts, &settings).await?;
        token::check(&connection, &settings.runtime.images.roots).await
    };
    // Whatever it is, the documented code tells that something is wrong.
    checked.await.map_err(|failure| Failure { exit: Exit::Failed, ..failure })?;
    print::line("All checks passed!")?;
    Ok(Exit::Success)
}
