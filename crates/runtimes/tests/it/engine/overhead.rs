//! What a step costs beside `docker run --rm`. Run it by hand, on a quiet machine:
//! `cargo test --release -p runtimes --test it -- --ignored --nocapture overhead_beside_docker_run`.
#![expect(clippy::print_stderr, reason = "figures are what this is for")]

use super::bench::run_on;
use crate::harness::{Bench, IMAGE};
use runtimes::Limits;
use std::time::{Duration, Instant};
use testkit::{Engine, EngineKind};

const ROUNDS: usize = 20;

#[test]
#[ignore = "measures; judges nothing"]
fn overhead_beside_docker_run() {
    for network in ["none", "bridge"] {
        let Some(engine) = Engine::shared("overhead_beside_docker_run", EngineKind::Docker) else { return };
        let change =
            |options: &mut runtimes::docker::DockerOptions| options.network = Some(network.to_owned());
        run_on(engine, "overhead_beside_docker_run", change, async |bench| measure(bench, network).await);
    }
}

async fn measure(bench: &mut Bench, network: &str) {
    let limits = Limits { memory: Some(256 << 20), cpus: Some(2.0), pids: Some(256), disk: None };
    let (mut ours, mut job, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let mut sandbox = bench.open(limits).await;
        let ran = sandbox.run(&["true"]).await.unwrap();
        ours.push(begun.elapsed());
        sandbox.close().await;
        job.push(begun.elapsed());
        assert!(ran.exit.cause.is_none());

        let begun = Instant::now();
        let args = ["run", "--rm", "--cpus", "2", "--memory", "256M", "--network", network, IMAGE, "true"];
        assert!(bench.engine().docker(&args).status().unwrap().success());
        theirs.push(begun.elapsed());
    }
    for (what, mut took) in [("a step", ours), ("with its sandbox", job), ("docker run --rm", theirs)] {
        took.sort_unstable();
        let (least, most) = (took[0], took[ROUNDS - 1]);
        eprintln!("network {network}: {what}: {} ({} – {}) ms", ms(took[ROUNDS / 2]), ms(least), ms(most));
    }
}

fn ms(took: Duration) -> String {
    format!("{:.1}", took.as_secs_f64() * 1_000.0)
}
