//! What a sandbox costs over the bare OCI runtime. Run it by hand, on a quiet machine:
//! `cargo test --release -p runtimes --test it -- --ignored --nocapture overhead`.
#![expect(clippy::print_stderr, reason = "figures are what this is for")]

use crate::harness::{self, Bench, SPARE_DISK};
use runtimes::Limits;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 40;

#[test]
#[ignore = "measures; judges nothing"]
fn overhead_of_crun() {
    harness::run("overhead_of_crun", "crun", measure);
}

#[test]
#[ignore = "measures; judges nothing"]
fn overhead_of_runc() {
    harness::run("overhead_of_runc", "runc", measure);
}

async fn measure(bench: &mut Bench) {
    let limits = Limits { disk: Some(SPARE_DISK), memory: Some(256 << 20), pids: Some(256), cpus: Some(2.0) };
    let mut stages: [Vec<Duration>; 5] = Default::default();
    let mut again = Vec::new();
    for _ in 0..ROUNDS {
        bench.runtime.warm().await;
        // As between two jobs: what was just made has settled.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let begun = Instant::now();
        let mut sandbox = bench.open(limits).await;
        let opened = begun.elapsed();
        let ran = sandbox.run(&["true"]).await.unwrap();
        let whole = begun.elapsed();
        let second = Instant::now();
        sandbox.run(&["true"]).await.unwrap();
        again.push(second.elapsed());
        let closing = Instant::now();
        sandbox.close().await;
        let prepared = ran.exit.timeline.image + ran.exit.timeline.prepare + ran.exit.timeline.start;
        for (stage, took) in
            stages.iter_mut().zip([whole, opened, prepared, ran.exit.usage.wall, closing.elapsed()])
        {
            stage.push(took);
        }
    }
    let bare = bare(bench);
    for (name, times) in
        ["open and run", "  open", "  prepare and start", "  runtime and step", "close"].iter().zip(stages)
    {
        eprintln!("{name:<20} {}", summary(times));
    }
    eprintln!("{:<20} {}", "the step after", summary(again));
    eprintln!("{:<20} {}", "bare", summary(bare));
}

/// The runtime alone, with its own idea of a configuration, from an unpacked root file system.
fn bare(bench: &Bench) -> Vec<Duration> {
    let bundle = bench.dir.join("bare");
    let bin = bundle.join("rootfs/bin");
    fs::create_dir_all(&bin).unwrap();
    fs::copy("/bin/busybox", bin.join("true")).unwrap();
    run(Command::new(bench.family).arg("spec").current_dir(&bundle));
    let config = fs::read_to_string(bundle.join("config.json")).unwrap();
    let config = config.replace("\"terminal\": true", "\"terminal\": false").replace("\"sh\"", "\"true\"");
    fs::write(bundle.join("config.json"), config).unwrap();
    rustix::mount::mount(c"cgroup2", c"/sys/fs/cgroup", c"cgroup2", rustix::mount::MountFlags::empty(), None)
        .unwrap();
    let once = |number: usize| {
        std::thread::sleep(Duration::from_millis(50));
        let mut command = Command::new(bench.family);
        command.args(["--root".as_ref(), bundle.join("state").as_os_str()]);
        if bench.family == "crun" {
            command.arg("--cgroup-manager=disabled");
        }
        let begun = Instant::now();
        run(command.args(["run", "-b"]).arg::<&Path>(&bundle).arg(format!("{}-{number}", bench.owner)));
        begun.elapsed()
    };
    let times = (0..ROUNDS).map(once).collect();
    rustix::mount::unmount("/sys/fs/cgroup", rustix::mount::UnmountFlags::DETACH).unwrap();
    times
}

fn run(command: &mut Command) {
    assert!(command.stdin(Stdio::null()).status().unwrap().success(), "{command:?}");
}

fn summary(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: usize| times[times.len() * share / 100].as_secs_f64() * 1e3;
    format!("median {:6.2} ms, fastest {:6.2}, p90 {:6.2}", at(50), at(0), at(90))
}
