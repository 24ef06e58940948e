//! Programs that know logins: `docker-credential-NAME get`.
//!
//! The protocol is Docker's: the registry comes on standard input, the answer as JSON on standard
//! output; a failure is an exit code with a line of text there.

use super::{CredentialsError, DockerConfig, Login, keys};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

/// How long one may take. Some ask a service in turn.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of what one may say.
const OUTPUT_BYTES: u64 = 64 << 10;
/// Characters of its words that are passed on.
const SHOWN: usize = 200;
/// What one says that knows no login for a registry.
const NOT_FOUND: &str = "credentials not found in native keychain";
/// The user's name when what comes is no password but an identity token.
const TOKEN_USER: &str = "<token>";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: SecretString,
}

/// What a helper came to.
struct Done {
    status: ExitStatus,
    output: Vec<u8>,
    errors: Vec<u8>,
}

/// Whether `name` can be no path and no option.
pub(super) fn is_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// The program of a helper.
pub(super) fn program(name: &str) -> String {
    format!("docker-credential-{name}")
}

/// Asks the helper of this name for a login; none when it knows none.
pub(super) async fn get(
    config: &DockerConfig,
    name: &str,
    registry: &str,
) -> Result<Option<Login>, CredentialsError> {
    let program = program(name);
    let failed = |fault: String| CredentialsError::Helper {
        program: program.clone(),
        path: config.path.clone(),
        registry: registry.to_owned(),
        fault,
    };
    let path = find(config, &program).ok_or_else(|| {
        failed("is not on the PATH of this executor: install it, or take it out of the file".to_owned())
    })?;
    let done = run(config, path, keys::key_of(registry), TIMEOUT).await;
    let done = done.map_err(|error| failed(format!("can't be used: {error}")))?;
    if !done.status.success() {
        let said = first_line(&done.output).or_else(|| first_line(&done.errors));
        return match said {
            Some(said) if said.contains(NOT_FOUND) => Ok(None),
            said => Err(failed(format!("failed ({}): {}", done.status, said.unwrap_or_default()))),
        };
    }
    let answer: Answer = serde_json::from_slice(&done.output).map_err(|_| {
        // The parser's words may hold a piece of the secret.
        failed("gave no JSON with Username and Secret".to_owned())
    })?;
    Ok(Some(match answer.username.as_str() {
        TOKEN_USER => Login::IdentityToken(answer.secret),
        _ => Login::password(answer.username, answer.secret.expose_secret()),
    }))
}

/// Where a helper's program is.
pub(super) fn find(config: &DockerConfig, program: &str) -> Option<PathBuf> {
    let is_program =
        |path: &PathBuf| path.metadata().is_ok_and(|at| at.is_file() && at.permissions().mode() & 0o111 != 0);
    std::env::split_paths(&config.search_path)
        // Relative ones would mean something else wherever we are.
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(program))
        .find(is_program)
}

async fn run(config: &DockerConfig, program: PathBuf, input: &str, timeout: Duration) -> io::Result<Done> {
    let mut child = Command::new(program)
        .arg("get")
        .env_clear()
        .envs(config.environment.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let pid = child.id().and_then(|id| Pid::from_raw(id as i32)).ok_or(io::ErrorKind::NotFound)?;
    let group = Group(pid);
    let talked = tokio::time::timeout(timeout, talk(&mut child, pid, input)).await;
    let (output, errors) = talked.unwrap_or_else(|_| {
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("it took longer than {timeout:?}")))
    })?;
    // What it left running ends with it, before its number may be somebody else's.
    drop(group);
    Ok(Done { status: child.wait().await?, output, errors })
}

/// What it said until it ended. It is not waited for yet.
async fn talk(child: &mut Child, pid: Pid, input: &str) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let (mut stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let say = async {
        if let Some(mut stdin) = stdin.take() {
            // One that does not read may know anyway.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        Ok(())
    };
    let ((), output, errors) = tokio::try_join!(say, bounded(stdout), bounded(stderr))?;
    let ends = move || waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
    tokio::task::spawn_blocking(ends).await.map_err(io::Error::other)??;
    Ok((output, errors))
}

async fn bounded(stream: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    if let Some(stream) = stream {
        stream.take(OUTPUT_BYTES + 1).read_to_end(&mut all).await?;
    }
    if all.len() as u64 > OUTPUT_BYTES {
        return Err(io::Error::other(format!("it said more than {OUTPUT_BYTES} bytes")));
    }
    Ok(all)
}

fn first_line(text: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().filter(|c| !c.is_control()).take(SHOWN).collect())
}

/// A helper that was not waited for, and whatever it started: killed when this is dropped.
struct Group(Pid);

impl Drop for Group {
    fn drop(&mut self) {
        // All may have ended by themselves.
        let _ = kill_process_group(self.0, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::Instant;

    /// Whether a process still does anything; one that nobody waited for does not.
    fn lives(pid: &str) -> bool {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
    }

    /// Runs a helper that is this script, which writes processes' numbers into the file that is its `PIDS`; tells what came
    /// of it, and waits until none of these processes lives.
    async fn run_to_the_last(script: &str, count: usize) -> io::Result<Done> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (program, pids) = (directory.path().join("helper"), directory.path().join("pids"));
        fs::write(&program, format!("#!/bin/sh\nPIDS={}\n{script}\n", pids.display()))
            .expect("it is written");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is made a program");
        let environment = vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())];
        let config = DockerConfig { environment, ..DockerConfig::default() };
        let done = run(&config, program, "r.test", Duration::from_secs(2)).await;
        let pids = fs::read_to_string(pids).expect("it had begun");
        let (pids, begun) = (pids.split_whitespace().collect::<Vec<_>>(), Instant::now());
        assert_eq!(pids.len(), count);
        while pids.iter().any(|pid| lives(pid)) {
            assert!(begun.elapsed() < Duration::from_secs(10), "{pids:?} live on");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        done
    }

    #[tokio::test]
    async fn one_that_takes_too_long_is_killed_with_all_it_started() {
        let done = run_to_the_last("sleep 1000 &\necho $$ $! > $PIDS\nwait", 2).await;
        let error = done.map(|done| done.status).expect_err("it never ends");
        assert_eq!(error.to_string(), "it took longer than 2s");
    }

    #[tokio::test]
    async fn what_one_leaves_running_ends_with_it() {
        let script = "sleep 1000 > /dev/null 2>&1 < /dev/null &\necho $! > $PIDS\necho said\nexit 3";
        let done = run_to_the_last(script, 1).await.expect("it ends in time");
        assert_eq!((done.status.code(), done.output.as_slice()), (Some(3), &b"said\n"[..]));
    }
}
