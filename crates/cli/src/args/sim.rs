//! What `executor sim` is told.

use clap::Args;
use sim::{Faults, Flaw};

#[derive(Debug, Args)]
pub(crate) struct SimArgs {
    /// What a schedule follows from, byte for byte; with `--schedules`, that of the first
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// How many schedules to run, each with the next seed
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) schedules: u64,
    /// How many executors there are
    #[arg(long, value_name = "E", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=50))]
    pub(crate) executors: u16,
    /// How many jobs are submitted
    #[arg(long, value_name = "J", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=200))]
    pub(crate) jobs: u16,
    /// What may go wrong: all, none, or some of loss, duplicates, delays, partitions, agents, supervisors, hosts, pauses,
    /// servers, stills, clock, drift, operators; -NAME leaves one out of all. Each schedule has some of them
    #[arg(long, value_name = "LIST", default_value = "all", allow_hyphen_values = true)]
    pub(crate) faults: Faults,
    /// Plant a mistake into what is tried, such as lease-from-answer, to see it found; docs/simulator.md lists them
    #[arg(long, value_name = "NAME")]
    pub(crate) plant: Option<Flaw>,
    /// Print all that happened in the last schedule, not only the end of one that breaks a rule
    #[arg(long)]
    pub(crate) timeline: bool,
    /// JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
}
