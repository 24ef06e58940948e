//! What a sandbox costs over the bare OCI runtime. Run it by hand, on a quiet machine:
//! `cargo test --release -p runtimes --test it -- --ignored --nocapture overhead`.
#![expect(clippy::print_stderr, reason = "figures are what this is for")]

use crate::harness::{self, Bench, SPARE_DISK, TestSandbox};
use images::RegistryCredentials;
use runtimes::oci::{NetworkChoice, OciRuntime, OwnUsers};
use runtimes::{Limits, Runtime, SandboxSpec};
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

#[test]
#[ignore = "measures; judges nothing"]
fn overhead_of_networks() {
    harness::run("overhead_of_networks", "crun", measure_networks);
}

/// What is measured of a job, in turn.
const STAGES: [&str; 6] =
    ["open and run", "  open", "  prepare and start", "  runtime and step", "the step after", "close"];

async fn measure(bench: &mut Bench) {
    let mut options = bench.options();
    options.users = OwnUsers::Never;
    let plain = OciRuntime::new(options, bench.store()).unwrap();
    compare(&[("users of its own", bench.runtime.as_ref()), ("the host's users", &plain)]).await;
    eprintln!("{:<22} {}", "bare", summary(bare(bench)));
}

async fn measure_networks(bench: &mut Bench) {
    let by = |by| {
        let mut options = bench.options();
        options.network.by = by;
        OciRuntime::new(options, bench.store()).unwrap()
    };
    let (slirp4netns, pasta) = (by(NetworkChoice::Slirp4netns), by(NetworkChoice::Pasta));
    compare(&[("loopback", bench.runtime.as_ref()), ("slirp4netns", &slirp4netns), ("pasta", &pasta)]).await;
}

async fn compare(runtimes: &[(&str, &dyn Runtime)]) {
    let mut taken: Vec<[Vec<Duration>; STAGES.len()]> = runtimes.iter().map(|_| Default::default()).collect();
    for _ in 0..ROUNDS {
        // Taken in turn, so that a busy moment of the machine hits all.
        for ((_, runtime), taken) in runtimes.iter().zip(&mut taken) {
            taken.iter_mut().zip(once(*runtime).await).for_each(|(all, one)| all.push(one));
        }
    }
    for ((which, _), taken) in runtimes.iter().zip(taken) {
        eprintln!("{which}");
        for (stage, times) in STAGES.iter().zip(taken) {
            eprintln!("  {stage:<20} {}", summary(times));
        }
    }
}

async fn once(runtime: &dyn Runtime) -> [Duration; STAGES.len()] {
    let limits = Limits { disk: Some(SPARE_DISK), memory: Some(256 << 20), pids: Some(256), cpus: Some(2.0) };
    runtime.warm().await;
    // As between two jobs: what was just made has settled.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let begun = Instant::now();
    let spec = SandboxSpec { name: "job-1".into(), limits, credentials: RegistryCredentials::default() };
    let mut sandbox = TestSandbox(runtime.open(spec).await.unwrap());
    let opened = begun.elapsed();
    let ran = sandbox.run(&["true"]).await.unwrap();
    let whole = begun.elapsed();
    let second = Instant::now();
    sandbox.run(&["true"]).await.unwrap();
    let again = second.elapsed();
    let closing = Instant::now();
    sandbox.close().await;
    let prepared = ran.exit.timeline.image + ran.exit.timeline.prepare + ran.exit.timeline.start;
    [whole, opened, prepared, ran.exit.usage.wall, again, closing.elapsed()]
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
