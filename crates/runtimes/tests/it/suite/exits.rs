use crate::harness::{Bench, Kept, processes_with, step};
use crate::probe;
use runtimes::{ExitStatus, Limits, Output, RuntimeError, Step, Stream};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use std::io;
use std::os::unix::fs::PermissionsExt;
use tokio_util::sync::CancellationToken;

pub(crate) async fn exit_codes_and_signals(bench: &mut Bench) {
    let mut sandbox = bench.open(Limits::default()).await;
    for code in [0, 1, 7, 128, 129, 130, 137, 143, 192, 255] {
        let ran = sandbox.try_sh(&format!("exit {code}")).await;
        assert_eq!(ran.exit.status, ExitStatus::Code(code));
        assert_eq!(ran.exit.cause, None);
    }
    // A shell whose child was killed ends by itself, with a code.
    for signal in [9, 15, 11] {
        let ran = sandbox.try_sh(&format!("sh -c 'kill -{signal} $$'; exit $?")).await;
        assert_eq!(ran.exit.status, ExitStatus::Code(128 + signal));
    }
    sandbox.close().await;
}

/// Kills the step's first process when that says `ready`.
struct KillWhenReady(String, Kept);

#[async_trait::async_trait]
impl Output for KillWhenReady {
    async fn write(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        self.1.write(stream, bytes).await?;
        if self.1.stdout == b"ready\n" {
            for process in processes_with(&self.0) {
                let pid = process.split(':').next().and_then(|pid| Pid::from_raw(pid.parse().ok()?));
                match kill_process(pid.unwrap(), Signal::KILL) {
                    // It went with one that was killed before it.
                    Err(Errno::SRCH) => {}
                    killed => killed?,
                }
            }
        }
        Ok(())
    }

    fn progress(&self) -> &dyn images::Progress {
        self.1.progress()
    }
}

pub(crate) async fn a_signal_is_told_from_a_code(bench: &mut Bench) {
    let mut sandbox = bench.open(Limits::default()).await;
    // crun only tells 137, and from 6.15 on the kernel keeps which one it was.
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let known = bench.family != "crun" || (numbers.next(), numbers.next()) >= (Some(6), Some(15));
    let expected = if known { ExitStatus::Signal(9) } else { ExitStatus::Code(137) };
    let mark = format!("mark-{}", bench.owner);
    let argv = ["sh", "-c", "sleep 0.05; echo ready; while :; do sleep 1; done", &mark];
    let mut out = KillWhenReady(mark.clone(), Kept::default());
    let exit = sandbox.0.run(step(&argv), &mut out, &CancellationToken::new()).await.unwrap();
    assert_eq!((exit.status, exit.cause), (expected, None));

    let crash = sandbox.workspace().join("crash");
    std::fs::write(&crash, probe::crash()).unwrap();
    std::fs::set_permissions(&crash, std::fs::Permissions::from_mode(0o755)).unwrap();
    let status = sandbox.run(&["/data/crash"]).await.unwrap().exit.status;
    // crun may be through with a step before anybody could look at it.
    let looked_late = bench.family == "crun" && status == ExitStatus::Code(139);
    assert!(looked_late || status == ExitStatus::Signal(11), "{status:?}");
    sandbox.close().await;
}

pub(crate) async fn a_missing_program_is_the_jobs_failure(bench: &mut Bench) {
    let mut sandbox = bench.open(Limits::default()).await;
    std::fs::write(sandbox.workspace().join("plain"), "text").unwrap();
    for (program, code) in [("nosuch", 127), ("/bin/nosuch", 127), ("/data/plain", 126)] {
        let ran = sandbox.run(&[program]).await.unwrap();
        assert_eq!(ran.exit.status, ExitStatus::Code(code), "{program}: {ran:?}");
        assert!(ran.stderr.contains(program), "{ran:?}");
    }
    sandbox.close().await;
}

pub(crate) async fn odd_steps_are_refused(bench: &mut Bench) {
    let mut sandbox = bench.open(Limits::default()).await;
    for odd in [
        Step { argv: vec![], ..step(&["true"]) },
        Step { cwd: "data".into(), ..step(&["true"]) },
        Step { cwd: "/proc/self/fd/7".into(), ..step(&["true"]) },
        Step { env: vec!["NO-EQUALS".into()], ..step(&["true"]) },
        Step { env: vec!["A\nB=1".into()], ..step(&["true"]) },
    ] {
        let refused = sandbox.run_step(odd).await;
        assert!(matches!(refused, Err(RuntimeError::Refused(_))), "{refused:?}");
    }
    sandbox.sh("true").await;
    sandbox.close().await;
    assert!(matches!(bench.try_open("../up", Limits::default()).await, Err(RuntimeError::Refused(_))));
}

pub(crate) async fn a_directory_that_can_not_be_entered_is_refused(bench: &mut Bench) {
    let mut sandbox = bench.open(Limits::default()).await;
    sandbox.sh("echo a file > /data/file; ln -s loop /data/loop").await;
    for cwd in ["/data/file", "/data/file/below", "/data/loop"] {
        let refused = sandbox.run_step(Step { cwd: cwd.into(), ..step(&["true"]) }).await;
        assert!(matches!(refused, Err(RuntimeError::Refused(_))), "{cwd}: {refused:?}");
    }
    sandbox.sh("true").await;
    sandbox.close().await;
}
