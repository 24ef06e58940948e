//! Whether steps of src run on this host where the instance may send them; and if so, whether src is there and fits.

use super::token::{get, told};
use crate::agent_config::{AgentSettings, Connection, SrcSteps};
use crate::exit::{Exit, Failure, chain};
use crate::logging;
use reqwest::StatusCode;
use std::process::Stdio;
use std::time::Duration;
use tls::Roots;
use tokio::process::Command;
use wire::SrcCliVersion;
use wire::paths::SRC_CLI_VERSION;

/// How long a program may take to say its version, and the instance to say which it recommends.
const LIMIT: Duration = Duration::from_secs(10);
/// The same at an agent's start, which an instance that is away must not hold up.
const START_LIMIT: Duration = Duration::from_secs(3);
/// The one queue of such jobs.
const QUEUE: &str = "batches";
/// What src begins its answer with.
const PREFIX: &str = "Current version: ";
const NO_SRC: &str = "src not found in PATH, is it installed?\nRun executor install src-cli, or refer to \
                      https://github.com/sourcegraph/src-cli to install src-cli yourself.";
const NO_DOCKER: &str = "docker not found in PATH, is it installed?\nCheck out https://docs.docker.com/get-docker/ on how to \
                         install.";

/// What is said of a version of src.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Judgement {
    Fits,
    /// It lacks what has been mended since.
    Older(String),
    /// Its jobs may be written for another one.
    Other(String),
}

/// What becomes of jobs where steps of src don't run on this host.
pub(crate) const REFUSED: &str = "jobs of the queue batches are calls of src unless the instance's site configuration has \
                                  \"batchChanges.nativeServerSideExecution\": true, and those are refused here";
/// What to do about it.
pub(crate) const REMEDY: &str = "set that there and EXECUTOR_SRC_STEPS=false here, or let src run on this host by \
                                 EXECUTOR_RUNTIME=docker and EXECUTOR_SRC_STEPS=true";

/// Whether an instance may send steps that are calls of src, as far as this side knows.
fn may_come(settings: &AgentSettings, connection: &Connection) -> bool {
    settings.runtime.src_steps != SrcSteps::Declined && connection.queues.iter().any(|queue| queue == QUEUE)
}

/// Says it at start when such steps would fail, for want of a program or because they don't run on this host.
pub(crate) async fn tell(settings: &AgentSettings, connection: &Connection) -> Result<(), Failure> {
    if !may_come(settings, connection) {
        return Ok(());
    }
    if !settings.runtime.runs_src() {
        let asked = recommended(connection, &settings.runtime.images.roots, START_LIMIT).await;
        return tell_refused(asked.as_ref(), settings.runtime.strict);
    }
    let missing = check_programs(settings.tool_env()).is_err();
    let note = "note: src or docker is not on PATH, so jobs that are calls of src fail (`executor doctor` tells \
                whether the control plane sends them)";
    if missing { logging::tell(note) } else { Ok(()) }
}

/// Says what becomes of jobs where no steps of src run, by what the instance recommends. It is the one that knows
/// which jobs it sends; that it recommends a version says that they may be such calls.
fn tell_refused(recommended: Result<&Option<String>, &String>, strict: bool) -> Result<(), Failure> {
    match recommended {
        Ok(None) => Ok(()),
        Ok(Some(_)) if strict => {
            let message = format!("refused under EXECUTOR_STRICT: {REFUSED}; {REMEDY}");
            Err(Failure { exit: Exit::Failed, message })
        }
        Ok(Some(_)) => logging::warn(&format!("{REFUSED}; {REMEDY}")),
        Err(_) => logging::tell(&format!(
            "note: the control plane did not tell whether it sends calls of src, which are refused here; {REMEDY}"
        )),
    }
}

/// Checks the programs that jobs of src need, with the documented words, and which of them the instance recommends.
pub(crate) async fn check(settings: &AgentSettings, connection: &Connection) -> Result<(), Failure> {
    if !may_come(settings, connection) {
        return Ok(());
    }
    let failed = |message: String| Failure { exit: Exit::Failed, message };
    let recommended = recommended(connection, &settings.runtime.images.roots, LIMIT).await;
    if !settings.runtime.runs_src() {
        return tell_refused(recommended.as_ref(), settings.runtime.strict);
    }
    if recommended == Ok(None) {
        return Ok(());
    }
    check_programs(settings.tool_env()).map_err(failed)?;
    let actual = find(settings.tool_env(), LIMIT).await.map_err(failed)?;
    match judge(&actual, &recommended.map_err(failed)?.unwrap_or_default()) {
        Judgement::Fits => Ok(()),
        Judgement::Older(warning) => logging::warn(&warning),
        Judgement::Other(fault) => Err(failed(fault)),
    }
}

/// Whether docker and src are where an environment has programs looked for.
pub(crate) fn check_programs<'a>(
    mut environment: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<(), String> {
    let path = environment.find(|(name, _)| *name == "PATH").map_or("", |(_, path)| path);
    let is_there = |program: &str| std::env::split_paths(path).any(|dir| dir.join(program).is_file());
    let missing = [("docker", NO_DOCKER), ("src", NO_SRC)];
    let missing: Vec<&str> =
        missing.into_iter().filter(|(name, _)| !is_there(name)).map(|(_, text)| text).collect();
    match missing.as_slice() {
        [] => Ok(()),
        [one] => Err((*one).to_owned()),
        several => Err(format!("{} errors occurred:\n\t* {}", several.len(), several.join("\n\t* "))),
    }
}

/// The version of the src that programs with this environment find, or why there is none.
pub(crate) async fn find<'a>(
    environment: impl Iterator<Item = (&'a str, &'a str)>,
    limit: Duration,
) -> Result<String, String> {
    let mut src = Command::new("src");
    src.args(["version", "-client-only"])
        .env_clear()
        .envs(environment)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let failed = |why: String| format!("failed to get src-cli version, is it installed?: {why}");
    let output = match tokio::time::timeout(limit, src.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(fault)) => return Err(failed(fault.to_string())),
        Err(_) => return Err(failed(format!("no answer within {} s", limit.as_secs_f64()))),
    };
    let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let said = String::from_utf8_lossy(&said);
    let said = said.trim();
    if !output.status.success() {
        return Err(failed(format!("'src version -client-only': {said}: {}", output.status)));
    }
    Ok(said.strip_prefix(PREFIX).unwrap_or(said).to_owned())
}

/// Which version the instance recommends; `None` if it recommends none, as those of this family, which send no
/// such jobs.
async fn recommended(
    connection: &Connection,
    roots: &Roots,
    limit: Duration,
) -> Result<Option<String>, String> {
    let failed = |why: String| format!("cannot retrieve latest compatible src-cli version: {why}");
    let answer = get(&connection.url, SRC_CLI_VERSION, &connection.password, roots, limit).await;
    let answer = answer.map_err(|fault| failed(told(&connection.url, &fault)))?;
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Ok(None),
        status => return Err(failed(format!("unexpected status code {}", status.as_u16()))),
    }
    let version: SrcCliVersion = answer.json().await.map_err(|fault| failed(chain(&fault.without_url())))?;
    Ok(Some(version.version).filter(|version| !version.is_empty()))
}

/// Judges a version by the one that is recommended. One that is no release is its builder's business.
pub(crate) fn judge(actual: &str, recommended: &str) -> Judgement {
    let (Some(have), Some(want)) = (numbers(actual), numbers(recommended)) else { return Judgement::Fits };
    if have[..2] != want[..2] {
        return Judgement::Other(format!(
            "installed src-cli is not the recommended version, consider switching actual={actual}, \
             recommended={recommended}"
        ));
    }
    if have[2] < want[2] {
        return Judgement::Older(format!(
            "consider upgrading actual={actual}, latest={recommended}: installed src-cli is not the latest version"
        ));
    }
    Judgement::Fits
}

fn numbers(version: &str) -> Option<[u64; 3]> {
    let version = version.trim().trim_start_matches('v');
    let version = version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Result<Vec<u64>, _> = version.split('.').map(str::parse).collect();
    numbers.ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_judged_as_documented() {
        for (actual, recommended) in
            [("5.6.0", "5.6.0"), ("5.6.2", "5.6.1"), ("dev", "5.6.0"), ("5.6.0", "?"), ("v5.6.0", "5.6.0")]
        {
            assert_eq!(judge(actual, recommended), Judgement::Fits, "{actual} {recommended}");
        }
        assert_eq!(
            judge("5.6.0", "5.6.3"),
            Judgement::Older(
                "consider upgrading actual=5.6.0, latest=5.6.3: installed src-cli is not the latest version"
                    .to_owned()
            )
        );
        for actual in ["5.5.9", "5.7.0", "4.6.3", "6.6.3"] {
            assert_eq!(
                judge(actual, "5.6.3"),
                Judgement::Other(format!(
                    "installed src-cli is not the recommended version, consider switching actual={actual}, recommended=5.6.3"
                ))
            );
        }
    }

    #[test]
    fn programs_that_are_missing_are_told_with_a_hint() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        let check = || check_programs([("HOME", "/"), ("PATH", path)].into_iter());
        let both = check().unwrap_err();
        assert!(both.contains(NO_DOCKER) && both.contains(NO_SRC), "{both}");
        std::fs::write(dir.path().join("docker"), "").unwrap();
        assert_eq!(check(), Err(NO_SRC.to_owned()));
        std::fs::write(dir.path().join("src"), "").unwrap();
        assert_eq!(check(), Ok(()));
    }
}
