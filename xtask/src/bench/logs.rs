//! Log throughput: a step that prints as fast as it can, with secrets to redact.

use super::stats::Samples;
use super::{Bench, System};
use anyhow::Result;
use serde_json::json;
use std::time::Instant;

/// What the step prints, again and again.
const LINE: &str = "a line of a log, about eighty bytes long, with nothing secret in it, really.";
/// How often: together just below what is kept of one entry.
const LINES: usize = (60 << 20) / LINE.len();
/// Bytes of text that a step prints, line ends included.
const BYTES: usize = LINES * (LINE.len() + 1);
/// Secrets of the job; each is looked for in all of its forms.
const SECRETS: usize = 20;

pub(super) fn run(bench: &Bench) -> Result<()> {
    println!("log throughput ({:.1} MB printed by one step, {SECRETS} secrets)", BYTES as f64 / 1e6);
    let system = System::start(bench, &[], None)?;
    let secrets: serde_json::Map<_, _> =
        (0..SECRETS).map(|n| (format!("SECRET_{n}"), json!(format!("s3cret-value-number-{n:04}")))).collect();
    let script = format!("yes '{LINE}' | head -n {LINES}");
    let mut throughput = Samples::default();
    for _ in 0..bench.runs {
        let begun = Instant::now();
        system.job(json!({ "secrets": secrets, "steps": [{ "image": "", "run": script }] }))?;
        throughput.push(BYTES as f64 / 1e6 / begun.elapsed().as_secs_f64());
    }
    system.stop()?;
    println!("{}", throughput.row("submit → completed, all text stored", "MB/s", None));
    println!();
    Ok(())
}
