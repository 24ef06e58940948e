use super::*;
use rustix::fs::{FlockOperation, flock};
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;

const SOON: Duration = Duration::from_secs(30);
/// Processes that take a while to end.
const MANY: usize = 200;

/// How a program is started, and what finds again all that it starts.
struct Case {
    apart: fn() -> io::Result<bool>,
    dir: TempDir,
}

/// With a namespace, if this user may have one, and without.
fn cases() -> [Case; 2] {
    [leave_namespace as fn() -> io::Result<bool>, || Ok(false)].map(Case::of)
}

/// With a namespace; `None`, which is told, where nobody but root may have one.
fn in_a_namespace(test: &str) -> Option<Case> {
    if testkit::have_root() {
        return Some(Case::of(leave_namespace));
    }
    testkit::missing_part(&format!("tied::tests::{test}"), "root");
    None
}

impl Case {
    fn of(apart: fn() -> io::Result<bool>) -> Self {
        Self { apart, dir: tempfile::tempdir().unwrap() }
    }

    /// Starts a script; in it, `leave` starts something that stays, in a session of its own, with no output open, and
    /// whose parent is gone.
    fn start(&self, script: &str) -> HostProgram {
        self.start_for(&HostPrograms::default(), script)
    }

    fn start_for(&self, programs: &HostPrograms, script: &str) -> HostProgram {
        let leave = r#"leave() { (setsid sh -c 'touch up; sleep 600; :' "$0" > up.log 2>&1 < /dev/null &)
            until [ -e up ]; do :; done; }"#;
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{leave}\n{script}"), &self.mark()]);
        command
            .env("PATH", "/usr/bin:/bin")
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        programs.start_by(command, self.apart).unwrap()
    }

    fn mark(&self) -> String {
        self.dir.path().display().to_string()
    }

    /// What is left of it, but for what nobody has taken note of.
    fn left(&self) -> Vec<String> {
        self.found().map(|(pid, line)| format!("{pid}: {line}")).collect()
    }

    fn pids(&self) -> Vec<String> {
        self.found().map(|(pid, _)| pid).collect()
    }

    /// The numbers and command lines of its processes.
    fn found(&self) -> impl Iterator<Item = (String, String)> {
        let is_its = |process: &Path| {
            let line =
                String::from_utf8_lossy(&fs::read(process.join("cmdline")).unwrap_or_default()).into_owned();
            let cwd = fs::read_link(process.join("cwd")).unwrap_or_default();
            (line.contains(&self.mark()) || cwd == self.dir.path()).then_some(line)
        };
        let all = fs::read_dir("/proc").unwrap().flatten();
        all.filter_map(move |entry| Some((entry.file_name().into_string().ok()?, is_its(&entry.path())?)))
    }
}

/// Waits until the script has said that it is there.
async fn begun(program: &mut HostProgram) {
    program.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).await.unwrap();
}

async fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < SOON, "waited for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn pid_of_keeper(program: &HostProgram) -> Pid {
    Pid::from_raw(program.keeper.id().unwrap().cast_signed()).unwrap()
}

fn stat(process: u32) -> String {
    fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default()
}

#[tokio::test]
async fn nothing_is_left_of_a_program_that_has_ended() {
    for case in cases() {
        let mut program = case.start("leave; exit 3");
        assert_eq!(program.wait().await.unwrap().code(), Some(3));
        assert_eq!(case.left(), Vec::<String>::new());
        assert!(case.dir.path().join("up").exists(), "there was something to leave");
    }
}

#[tokio::test]
async fn nothing_is_left_of_a_program_that_is_ended() {
    for case in cases() {
        let mut program = case.start("leave; trap '' TERM INT HUP; echo begun; while :; do sleep 1; done");
        begun(&mut program).await;
        wait_for("all of it", || case.left().len() > 2).await;
        program.end().await.unwrap();
        assert_eq!(case.left(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_program_that_nobody_wants_any_more_ends() {
    for case in cases() {
        let mut program = case.start("leave; echo begun; while :; do sleep 1; done");
        begun(&mut program).await;
        drop(program);
        wait_for("its end", || case.left().is_empty()).await;
    }
}

#[tokio::test]
async fn a_keeper_that_is_killed_takes_the_program_along() {
    for case in cases() {
        let mut program = case.start("echo begun; while :; do sleep 1; done");
        begun(&mut program).await;
        kill_process(pid_of_keeper(&program), Signal::KILL).unwrap();
        assert_eq!(program.wait().await.unwrap().code(), None);
        // What the shell was waiting for is nobody's where there is no namespace, and soon over.
        wait_for("its end", || case.left().is_empty()).await;
    }
}

#[tokio::test]
async fn a_signal_is_told_as_shells_do() {
    for case in cases() {
        for (signal, code) in [("KILL", 137), ("TERM", 143)] {
            let mut program = case.start(&format!("kill -s {signal} $$"));
            assert_eq!(
                program.wait().await.unwrap().code(),
                Some(code),
                "it is not the first of a namespace"
            );
        }
    }
}

/// Also with an engine, where there are no control groups of the job's.
#[tokio::test]
async fn a_program_is_what_the_kernel_kills_first_for_want_of_memory() {
    for case in cases() {
        let score = |process: u32| fs::read_to_string(format!("/proc/{process}/oom_score_adj")).unwrap();
        let is_first = "[ $(cat /proc/self/oom_score_adj) = 1000 ] || exit 3";
        let mut program = case.start(&format!("{is_first}; echo begun; while :; do sleep 1; done"));
        begun(&mut program).await;
        assert_eq!(score(program.keeper.id().unwrap()), score(std::process::id()), "its keeper is not");
        program.end().await.unwrap();
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told_of() {
    for case in cases() {
        for name in ["/no/such", "no-such-program", "/etc/passwd/x"] {
            let fault = HostPrograms::default().start_by(Command::new(name), case.apart).unwrap_err();
            let kind =
                if name.starts_with("/etc") { io::ErrorKind::NotADirectory } else { io::ErrorKind::NotFound };
            assert_eq!(fault.kind(), kind, "{name}");
        }
    }
}

/// It is a copy of a process that has sockets, locks and files of jobs open.
#[tokio::test]
async fn a_keeper_keeps_nothing_but_its_streams_and_the_lock() {
    for case in cases() {
        let path = case.dir.path().join("lock");
        let lock = Arc::new(File::create(&path).unwrap());
        flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
        let programs = HostPrograms::holding(&lock);
        let mut program = case.start_for(&programs, "echo begun; while :; do sleep 1; done");
        begun(&mut program).await;
        let keeper = format!("/proc/{}", program.keeper.id().unwrap());
        let open = || {
            let mut names: Vec<_> = fs::read_dir(format!("{keeper}/fd")).unwrap().flatten().collect();
            names.sort_by_key(fs::DirEntry::file_name);
            names.iter().map(|entry| fs::read_link(entry.path()).unwrap_or_default()).collect::<Vec<_>>()
        };
        wait_for("what it keeps", || open().len() == 3).await;
        assert_eq!(open()[2], path);
        assert_eq!(fs::read_link(format!("{keeper}/cwd")).unwrap(), Path::new("/"));
        assert_eq!(fs::read_to_string(format!("{keeper}/comm")).unwrap(), "keeper\n");

        drop((programs, lock));
        let other = File::open(&path).unwrap();
        let take = || flock(&other, FlockOperation::NonBlockingLockExclusive);
        assert!(take().is_err(), "the program runs");
        program.end().await.unwrap();
        take().unwrap();
    }
}

#[tokio::test]
async fn what_loses_its_parent_is_reaped_while_the_program_goes_on() {
    for case in cases() {
        let script = "for i in 1 2 3 4 5 6 7 8; do (sleep 0 &); done; echo begun; while :; do sleep 1; done";
        let mut program = case.start(script);
        begun(&mut program).await;
        let keeper = program.keeper.id().unwrap();
        let is_dead = |process: &u32| {
            let stat = stat(*process);
            stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(&format!(" Z {keeper} ")))
        };
        let all = || fs::read_dir("/proc").unwrap().flatten();
        let pids = || all().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        wait_for("all to be reaped", || pids().filter(is_dead).count() == 0).await;
        program.end().await.unwrap();
    }
}

/// How many process namespaces the process of this `status` is in, of those that `/proc` knows.
fn namespaces(status: &str) -> usize {
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    line.unwrap().split_whitespace().count()
}

#[tokio::test]
async fn a_program_of_root_is_in_a_namespace_of_its_own() {
    let Some(case) = in_a_namespace("a_program_of_root_is_in_a_namespace_of_its_own") else { return };
    let mut program = case.start("exec cat /proc/self/status");
    let mut status = String::new();
    program.stdout.as_mut().unwrap().read_to_string(&mut status).await.unwrap();
    assert!(program.wait().await.unwrap().success());
    let own = fs::read_to_string("/proc/thread-self/status").unwrap();
    assert_eq!(namespaces(&status), namespaces(&own) + 1, "{status}");
}

#[tokio::test]
async fn who_is_in_a_namespace_can_neither_end_nor_stop_its_keeper() {
    let test = "who_is_in_a_namespace_can_neither_end_nor_stop_its_keeper";
    let Some(case) = in_a_namespace(test) else { return };
    let signals = "for signal in KILL STOP TERM HUP TSTP; do kill -s $signal $PPID; done";
    let mut program = case.start(&format!("leave; {signals}; exit 3"));
    assert_eq!(timeout(SOON, program.wait()).await.unwrap().unwrap().code(), Some(3));
    assert_eq!(case.left(), Vec::<String>::new());
}

#[tokio::test]
async fn a_keeper_of_a_namespace_that_is_killed_takes_along_what_is_in_the_background() {
    let test = "a_keeper_of_a_namespace_that_is_killed_takes_along_what_is_in_the_background";
    let Some(case) = in_a_namespace(test) else { return };
    let mut program = case.start("leave; echo begun; while :; do sleep 1; done");
    begun(&mut program).await;
    kill_process(pid_of_keeper(&program), Signal::KILL).unwrap();
    assert_eq!(program.wait().await.unwrap().code(), None);
    assert_eq!(case.left(), Vec::<String>::new());
}

/// Whoever takes the lock of a dead supervisor gives its job to another.
#[tokio::test]
async fn the_lock_is_held_until_the_last_process_is_gone() {
    for case in cases() {
        let path = case.dir.path().join("lock");
        let lock = Arc::new(File::create(&path).unwrap());
        flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
        let programs = HostPrograms::holding(&lock);
        // Many, so that it takes the kernel a while to end them.
        let many = format!("i=0; while [ $i -lt {MANY} ]; do sleep 600 & i=$((i + 1)); done");
        let mut program = case.start_for(&programs, &format!("{many}; echo begun; wait"));
        begun(&mut program).await;
        wait_for("all of it", || case.pids().len() > MANY).await;
        let pids = case.pids();
        drop((programs, lock));
        let waits = tokio::task::spawn_blocking(move || {
            flock(File::open(&path).unwrap(), FlockOperation::LockExclusive).unwrap();
            pids.into_iter().filter(|pid| Path::new("/proc").join(pid).exists()).count()
        });
        drop(program);
        assert_eq!(timeout(SOON, waits).await.unwrap().unwrap(), 0, "the lock was given back too soon");
    }
}

/// Without a namespace a program may stop its keeper, which would keep the lock for ever.
#[tokio::test]
async fn a_keeper_that_does_not_end_in_time_is_killed() {
    let case = Case::of(|| Ok(false));
    let stop = "until [ -e go ]; do :; done; kill -s STOP $PPID";
    let mut program = case.start(&format!("echo begun; {stop}; while :; do sleep 1; done"));
    begun(&mut program).await;
    fs::write(case.dir.path().join("go"), "").unwrap();
    let keeper = program.keeper.id().unwrap();
    wait_for("it to be stopped", || stat(keeper).contains(") T ")).await;
    let fault = program.end_within(Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(fault.kind(), io::ErrorKind::TimedOut);
    assert_eq!(stat(keeper), "", "nobody is to find it stopped for ever");
    wait_for("the end of the program", || case.left().is_empty()).await;
}

#[tokio::test]
async fn what_keeps_root_from_a_namespace_is_an_error() {
    let test = "what_keeps_root_from_a_namespace_is_an_error";
    let Some(case) = in_a_namespace(test) else { return };
    // The kernel makes no second one for a thread that is not in the first.
    let twice = || leave_namespace().and_then(|first| Ok(first && leave_namespace()?));
    let mut command = Command::new("touch");
    command.arg(case.dir.path().join("started")).env("PATH", "/usr/bin:/bin");
    let fault = HostPrograms::default().start_by(command, twice).unwrap_err();
    assert!(fault.to_string().starts_with("can't make a process namespace"), "{fault}");
    assert_eq!(case.left(), Vec::<String>::new());
}

#[test]
fn only_who_may_not_have_a_namespace_goes_without() {
    assert!(is_apart(Ok(())).unwrap());
    assert!(!is_apart(Err(Errno::PERM)).unwrap());
    let fault = is_apart(Err(Errno::NOSPC)).unwrap_err();
    assert_eq!(fault.kind(), io::Error::from(Errno::NOSPC).kind());
    assert!(fault.to_string().contains("user.max_pid_namespaces"), "{fault}");
    assert!(is_apart(Err(Errno::NOMEM)).is_err());
}
