//! graphile-worker, a queue that others keep in PostgreSQL, from npm.

use crate::{BATCH, TIME};
use std::path::Path;
use std::process::Command;

/// What was measured here. A newer one is installed by hand.
const PACKAGE: &str = "graphile-worker@0.16.6";
/// Jobs that are there before the first is taken, where they are added by one call.
const JOBS: u32 = 20_000;
/// What speaks to it.
const SCRIPT: &str = include_str!("peer.js");

/// Prints its figures, or why there are none.
pub(crate) fn measure(url: &str) {
    let dir = tempfile::tempdir().unwrap();
    if let Err(fault) = install(dir.path()) {
        println!("  not measured: {fault}");
        return;
    }
    println!("  {PACKAGE}, 16 at a time");
    let seconds = TIME.as_secs().to_string();
    let along = |adders, batch: u32| {
        (
            format!("added meanwhile by {adders}, {batch:>3} jobs a call"),
            vec!["along".to_owned(), seconds.clone(), format!("{adders}"), batch.to_string()],
        )
    };
    let first = (format!("all {JOBS} added by one call before"), vec!["first".to_owned(), JOBS.to_string()]);
    for (what, arguments) in [along(16, 1), along(4, BATCH), first] {
        match run(Command::new("node").args(["peer.js", url]).args(arguments), dir.path()) {
            Ok(rate) => println!("  {what}: {rate:>8} cycles/s"),
            Err(fault) => println!("  {what}: not measured: {fault}"),
        }
    }
}

fn install(dir: &Path) -> Result<(), String> {
    run(Command::new("npm").args(["install", "--silent", "--no-fund", "--no-audit", PACKAGE]), dir)?;
    std::fs::write(dir.join("peer.js"), SCRIPT).map_err(|fault| fault.to_string())
}

fn run(command: &mut Command, dir: &Path) -> Result<String, String> {
    let output = command.current_dir(dir).output().map_err(|fault| format!("{command:?}: {fault}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(said.lines().next().unwrap_or("it failed without a word").to_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
