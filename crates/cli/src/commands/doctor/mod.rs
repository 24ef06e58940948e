//! `executor doctor`: everything that can be known of a host before a job runs on it.
//!
//! It works with a broken configuration too: faults are findings, and the rest is looked at with what is
//! known. Looks run at the same time, each within a limit, and none changes anything on the host.

mod agents;
mod capacity;
mod catalog;
mod certificates;
mod configuration;
mod discretion;
mod exporters;
mod finding;
mod from_jobs;
mod frontend;
mod kernel;
mod known;
mod kvm;
mod looks;
mod page;
mod programs;
mod registries;
mod report;
mod room;
mod runtime;
mod server;
mod sizes;
mod systemd;
mod time;
mod versions;

use super::print;
use crate::args::DoctorArgs;
use crate::env::{EnvReader, Variables};
use crate::exit::{Exit, Failure, Outcome};
use crate::paths::Paths;
use discretion::Discretion;
use known::Known;
use report::Report;
use runtimes::PrivateMounts;
pub(crate) use server::run as run_for_server;
use std::sync::Arc;

/// Looks at everything and tells what it came to. `program` is what this one was called as; `env` may
/// hold faults.
pub(crate) fn run(
    args: &DoctorArgs,
    (variables, program): (&Variables, &str),
    env: EnvReader<'_>,
    paths: &Paths,
    mounts: Result<PrivateMounts, Failure>,
) -> Outcome {
    if args.list {
        print::line(page::markdown().trim_end())?;
        return Ok(Exit::Success);
    }
    let known = Arc::new(Known::read(variables, program, env, paths));
    let looking = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let looking = looking.map_err(|fault| Failure::chain(Exit::System, &fault))?;
    let findings = looking.block_on(looks::all(&known, mounts));
    // What hangs, such as the file system of a dead server, may not keep us.
    looking.shutdown_background();
    let secrets = known.secrets();
    let discretion = Discretion::new(secrets.iter().map(String::as_str));
    let report = Report::new(findings, args.strict, &discretion);
    if args.json {
        print::json(&report)?;
    } else {
        print::line(&report.text())?;
    }
    Ok(report.exit())
}
