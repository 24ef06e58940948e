//! The OCI runtime program: which one, and how it is called.

use crate::{Isolation, RuntimeError};
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a program may take to say its version: some ms, but on a busy host.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// How often it is looked whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// Bytes of what it says.
const ANSWER_BYTES: usize = 4096;

/// The families of runtimes, in the order in which they are taken when none is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Family {
    Crun,
    Runc,
    Youki,
    Runsc,
}

impl Family {
    const ALL: [Self; 4] = [Self::Crun, Self::Runc, Self::Youki, Self::Runsc];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Crun => "crun",
            Self::Runc => "runc",
            Self::Youki => "youki",
            Self::Runsc => "runsc",
        }
    }

    /// What of the contract does not hold with it.
    pub(super) fn caveat(self) -> Option<&'static str> {
        match self {
            Self::Crun | Self::Runc => None,
            Self::Youki => Some("a step begins with the signal PIPE ignored"),
            Self::Runsc => Some(
                "its own kernel decides what a step may do, and a step that needs too much memory ends its whole \
                 sandbox",
            ),
        }
    }

    /// Whether the contract's test suite passes with it, [`Self::caveat`] aside.
    pub(super) fn is_supported(self) -> bool {
        matches!(self, Self::Crun | Self::Runc | Self::Runsc | Self::Youki)
    }

    /// Whether it makes a control group of its own below ours; the others leave that to us.
    pub(super) fn makes_groups(self) -> bool {
        matches!(self, Self::Runc | Self::Youki)
    }

    /// Whether it is told to leave once the step runs; a [keeper](super::keeper) then waits for the
    /// step. crun would need half a millisecond more to start one, runc does not, and youki misses the
    /// end of a step that is over soon.
    pub(super) fn leaves(self) -> bool {
        matches!(self, Self::Runc | Self::Youki)
    }

    /// Whether it makes a working directory that is missing.
    pub(super) fn makes_cwd(self) -> bool {
        self != Self::Youki
    }

    /// Whether it compares system calls' arguments under a mask as is meant.
    pub(super) fn compares_masked(self) -> bool {
        self != Self::Youki
    }

    /// Whether it hides directories behind one of its own state, whose path on the host a step's table of mounts then
    /// tells: crun from 1.24 on.
    pub(super) fn hides_behind_its_state(self) -> bool {
        self == Self::Crun
    }

    /// Whether only the runtime itself reaches a step's processes with a signal: to the host they are its
    /// own.
    pub(super) fn is_asked_by_command(self) -> bool {
        self == Self::Runsc
    }

    /// Whether an image's `/tmp` that is empty becomes a file system in memory.
    pub(super) fn keeps_empty_tmp_in_memory(self) -> bool {
        self == Self::Runsc
    }

    /// What it promises.
    pub(super) fn isolation(self) -> Isolation {
        match self {
            Self::Crun | Self::Runc | Self::Youki => Isolation::Container,
            Self::Runsc => Isolation::UserKernel,
        }
    }

    /// Options of its own, before the command: how to leave control groups to us.
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Crun => &["--cgroup-manager", "disabled"],
            Self::Runc | Self::Youki => &[],
            // Its own network stack, with nothing but a loopback.
            Self::Runsc => &["--ignore-cgroups", "--network", "none"],
        }
    }

    /// Whether it runs a step in a network namespace that is there already. runsc fails to, where the step has
    /// users of its own.
    pub(super) fn joins_networks(self) -> bool {
        self != Self::Runsc
    }

    /// Whether it is dependable in a user namespace of an ordinary user's. runsc has the processes that it starts
    /// killed first where memory is short, and may be refused that for those that have changed their users by then.
    pub(super) fn starts_all_of_ordinary_users(self) -> bool {
        self != Self::Runsc
    }

    /// Its own processes and threads, and ours, while a step is started and runs, at most: they share
    /// the step's group.
    pub(super) fn own_pids(self) -> u64 {
        match self {
            Self::Crun => 2,
            Self::Youki => 4,
            // Go's threads come and go.
            Self::Runc => 25,
            // A kernel of its own, with threads of its own for those of the step.
            Self::Runsc => 256,
        }
    }
}

/// A runtime that was found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Program {
    pub(super) path: PathBuf,
    pub(super) family: Family,
    pub(super) version: String,
}

impl Program {
    /// Finds the runtime that is `wanted`, or the best there is.
    pub(super) fn find(wanted: Option<&str>, search_path: &OsStr) -> Result<Self, RuntimeError> {
        if let Some(wanted) = wanted {
            let path = if wanted.contains('/') {
                Some(PathBuf::from(wanted)).filter(|path| is_program(path))
            } else {
                find_program(wanted, search_path)
            };
            let path = path
                .ok_or_else(|| missing(&format!("the OCI runtime {wanted:?} was not found"), search_path))?;
            return Self::ask(path);
        }
        Family::ALL
            .iter()
            .find_map(|family| find_program(family.name(), search_path))
            .map_or_else(|| Err(missing("no OCI runtime was found", search_path)), Self::ask)
    }

    fn ask(path: PathBuf) -> Result<Self, RuntimeError> {
        let said =
            first_words(&path).map_err(RuntimeError::io(format!("run {} --version", path.display())))?;
        let version = said.lines().next().unwrap_or_default().trim().to_owned();
        let family = Family::ALL.into_iter().find(|family| version.starts_with(family.name()));
        match family {
            Some(family) => Ok(Self { path, family, version }),
            None => Err(RuntimeError::Host(format!(
                "{} is no OCI runtime that is known (crun, runc): its version is {version:?}",
                path.display()
            ))),
        }
    }

    /// The arguments that run a bundle: in the foreground, or leaving when there is a `pid_file`.
    pub(super) fn run_arguments(
        &self,
        root: &Path,
        log: &Path,
        pid_file: Option<&Path>,
        (bundle, id): (&Path, &str),
    ) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut push = |name: &str, value: &OsStr| arguments.extend([name.into(), value.to_owned()]);
        push("--root", root.as_os_str());
        push("--log", log.as_os_str());
        push("--log-format", OsStr::new("json"));
        arguments.extend(self.family.options().iter().map(OsString::from));
        arguments.push("run".into());
        if let Some(file) = pid_file {
            arguments.extend(["--detach".into(), "--pid-file".into(), file.into()]);
        }
        arguments.extend(["--bundle".into(), bundle.into(), id.into()]);
        arguments
    }
}

/// What a program says of its version. One that hangs is ended.
pub(super) fn first_words(path: &Path) -> io::Result<String> {
    let mut asked = Command::new(path)
        .arg("--version")
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let deadline = Instant::now() + ANSWER_LIMIT;
    while asked.try_wait()?.is_none() {
        if Instant::now() > deadline {
            asked.kill()?;
            asked.wait()?;
            let told = format!("it did not end within {} s", ANSWER_LIMIT.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, told));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    let mut said = [0; ANSWER_BYTES];
    let Some(mut stdout) = asked.stdout.take() else { return Ok(String::new()) };
    // It has said all it had to say. What it may have left running still holds the pipe, and is not waited for.
    rustix::io::ioctl_fionbio(&stdout, true)?;
    let length = match stdout.read(&mut said) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        read => read?,
    };
    Ok(String::from_utf8_lossy(&said[..length]).into_owned())
}

fn missing(what: &str, search_path: &OsStr) -> RuntimeError {
    RuntimeError::Host(format!(
        "{what} in {}: install the package crun or runc, or set EXECUTOR_OCI_RUNTIME to a path",
        search_path.to_string_lossy()
    ))
}

/// Finds a program as a shell does.
/// The program `name` in the first directory of `search_path`, written as `PATH` is, that has it.
pub fn find_program(name: &str, search_path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(search_path).map(|directory| directory.join(name)).find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_runtime_is_named() {
        let error = Program::find(Some("nosuch"), OsStr::new("/bin")).unwrap_err().to_string();
        assert!(error.contains("\"nosuch\"") && error.contains("EXECUTOR_OCI_RUNTIME"), "{error}");
    }

    /// What stands in for runtimes: programs that say these versions, linked from a search path.
    struct Installed {
        programs: tempfile::TempDir,
        search_path: tempfile::TempDir,
    }

    impl Installed {
        fn new(names: &[&str]) -> Self {
            let [programs, search_path] = [(); 2].map(|()| tempfile::tempdir().unwrap());
            for name in names {
                let program = programs.path().join(format!("{name}-9"));
                std::fs::write(&program, format!("#!/bin/sh\necho {name} version 9\necho more\n")).unwrap();
                std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
                std::os::unix::fs::symlink(&program, search_path.path().join(name)).unwrap();
            }
            Self { programs, search_path }
        }

        /// Which one is taken, and its version.
        fn taken(&self, wanted: Option<&str>) -> (Family, String, PathBuf) {
            let found = Program::find(wanted, self.search_path.path().as_os_str()).unwrap();
            (found.family, found.version, found.path)
        }

        fn linked(&self, name: &str) -> PathBuf {
            self.search_path.path().join(name)
        }
    }

    #[test]
    fn the_best_that_is_there_is_taken() {
        let mut there = vec!["runsc", "youki", "runc", "crun"];
        for best in [Family::Crun, Family::Runc, Family::Youki, Family::Runsc] {
            let installed = Installed::new(&there);
            let version = format!("{} version 9", best.name());
            assert_eq!(installed.taken(None), (best, version, installed.linked(best.name())), "of {there:?}");
            there.pop();
        }
        let error = Program::find(None, Installed::new(&[]).search_path.path().as_os_str()).unwrap_err();
        assert!(error.to_string().contains("no OCI runtime was found"), "{error}");
    }

    #[test]
    fn runc_alone_is_enough() {
        let installed = Installed::new(&["runc"]);
        assert_eq!(
            installed.taken(None),
            (Family::Runc, "runc version 9".to_owned(), installed.linked("runc"))
        );
    }

    #[test]
    fn an_earlier_directory_does_not_outdo_a_better_runtime() {
        let (first, second) = (Installed::new(&["runc"]), Installed::new(&["crun"]));
        let both = std::env::join_paths([first.search_path.path(), second.search_path.path()]).unwrap();
        assert_eq!(Program::find(None, &both).unwrap().path, second.linked("crun"));
    }

    #[test]
    fn what_can_not_be_run_is_passed_over() {
        let installed = Installed::new(&["crun", "runc"]);
        let crun = installed.programs.path().join("crun-9");
        std::fs::set_permissions(crun, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(installed.taken(None).0, Family::Runc);
    }

    #[test]
    fn the_one_that_is_named_is_taken() {
        let installed = Installed::new(&["crun", "runc", "youki", "runsc"]);
        for family in Family::ALL {
            let expected = (family, format!("{} version 9", family.name()), installed.linked(family.name()));
            assert_eq!(installed.taken(Some(family.name())), expected);
            // A path is taken as it is, whatever is on the search path, and known by what it says.
            let path = installed.programs.path().join(format!("{}-9", family.name()));
            let (taken, _, taken_path) = installed.taken(path.to_str());
            assert_eq!((taken, taken_path), (family, path));
        }
    }

    #[test]
    fn one_that_hangs_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("crun");
        std::fs::write(&program, "#!/bin/sh\nexec sleep 60\n").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let begun = Instant::now();
        let error = Program::find(program.to_str(), OsStr::new("")).unwrap_err();
        let why = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        assert!(why.contains("did not end within 3 s"), "{error}: {why}");
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn what_a_program_leaves_running_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("crun");
        std::fs::write(&program, "#!/bin/sh\necho crun version 9\nsleep 5 &\n").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let begun = Instant::now();
        assert_eq!(Program::find(program.to_str(), OsStr::new("")).unwrap().version, "crun version 9");
        assert!(begun.elapsed() < Duration::from_secs(5), "its child still runs");
    }

    #[test]
    fn something_else_is_no_runtime() {
        let error = Program::find(Some("/bin/true"), OsStr::new("")).unwrap_err().to_string();
        assert!(error.contains("no OCI runtime"), "{error}");
    }
}
