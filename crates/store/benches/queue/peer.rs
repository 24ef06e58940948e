//! graphile-worker, a queue that others keep in PostgreSQL, from npm.

use std::path::Path;
use std::process::Command;

/// What was measured here. A newer one is installed by hand.
const PACKAGE: &str = "graphile-worker@0.16.6";
/// Jobs of one figure.
const JOBS: u32 = 20_000;
/// Adds jobs, many a call, and lets workers in this process do nothing with each.
const SCRIPT: &str = r"
const { runOnce, makeWorkerUtils } = require('graphile-worker');
const [connectionString, jobs] = [process.argv[2], Number(process.argv[3])];
const quiet = new (require('graphile-worker').Logger)(() => () => {});
(async () => {
  const utils = await makeWorkerUtils({ connectionString, logger: quiet });
  await utils.migrate();
  const begun = process.hrtime.bigint();
  await utils.withPgClient((client) => client.query(
    `SELECT graphile_worker.add_jobs(array(SELECT row('noop', '{}'::json, null, null, null, null, null, null)
       ::graphile_worker.job_spec FROM generate_series(1, $1)))`, [jobs]));
  await runOnce({ connectionString, concurrency: 16, maxPoolSize: 18, logger: quiet, taskList: { noop: async () => {} } });
  const seconds = Number(process.hrtime.bigint() - begun) / 1e9;
  await utils.release();
  console.log(Math.round(jobs / seconds));
})().catch((fault) => { console.error(fault.message); process.exit(1); });
";

/// Prints its figure, or why there is none.
pub(crate) fn measure(url: &str) {
    let dir = tempfile::tempdir().unwrap();
    match cycles(dir.path(), url) {
        Ok(rate) => println!("  16 at a time, all {JOBS} added by one call: {rate:>8} cycles/s ({PACKAGE})"),
        Err(fault) => println!("  not measured: {fault}"),
    }
}

fn cycles(dir: &Path, url: &str) -> Result<String, String> {
    run(Command::new("npm").args(["install", "--silent", "--no-fund", "--no-audit", PACKAGE]), dir)?;
    std::fs::write(dir.join("measure.js"), SCRIPT).map_err(|fault| fault.to_string())?;
    run(Command::new("node").args(["measure.js", url, &JOBS.to_string()]), dir)
}

fn run(command: &mut Command, dir: &Path) -> Result<String, String> {
    let output = command.current_dir(dir).output().map_err(|fault| format!("{command:?}: {fault}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(said.lines().next().unwrap_or("it failed without a word").to_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
