//! A scope of systemd's for jobs: a control group apart from the service that the agent is.
//!
//! In version 2 of control groups a group that has others with limits below it may hold no process itself. Were
//! those of jobs below the service's, systemd could not start the service again while jobs run, and they would
//! have no agent.

use runtimes::find_program;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

/// What the program is called as to go on under another name.
pub(crate) const ROLE: &str = "called";
/// There where the host's first process is systemd; and for each user that has one, below its directory of sockets.
const BOOTED: &str = "/run/systemd/system";
const OF_USER: &str = "systemd/private";
const STARTER: &str = "systemd-run";
/// How the names of scopes begin: `systemctl status 'executor-jobs-*'` shows all of them.
const NAME: &str = "executor-jobs-";

/// Who makes a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manager<'a> {
    System,
    /// The user's own, which listens below that directory.
    User(&'a Path),
}

impl Manager<'_> {
    fn is_there(self) -> bool {
        match self {
            Self::System => Path::new(BOOTED).exists(),
            Self::User(dir) => dir.join(OF_USER).exists(),
        }
    }
}

/// What is to be written before `arg0` and the arguments of this program to start it in a scope of its own; nothing
/// where there need or can be none.
pub(crate) fn starter(manager: Manager<'_>, search_path: &str) -> Vec<OsString> {
    let needed = runtimes::oci::has_version_2_alone() && manager.is_there();
    let program = needed.then(|| find_program(STARTER, search_path.as_ref())).flatten();
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let service = super::service(&groups);
    program.map(|program| words(program.into(), manager, service, std::process::id())).unwrap_or_default()
}

fn words(program: OsString, manager: Manager<'_>, service: Option<&str>, pid: u32) -> Vec<OsString> {
    let unit = format!("--unit={NAME}{}", uuid::Uuid::new_v4().simple());
    let mut words = vec![program, "--scope".into(), "--quiet".into(), "--collect".into(), unit.into()];
    words.push("--description=Jobs of executor".into());
    if let Manager::User(_) = manager {
        words.push("--user".into());
    }
    let mut set = |setting: String| words.extend(["--property".into(), setting.into()]);
    set("Delegate=yes".to_owned());
    // Jobs have limits of their own for processes.
    set("TasksMax=infinity".to_owned());
    if let Some(service) = service {
        // When the host is shut down, the service lets jobs finish before the scope ends them.
        set(format!("Before={service}"));
    }
    // The starter's own program is another by then.
    let own = format!("/proc/{pid}/exe");
    words.extend(["--", &own, crate::HELPER, ROLE].map(OsString::from));
    words
}

/// Goes on as this program called by the first of `args`, with the others.
pub(crate) fn main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(name) = args.next() else { return ExitCode::FAILURE };
    let fault = Command::new("/proc/self/exe").arg0(name).args(args).exec();
    tracing::error!(%fault, "failed to start this program again");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_delegated_and_ends_after_its_service() {
        let words = words("/bin/systemd-run".into(), Manager::System, Some("executor.service"), 7);
        let words: Vec<&str> = words.iter().map(|word| word.to_str().unwrap()).collect();
        assert_eq!(words[..2], ["/bin/systemd-run", "--scope"]);
        assert!(words[4].starts_with("--unit=executor-jobs-"), "{words:?}");
        for setting in ["Delegate=yes", "Before=executor.service"] {
            assert!(words.windows(2).any(|pair| pair == ["--property", setting]), "{words:?}");
        }
        assert_eq!(words[words.len() - 4..], ["--", "/proc/7/exe", "internal-helper", "called"]);
        assert!(!words.contains(&"--user"));
        let words = super::words("x".into(), Manager::User(Path::new("/run/user/7")), None, 7);
        assert!(words.contains(&"--user".into()) && !words.iter().any(|word| word == "--property=Before"));
    }
}
