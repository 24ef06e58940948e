use crate::harness::{Bench, Kept, SPARE_DISK, processes_with, step};
use runtimes::{Cause, Limits};
use rustix::process::{Pid, Signal, kill_process};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Well above the time that a launcher is given, and well below that of a job.
const BOUND: Duration = Duration::from_secs(8);

/// Stops the launcher that waits for the next step, and nothing else, wherever it is on its way.
fn stop_launcher(bench: &Bench) {
    let dir = bench.dir.join("state").display().to_string();
    let begun = Instant::now();
    loop {
        let mut launchers = processes_with(&dir);
        launchers.retain(|process| process.contains(" launch "));
        for launcher in &launchers {
            let pid = launcher.split(':').next().and_then(|pid| Pid::from_raw(pid.parse().ok()?));
            kill_process(pid.unwrap(), Signal::STOP).unwrap();
        }
        if !launchers.is_empty() {
            return;
        }
        // Until it is a program of its own it has the name of its parent.
        assert!(begun.elapsed() < BOUND, "there is no launcher");
        std::thread::yield_now();
    }
}

pub(crate) async fn a_launcher_that_is_stopped_is_replaced(bench: &mut Bench) {
    bench.runtime.warm().await;
    stop_launcher(bench);
    let limits = Limits { disk: Some(SPARE_DISK), ..Limits::default() };
    let mut sandbox = bench.open(limits).await;
    let begun = Instant::now();
    for lines in ["once\n", "once\nonce\n"] {
        assert_eq!(sandbox.sh("echo once >> /data/ran; cat /data/ran").await, lines);
        // The one of the next step.
        stop_launcher(bench);
    }
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    sandbox.close().await;
}

pub(crate) async fn a_step_whose_launcher_is_stopped_can_be_stopped(bench: &mut Bench) {
    bench.runtime.warm().await;
    let mut sandbox = bench.open(Limits { disk: Some(SPARE_DISK), ..Limits::default() }).await;
    stop_launcher(bench);
    let stop = CancellationToken::new();
    let mut out = Kept::default();
    let begun = Instant::now();
    let (exit, ()) = tokio::join!(sandbox.0.run(step(&["touch", "/data/ran"]), &mut out, &stop), async {
        tokio::task::yield_now().await;
        stop.cancel();
    });
    assert_eq!(exit.unwrap().cause, Some(Cause::Stopped));
    assert!(begun.elapsed() < BOUND && !sandbox.workspace().join("ran").exists());
    sandbox.close().await;
}
