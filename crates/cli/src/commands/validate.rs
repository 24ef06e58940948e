//! `executor validate`: the documented checks, in the documented order, up to the first that fails.
//!
//! What the reference needs and we do not (its own client, programs of virtual machines) is not
//! looked for; in its place the runtime looks at the host as it does when an agent starts.

mod git;
mod token;

use super::print;
use super::run;
use crate::agent_config::{AgentSettings, Connection};
use crate::exit::{Exit, Failure, Outcome};
use crate::paths::Paths;
use runtimes::PrivateMounts;

pub(crate) use git::{check as check_git, find as find_git};
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
        run::look_at_host(&run::data_dir(paths)?, host, mounts, &settings).await?;
        token::check(&connection, &settings.runtime.images.roots).await
    };
    // Whatever it is, the documented code tells that something is wrong.
    checked.await.map_err(|failure| Failure { exit: Exit::Failed, ..failure })?;
    print::line("All checks passed!")?;
    Ok(Exit::Success)
}
