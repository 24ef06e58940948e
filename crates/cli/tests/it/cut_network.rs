//! The network between agent and control plane is cut while a job prints: the job goes on, and afterwards no line is
//! missing or doubled.
//!
//! `EXECUTOR_TEST_OUTAGE=60` makes the cut last for a minute; `docs/benchmarks.md` tells how that went.

use crate::cable::{Cable, NEAR};
use crate::conformance::bench::Bench;
use crate::conformance::gate::Gate;
use crate::support::{SOON, System, wait};
use std::time::{Duration, Instant};
use testkit::stock_server::StockJob;

/// How long the network is cut, unless the environment says otherwise: longer than several pauses between tries.
const CUT: Duration = Duration::from_secs(6);

/// Fewer lines a second mean that the step stood still.
const FEWEST_A_SECOND: usize = 5;

#[expect(clippy::disallowed_methods, reason = "a longer run is asked for where the tests are started")]
fn outage() -> Duration {
    let asked = std::env::var("EXECUTOR_TEST_OUTAGE").ok();
    asked.map_or(CUT, |seconds| Duration::from_secs(seconds.parse().expect("a number of seconds")))
}

/// Numbered lines for as long as the gate is closed.
fn script(gate: &Gate) -> String {
    format!(
        "{{ set +x; }} 2>/dev/null; (while :; do i=$((i+1)); echo line $i; usleep 20000; done) & {}; kill $!; wait; echo end",
        gate.script()
    )
}

/// How many lines there are; panics unless they are the first ones, each once.
fn counted(log: &str) -> usize {
    let mut count = 0;
    for line in log.lines().map(|line| line.strip_prefix("stdout: ").unwrap_or(line)) {
        if line.starts_with("line ") {
            count += 1;
            assert_eq!(line, format!("line {count}"));
        }
    }
    count
}

/// Cuts the network for a while; `log` reads what the control plane has, not over that network. Returns how many lines it
/// had when the network was cut.
fn cut(cable: &Cable, log: impl Fn() -> String) -> usize {
    wait(SOON, "the first lines", || (counted(&log()) >= 20).then_some(()));
    cable.pull();
    let (pulled, outage) = (Instant::now(), outage());
    let cut_for = |time: Duration| {
        wait(outage * 2, "the network to be cut for long enough", || (pulled.elapsed() > time).then_some(()));
    };
    // The step prints all the time, also while the cable is being pulled; what was under way then has arrived after a while.
    cut_for(outage / 2);
    let before = counted(&log());
    cut_for(outage);
    let meanwhile = counted(&log());
    assert!(meanwhile < before + 40, "{meanwhile} lines after {before}: the network was not cut");
    cable.plug();
    let plugged = Instant::now();
    let printed = before + FEWEST_A_SECOND * usize::try_from(outage.as_secs()).unwrap();
    wait(SOON, "what was printed meanwhile", || (counted(&log()) > printed).then_some(()));
    #[expect(clippy::print_stdout, reason = "for the one who asked for a longer run")]
    {
        println!("cut for {outage:?}: {before} lines before, all of it told {:?} after", plugged.elapsed());
    }
    before
}

#[test]
fn a_cut_network_costs_no_line_of_a_log() {
    let name = "a_cut_network_costs_no_line_of_a_log";
    let Some(cable) = Cable::lay(name) else { return };
    let args = ["--listen", "0.0.0.0:0"];
    let Some(mut system) = System::serving(name, &args, &[]) else { return };
    let url = system.url().replace("127.0.0.1", &NEAR.to_string());
    let mut command = system.agent_command();
    command.env("EXECUTOR_FRONTEND_URL", url).env("PATH", path());
    let agent = crate::support::Process::start(cable.at_far_end(&command), "agent ");
    let gate = Gate::new();
    let id = system.submit(&script(&gate));
    let log = || system.ok(&["job", "logs", &id]);
    let before = cut(&cable, log);
    gate.open();
    let job = system.wait_for_state(&id, "completed");
    assert_eq!(job["attempt"], 1, "{job}");
    let text = log();
    assert!(text.contains("\nend\n") && counted(&text) > before, "{text}");
    agent.stop();
    // It is in a network of its own, as what a job leaves would be.
    system.server.kill();
    crate::leftovers::nothing_is_left(system.dir.path());
}

#[test]
fn a_cut_network_costs_no_line_of_a_log_at_a_stock_instance() {
    let name = "a_cut_network_costs_no_line_of_a_log_at_a_stock_instance";
    let Some(cable) = Cable::lay(name) else { return };
    let Some(mut bench) = Bench::at(NEAR, name, "") else { return };
    let gate = Gate::new();
    bench.server.give(StockJob::new("batches", 1).step("a", &[&script(&gate)]));
    let mut command = bench.command("run");
    command.env("EXECUTOR_QUEUE_NAME", "batches");
    bench.start_command(cable.at_far_end(&command));
    let log = || {
        let record = bench.server.record("batches", 1);
        record.and_then(|record| Some(record.entry("step.docker.a")?.out.clone())).unwrap_or_default()
    };
    let before = cut(&cable, log);
    gate.open();
    let record = bench.completed(1);
    assert_eq!(record.keys(), ["setup.fs.extras", "step.docker.a", "teardown.fs"]);
    let text = &record.entry("step.docker.a").unwrap().out;
    assert!(text.ends_with("stdout: end\n") && counted(text) > before, "{text}");
    bench.end();
}

#[expect(clippy::disallowed_methods, reason = "programs are found where the test finds them")]
fn path() -> std::ffi::OsString {
    std::env::var_os("PATH").unwrap_or_default()
}
