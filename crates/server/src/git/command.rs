//! Running git: argument vectors only, a closed environment where it matters, bounded in time and
//! in output, and no process left behind.

use super::fault::GitFault;
use super::inflight::Group;
use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

/// Bytes of git's output that are kept; the rest is read and dropped.
const MAX_OUTPUT: u64 = 64 << 10;
/// Characters of what git complained of that are told.
const MAX_LINE: usize = 300;
/// What the system calls a full disk, which git repeats.
const FULL: [&str; 2] = ["No space left on device", "Disk quota exceeded"];
/// What git adds to every failed fetch.
const EMPTY_WORDS: [&str; 3] = [
    "fatal: Could not read from remote repository.",
    "Please make sure you have the correct access rights",
    "and the repository exists.",
];

/// Transports that a mirror may use. Above all not `ext`, which runs programs.
const PROTOCOLS: &str = "file:https:http:ssh:git";

/// Variables that would point git at another repository, run programs of somebody's choice or
/// write secrets into trace files.
const REMOVED: [&str; 17] = [
    "GIT_DIR",
    "GIT_COMMON_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_SYSTEM",
    "GIT_EXEC_PATH",
    "GIT_TEMPLATE_DIR",
    "GIT_ASKPASS",
    "SSH_ASKPASS",
    "GIT_TRACE",
    "GIT_TRACE_CURL",
    "GIT_PROTOCOL",
];

/// What our own variables begin with. Keys for secrets and credentials are among them, and none is anything for git.
const OURS: &str = "EXECUTOR_";

/// A git command that runs in `dir`, a bare repository, under nobody's configuration but ours.
///
/// The environment is not cleared: proxies, certificate paths and the SSH agent are the operator's
/// to set there. What could lead git astray is taken out one by one instead.
pub(super) fn git(dir: &Path) -> Command {
    let mut command = Command::new("git");
    for name in REMOVED {
        command.env_remove(name);
    }
    for name in ours() {
        command.env_remove(name);
    }
    command
        .env("LC_ALL", "C")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_ALLOW_PROTOCOL", PROTOCOLS)
        .env("GIT_OPTIONAL_LOCKS", "0")
        // Objects that a source lacks are not looked for where its own configuration says.
        .env("GIT_NO_LAZY_FETCH", "1")
        .args(["-c", "core.hooksPath=/dev/null"])
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own, so that its helpers (ssh, remote-https) can be ended with it.
        .process_group(0)
        .kill_on_drop(true);
    command
}

/// The names of our own variables.
#[expect(clippy::disallowed_methods, reason = "what they say is not read: only cli does that")]
fn ours() -> impl Iterator<Item = OsString> {
    std::env::vars_os()
        .map(|(name, _)| name)
        .filter(|name| name.as_encoded_bytes().starts_with(OURS.as_bytes()))
}

/// Runs a command to its end and gives what it wrote to standard output.
pub(super) async fn run(mut command: Command, within: Duration) -> Result<Vec<u8>, GitFault> {
    let mut child = command.spawn()?;
    let mut group = Group::of(&child);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let finished = async {
        let (stdout, stderr) = tokio::try_join!(read_capped(stdout), read_capped(stderr))?;
        Ok::<_, std::io::Error>((child.wait().await?, stdout, stderr))
    };
    let Ok(finished) = tokio::time::timeout(within, finished).await else {
        return Err(GitFault::TooSlow { seconds: within.as_secs() });
    };
    let (status, stdout, stderr) = finished?;
    group.has_ended();
    if status.success() { Ok(stdout) } else { Err(refused(&stderr)) }
}

/// Why git said no.
fn refused(stderr: &[u8]) -> GitFault {
    let text = String::from_utf8_lossy(stderr);
    // What begins with this is what the other side said, of its own disk.
    let ours = || text.lines().filter(|line| !line.starts_with("remote:"));
    match ours().find(|line| FULL.iter().any(|full| line.contains(full))) {
        Some(line) => GitFault::Full { cause: cause(line.as_bytes()) },
        None => GitFault::Refused { cause: cause(stderr) },
    }
}

/// Makes sure that there is a git, and logs which.
pub(crate) async fn check_installed() -> Result<(), GitFault> {
    let mut command = git(Path::new("/"));
    command.arg("--version");
    let version = run(command, Duration::from_secs(30)).await?;
    tracing::debug!(version = %String::from_utf8_lossy(&version).trim(), "found git");
    Ok(())
}

/// Reads to the end, so that the writer never blocks, and keeps the first part.
pub(super) async fn read_capped(pipe: Option<impl AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let Some(mut pipe) = pipe else { return Ok(Vec::new()) };
    let mut kept = Vec::new();
    (&mut pipe).take(MAX_OUTPUT).read_to_end(&mut kept).await?;
    tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    Ok(kept)
}

/// The line that tells the cause, without credentials that git may have repeated: the first that git
/// calls fatal or an error, else the last one, as ssh has its say before git despairs.
pub(super) fn cause(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let telling =
        || text.lines().map(str::trim).filter(|line| !line.is_empty() && !EMPTY_WORDS.contains(line));
    let line = telling().find(|line| line.starts_with("fatal: ") || line.starts_with("error: "));
    let line = line.or_else(|| telling().next_back()).unwrap_or("git told no reason");
    let printable: String = line.chars().filter(|c| !c.is_control()).take(MAX_LINE).collect();
    super::source::without_credentials(printable.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_found_among_gits_words_and_tells_no_password() {
        let advice = "fatal: Could not read from remote repository.\n\nPlease make sure you have the correct \
                      access rights\nand the repository exists.\n";
        for (stderr, told) in [
            (
                "Cloning...\nfatal: unable to access 'https://ann:s3cret@host/x/': refused\n\n".to_owned(),
                "fatal: unable to access 'https://host/x/': refused",
            ),
            (
                format!("fatal: '/x' does not appear to be a git repository\n{advice}"),
                "fatal: '/x' does not appear to be a git repository",
            ),
            (
                format!("ssh: Could not resolve hostname x: Unknown host\n{advice}"),
                "ssh: Could not resolve hostname x: Unknown host",
            ),
            (String::new(), "git told no reason"),
        ] {
            assert_eq!(cause(stderr.as_bytes()), told);
        }
    }

    #[test]
    fn a_full_disk_is_told_from_a_full_disk_elsewhere() {
        let here = "Cloning...\nfatal: write error: No space left on device\nfatal: fetch-pack: invalid index-pack output\n";
        let told = refused(here.as_bytes());
        assert!(matches!(&told, GitFault::Full { cause } if cause.contains("write error")), "{told:?}");
        let there = "remote: fatal: No space left on device\nfatal: the remote end hung up unexpectedly\n";
        let told = refused(there.as_bytes());
        assert!(matches!(&told, GitFault::Refused { cause } if cause.contains("hung up")), "{told:?}");
    }

    #[tokio::test]
    async fn a_command_that_takes_too_long_is_stopped() {
        let mut sleep = git(Path::new("/"));
        sleep.args(["-c", "alias.nap=!sleep 60", "nap"]);
        let begun = std::time::Instant::now();
        let outcome = run(sleep, Duration::from_millis(100)).await;
        assert!(matches!(outcome, Err(GitFault::TooSlow { .. })), "{outcome:?}");
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}
