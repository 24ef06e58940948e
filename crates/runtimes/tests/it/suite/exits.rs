use crate::harness::{Bench, step};
use runtimes::{ExitStatus, Limits, RuntimeError, Step};

pub(crate) async fn exit_codes_and_signals(bench: &mut Bench) {
    let mut sandbox = bench.open(Limits::default()).await;
    for code in [0, 1, 7, 128, 255] {
        let ran = sandbox.try_sh(&format!("exit {code}")).await;
        assert_eq!(ran.exit.status, ExitStatus::Code(code));
        assert_eq!(ran.exit.cause, None);
    }
    // The first process of a PID namespace is deaf to its own signals, but for those that
    // the kernel forces on it; a child is not.
    for signal in [9, 15, 11] {
        let ran = sandbox.try_sh(&format!("sh -c 'kill -{signal} $$'; exit $?")).await;
        assert_eq!(ran.exit.status, ExitStatus::Signal(signal));
    }
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
