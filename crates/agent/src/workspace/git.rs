//! Clones a job's repository with the documented commands, each a log entry of its own.

use super::command::{self, Program, Ran};
use super::confined::Confined;
use super::paths::{check_commit, check_repository, repository_directory};
use super::proxy::{Fault, GitProxy};
use super::script::SCRIPTS_DIR;
use crate::api::{Api, Backoff, JobAuth};
use crate::job::{Failure, JobStop};
use crate::log::{JobLog, NO_EXIT_CODE};
use crate::text::go_duration;
use jobs::EndReason;
use runtimes::{Cause, HostPrograms};
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tracing::info;
use wire::Job;

/// What makes git see nothing of this host and run nothing of the repository's.
const ENV: [(&str, &str); 6] = [
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_LFS_SKIP_SMUDGE", "1"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_ALLOW_PROTOCOL", "http:https"),
    ("LC_ALL", "C.UTF-8"),
];
/// The same, as configuration that wins over the repository's own.
const CONFIG: [(&str, &str); 6] = [
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("credential.helper", ""),
    ("http.followRedirects", "false"),
    // The workspace may belong to the user that steps run as.
    ("safe.directory", "*"),
    // Git's own choice, spelled out, keeps it from explaining itself in every log.
    ("init.defaultBranch", "master"),
];

/// What this clone of a repository is not to track, besides what the repository itself says.
const EXCLUDE: &str = ".git/info/exclude";

/// One command: its log key and its arguments.
#[derive(Debug, PartialEq, Eq)]
struct GitCommand {
    key: &'static str,
    argv: Vec<String>,
}

/// Clones into a workspace by programs that are started for its sandbox, or does nothing if the job has no repository.
pub(crate) async fn clone_repository(
    api: &Api,
    auth: &JobAuth,
    job: &Job,
    (workspace, programs): (&Path, &HostPrograms),
    log: &JobLog,
    stop: &JobStop,
) -> Result<(), Failure> {
    if job.repository_name.is_empty() {
        return Ok(());
    }
    check_repository(&job.repository_name)?;
    check_commit(&job.commit)?;
    let below = repository_directory(&job.repository_directory, workspace)?;
    if !below.is_empty() {
        Confined::open(workspace)?.create_dir(&below)?;
    }
    let target = workspace.join(&below).to_string_lossy().into_owned();
    let proxy = GitProxy::start(api.clone(), auth.clone(), &job.repository_name)
        .await
        .map_err(|fault| Failure::sandbox(format!("failed to start the git proxy: {fault}")))?;
    let env = environment(&api.config().tool_env, &proxy);
    let patience = api.config().clone_patience;
    let clone = Checkout { proxy, env, patience, programs, job, log, stop };
    for git in commands(job, &target, &clone.proxy.url()) {
        clone.run_patiently(&git).await?;
    }
    // The proxy and every connection to it end here.
    drop(clone);
    hide_scripts(&below, &Confined::open(workspace)?)
}

/// Keeps the step scripts out of what the job's own `git status`, `git add` and `git diff` find, where
/// they lie in the repository, which is at `below`.
fn hide_scripts(below: &str, confined: &Confined) -> Result<(), Failure> {
    if below.is_empty() { confined.append(EXCLUDE, &format!("\n/{SCRIPTS_DIR}/\n")) } else { Ok(()) }
}

/// A clone under way.
struct Checkout<'a> {
    proxy: GitProxy,
    env: Vec<(String, String)>,
    patience: Duration,
    programs: &'a HostPrograms,
    job: &'a Job,
    log: &'a JobLog,
    stop: &'a JobStop,
}

/// How a command failed, and what the control plane has to do with it.
struct Broken {
    failure: Failure,
    /// How the control plane failed while the command ran: then it is not the job's fault, and may
    /// pass.
    fault: Option<Fault>,
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self { failure, fault: None }
    }
}

impl Checkout<'_> {
    /// Runs a command, again and again while it is the control plane that breaks it: git itself
    /// takes nothing up again. Not only a fetch asks for objects; a sparse checkout does, too.
    async fn run_patiently(&self, git: &GitCommand) -> Result<(), Failure> {
        let mut backoff = Backoff::default();
        let mut over = None;
        loop {
            let Err(Broken { failure, fault }) = self.run(git).await else { return Ok(()) };
            let (Failure::Broke { message, .. }, Some(Fault { what: fault, pause })) = (&failure, fault)
            else {
                return Err(failure);
            };
            let pause = backoff.pause().max(pause);
            if Instant::now() + pause >= *over.get_or_insert_with(|| Instant::now() + self.patience) {
                let patience = go_duration(self.patience);
                return Err(Failure::sandbox(format!(
                    "{message} (the control plane {fault}, and the clone was tried for {patience})"
                )));
            }
            info!(job = %self.job.id, key = git.key, fault, ?pause, "the control plane broke a clone, trying again");
            if self.stop.token().run_until_cancelled(sleep(pause)).await.is_none() {
                return Err(Failure::Stopped);
            }
        }
    }

    /// Runs a command once, under a log entry of its own.
    async fn run(&self, git: &GitCommand) -> Result<(), Broken> {
        let key = git.key;
        let entry = self.log.entry(key, Some(&git.argv));
        self.proxy.take_fault();
        let program = Program { argv: &git.argv, env: &self.env, directory: None };
        match command::run(self.programs, program, &entry, self.stop.token()).await {
            Ok(Ran::Exited { status, .. }) if status.success() => {
                entry.close(0);
                Ok(())
            }
            Ok(Ran::Exited { status, last_words, no_room, cause }) => {
                let code = command::exit_code(status);
                let fault = self.proxy.take_fault();
                if let Some(fault) = &fault {
                    entry.line(&format!("The control plane, which serves the repository, {}.", fault.what));
                }
                entry.close(code);
                let advice = advice(&last_words, self.job);
                let said = if last_words.is_empty() { last_words } else { format!(": {last_words}") };
                let message = format!("failed {key}: command failed with exit code {code}{said}{advice}");
                // Whatever was served, there would be no more memory the next time.
                let fault = fault.filter(|_| cause.is_none());
                Err(Broken { failure: of_program(cause, no_room, message), fault })
            }
            Ok(Ran::Stopped) => Err(Failure::Stopped.into()),
            Err(fault) => {
                entry.line(&format!("could not run {}: {fault}", git.argv[0]));
                entry.close(NO_EXIT_CODE);
                Err(Failure::sandbox(format!("failed {key}: starting command: {fault}")).into())
            }
        }
    }
}

/// What it means for the job that a program failed.
fn of_program(cause: Option<Cause>, no_room: bool, message: String) -> Failure {
    match cause {
        Some(Cause::OutOfMemory { limit, peak }) => Failure::new(
            EndReason::OutOfMemory { step: String::new(), limit, peak },
            format!("{message} (the job ran out of memory: it used {peak} bytes and may use {limit})"),
        ),
        _ if no_room => Failure::no_room(message),
        _ => Failure::new(EndReason::Checkout, message),
    }
}

/// Says in other words what git says of a commit it can't get.
fn advice(last_words: &str, job: &Job) -> String {
    let unknown = ["not our ref", "couldn't find remote ref", "unable to read tree"];
    if unknown.iter().any(|words| last_words.contains(words)) {
        format!(" (repository {} has no commit {})", job.repository_name, job.commit)
    } else {
        String::new()
    }
}

/// The documented commands in their order.
fn commands(job: &Job, target: &str, remote: &str) -> Vec<GitCommand> {
    let git = |key, args: &[&str]| GitCommand {
        key,
        argv: ["git", "-C", target].iter().chain(args).map(|part| (*part).to_owned()).collect(),
    };
    let sparse = !job.sparse_checkout.is_empty();
    let commit = job.commit.as_str();

    let mut fetch = vec!["-c", "protocol.version=2", "fetch", "--progress", "--no-recurse-submodules"];
    if job.fetch_tags {
        fetch.push("--tags");
    }
    if job.shallow_clone {
        if !job.fetch_tags {
            fetch.push("--no-tags");
        }
        fetch.push("--depth=1");
    }
    if sparse {
        fetch.push("--filter=blob:none");
    }
    fetch.extend(["origin", commit]);

    let mut checkout = if sparse { vec!["-c", "protocol.version=2"] } else { Vec::new() };
    checkout.extend(["checkout", "--progress", "--force", commit]);

    let mut all = vec![
        git("setup.git.init", &["init"]),
        git("setup.git.add-remote", &["remote", "add", "origin", remote]),
        git("setup.git.disable-gc", &["config", "--local", "gc.auto", "0"]),
        git("setup.git.fetch", &fetch),
    ];
    if sparse {
        let mut set = vec!["sparse-checkout", "set", "--no-cone", "--"];
        set.extend(job.sparse_checkout.iter().map(String::as_str));
        all.push(git("setup.git.sparse-checkout-config", &["config", "--local", "core.sparseCheckout", "1"]));
        all.push(git("setup.git.sparse-checkout-set", &set));
    }
    all.push(git("setup.git.checkout", &checkout));
    all.push(git("setup.git.set-remote", &["remote", "set-url", "origin", &job.repository_name]));
    all
}

fn environment(tool_env: &[(String, String)], proxy: &GitProxy) -> Vec<(String, String)> {
    let nonce = proxy.nonce_header();
    let config = CONFIG.into_iter().chain([("http.extraHeader", nonce.as_str())]);
    let mut env = tool_env.to_vec();
    env.extend(ENV.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let mut count = 0;
    for (key, value) in config {
        env.push((format!("GIT_CONFIG_KEY_{count}"), key.to_owned()));
        env.push((format!("GIT_CONFIG_VALUE_{count}"), value.to_owned()));
        count += 1;
    }
    env.push(("GIT_CONFIG_COUNT".to_owned(), count.to_string()));
    env
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(job: &Job) -> Vec<String> {
        let all = commands(job, "/w", "http://127.0.0.1:9/r/n");
        all.iter().map(|git| format!("{} {}", git.key, git.argv.join(" "))).collect()
    }

    fn job() -> Job {
        Job { repository_name: "r/n".to_owned(), commit: "c0ffee".to_owned(), ..Job::default() }
    }

    #[test]
    fn a_plain_clone_runs_the_documented_commands() {
        assert_eq!(
            lines(&job()),
            [
                "setup.git.init git -C /w init",
                "setup.git.add-remote git -C /w remote add origin http://127.0.0.1:9/r/n",
                "setup.git.disable-gc git -C /w config --local gc.auto 0",
                "setup.git.fetch git -C /w -c protocol.version=2 fetch --progress --no-recurse-submodules origin c0ffee",
                "setup.git.checkout git -C /w checkout --progress --force c0ffee",
                "setup.git.set-remote git -C /w remote set-url origin r/n",
            ]
        );
    }

    #[test]
    fn a_sparse_clone_runs_two_more() {
        let sparse = Job { sparse_checkout: vec!["/a/*".to_owned(), "b".to_owned()], ..job() };
        assert_eq!(
            lines(&sparse)[3..],
            [
                "setup.git.fetch git -C /w -c protocol.version=2 fetch --progress --no-recurse-submodules --filter=blob:none origin c0ffee",
                "setup.git.sparse-checkout-config git -C /w config --local core.sparseCheckout 1",
                "setup.git.sparse-checkout-set git -C /w sparse-checkout set --no-cone -- /a/* b",
                "setup.git.checkout git -C /w -c protocol.version=2 checkout --progress --force c0ffee",
                "setup.git.set-remote git -C /w remote set-url origin r/n",
            ]
        );
    }

    #[test]
    fn tags_and_depth_come_in_the_documented_order() {
        let fetch = |fetch_tags, shallow_clone| {
            let line = lines(&Job { fetch_tags, shallow_clone, ..job() }).remove(3);
            line.split_once("--no-recurse-submodules ").unwrap().1.to_owned()
        };
        assert_eq!(fetch(true, false), "--tags origin c0ffee");
        assert_eq!(fetch(false, true), "--no-tags --depth=1 origin c0ffee");
        assert_eq!(fetch(true, true), "--tags --depth=1 origin c0ffee");
    }
}
