//! Project automation: `cargo xtask demo`, `test`, `engines`, `bench`, `dist`.
//!
//! Everything that is started here is ended here, by its pid; everything that is made is removed,
//! but for what is kept below `~/.cache/executor-xtask`: root file systems, tools, a kernel for guests.

#![expect(clippy::print_stdout, reason = "a program for people at a terminal")]
#![expect(clippy::disallowed_methods, reason = "a program for developers, which has no table of variables")]

mod bench;
mod command;
mod demo;
mod dist;
mod engines;
mod http;
mod leftovers;
mod parts;
mod product;
mod rootfs;
mod system;
mod test;

use clap::{Parser, Subcommand};
use std::path::PathBuf;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Sets everything up and shows, tests or measures it")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build, start, and run a three-step job on a real repository
    Demo {
        /// The repository to run the job on [default: this checkout]
        #[arg(long)]
        repo: Option<PathBuf>,
    },
    /// Run every check and every test
    Test,
    /// Run the tests of container engines against other releases than the installed one
    Engines {
        /// Only those whose name has this in it, such as `Podman` or `of sid`
        #[arg(long)]
        only: Option<String>,
    },
    /// Measure, against the floor and against peers
    Bench {
        /// Runs of each measurement; load, fleet and queue are measured in one
        #[arg(long, default_value_t = 20)]
        runs: usize,
        /// Only this measurement
        #[arg(value_name = "NAME")]
        name: Option<bench::Measurement>,
        /// The same
        #[arg(long, value_name = "NAME", conflicts_with = "name")]
        only: Option<bench::Measurement>,
    },
    /// Build the static binary
    Dist,
    /// Build a small Debian root file system and print its path
    Rootfs,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().task {
        Task::Demo { repo } => demo::run(repo),
        Task::Test => test::run(),
        Task::Engines { only } => engines::run(only.as_deref()),
        Task::Bench { runs, name, only } => bench::run(runs, name.or(only)),
        Task::Dist => dist::run(),
        Task::Rootfs => {
            println!("{}", rootfs::debian()?.display());
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bench::Measurement;

    #[test]
    fn a_measurement_is_named_with_and_without_an_option() {
        let named = |line: &str| match Cli::try_parse_from(line.split(' ')).map(|cli| cli.task) {
            Ok(Task::Bench { name, only, .. }) => Ok(name.or(only)),
            _ => Err(()),
        };
        assert_eq!(named("xtask bench"), Ok(None));
        assert_eq!(named("xtask bench queue"), Ok(Some(Measurement::Queue)));
        assert_eq!(named("xtask bench --only queue"), Ok(Some(Measurement::Queue)));
        assert_eq!(named("xtask bench fleet --runs 1"), Ok(Some(Measurement::Fleet)));
        assert_eq!(named("xtask bench queue --only fleet"), Err(()));
        assert_eq!(named("xtask bench nothing"), Err(()));
    }
}
