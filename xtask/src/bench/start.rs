//! From submit to the step's first instruction.

use super::containers::{Bundle, Docker, STAMP, now, stamp};
use super::stats::Samples;
use super::{Bench, System, timeline};
use anyhow::Result;
use serde_json::json;

/// Runs that are not counted.
const WARM_UP: usize = 3;

pub(super) fn run(bench: &Bench) -> Result<()> {
    println!("submit → first instruction (one step, no repository, warm)");
    let scratch = tempfile::Builder::new().prefix("executor-xtask-").tempdir()?;
    let mut bundle = Bundle::unpack(&bench.rootfs, scratch.path().join("bundle"))?;
    let docker = Docker::start(&bench.rootfs, scratch.path())?;
    let system = System::start(bench, &[], None)?;

    let [mut ours, mut crun, mut runc, mut in_docker]: [Samples; 4] = Default::default();
    for round in 0..bench.runs + WARM_UP {
        // Taken in turn, so that a busy moment of the machine hits all of them.
        let taken =
            [submit(&system)?, bundle.start("crun")?, bundle.start("runc")?, docker.start_container()?];
        if round >= WARM_UP {
            for (samples, value) in [&mut ours, &mut crun, &mut runc, &mut in_docker].into_iter().zip(taken) {
                samples.push(value);
            }
        }
    }
    docker.stop()?;
    system.stop()?;

    println!("{}", ours.row("executor: submit → first instruction", "ms", None));
    println!("{}", crun.row("crun run", "ms", Some(&ours)));
    println!("{}", runc.row("runc run", "ms", Some(&ours)));
    println!("{}", in_docker.row("docker run --rm", "ms", Some(&ours)));
    println!(
        "  above bare crun: {:.1} ms (aim: at most 30)   docker ÷ ours: {:.1}× (aim: at least 5)\n",
        ours.median() - crun.median(),
        in_docker.median() / ours.median()
    );
    timeline::run(bench)
}

/// One job; milliseconds from just before the request to the first instruction of its script.
pub(super) fn submit(system: &System) -> Result<f64> {
    let begun = now();
    let job = system.job(json!({ "steps": [{ "image": "", "run": STAMP }] }))?;
    let log = system.log(job["id"].as_i64().unwrap_or_default(), "step.docker.0")?;
    let printed = log.lines().find_map(|line| line.strip_prefix("stdout: ")).unwrap_or_default();
    Ok(stamp(printed)? - begun)
}
