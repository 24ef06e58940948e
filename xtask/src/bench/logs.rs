//! Log throughput: a step that prints as fast as it can, with secrets to redact.

use super::stats::Samples;
use super::{Bench, System};
use anyhow::Result;
use serde_json::json;
use std::time::Instant;

/// Bytes of text that a step prints: just below what is kept of one entry.
const BYTES: usize = 60 << 20;
/// Secrets of the job; each is looked for in all of its forms.
const SECRETS: usize = 20;

pub(super) fn run(bench: &Bench) -> Result<()> {
    println!("log throughput ({} MB printed by one step, {SECRETS} secrets)", BYTES >> 20);
    let system = System::start(bench, &[], None)?;
    let secrets: serde_json::Map<_, _> =
        (0..SECRETS).map(|n| (format!("SECRET_{n}"), json!(format!("s3cret-value-number-{n:04}")))).collect();
    let lines = BYTES / 80;
    let script = format!(
        "yes 'a line of a log, about eighty bytes long, with nothing secret in it, really.' | head -n {lines}"
    );
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
