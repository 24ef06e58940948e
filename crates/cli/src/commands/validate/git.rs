//! Whether git is there, and new enough to fetch a single commit as jobs do.

use crate::agent_config::AgentSettings;
use crate::exit::{Exit, Failure};
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::process::Command;

/// The oldest git that will do.
const OLDEST: (u64, u64) = (2, 26);
/// How long git may take to say its version.
const LIMIT: Duration = Duration::from_secs(10);

/// Checks the git that jobs would be cloned with.
pub(crate) async fn check(settings: &AgentSettings) -> Result<(), Failure> {
    let found = find(settings.tool_env(), LIMIT).await;
    found.map(drop).map_err(|message| Failure { exit: Exit::Failed, message })
}

/// The version of the git that programs with this environment find, or what is wrong with it.
pub(crate) async fn find<'a>(
    environment: impl Iterator<Item = (&'a str, &'a str)>,
    limit: Duration,
) -> Result<String, String> {
    let version = version(environment, limit).await?;
    judge(&version).map(|()| version)
}

/// The same, however old it is.
pub(crate) async fn version<'a>(
    environment: impl Iterator<Item = (&'a str, &'a str)>,
    limit: Duration,
) -> Result<String, String> {
    let mut git = Command::new("git");
    git.arg("version").env_clear().envs(environment).stdin(Stdio::null()).kill_on_drop(true);
    match tokio::time::timeout(limit, git.output()).await {
        Ok(Ok(output)) => said(&output),
        Ok(Err(fault)) if fault.kind() == std::io::ErrorKind::NotFound => {
            Err("git not found in PATH, is it installed?\nUse your package manager, or build from source."
                .to_owned())
        }
        Ok(Err(fault)) => Err(format!("getting git version: 'git version': {fault}")),
        Err(_) => {
            Err(format!("getting git version: 'git version': no answer within {} s", limit.as_secs_f64()))
        }
    }
}

fn said(output: &Output) -> Result<String, String> {
    let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let said = String::from_utf8_lossy(&said);
    let said = said.trim();
    if !output.status.success() {
        let code = output.status.code().map_or_else(|| "killed".to_owned(), |code| code.to_string());
        return Err(format!("getting git version: 'git version': {said}: exit status {code}"));
    }
    Ok(said.strip_prefix("git version ").unwrap_or(said).to_owned())
}

/// Judges `version`, whatever a vendor has added to its numbers.
fn judge(version: &str) -> Result<(), String> {
    let Some(numbers) = numbers(version) else {
        return Err(format!("failed to semver parse git version: {version}"));
    };
    if numbers < OLDEST {
        let (major, minor) = OLDEST;
        return Err(format!(
            "git version is too old, install at least git {major}.{minor}, current version: {version}"
        ));
    }
    Ok(())
}

fn numbers(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u64>);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_judged_by_their_first_two_numbers() {
        for good in ["2.26.0", "2.39.2 (Apple Git-143)", "2.45.1.windows.1", "3.0.0", "2.100", "2.47.0-rc1"] {
            assert_eq!(judge(good), Ok(()), "{good}");
        }
        for old in ["2.25.9", "1.99.0"] {
            assert_eq!(
                judge(old).unwrap_err(),
                format!("git version is too old, install at least git 2.26, current version: {old}")
            );
        }
        for none in ["", "git", "two", "2"] {
            assert_eq!(judge(none).unwrap_err(), format!("failed to semver parse git version: {none}"));
        }
    }
}
