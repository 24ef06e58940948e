//! What decides when and where a job runs: said with it, or of queues and agents.

use super::{InviteCommand, known};
use clap::{Args, Subcommand};
use jobs::spec::MAX_RETRIES;
use jobs::{Concurrency, Needs};
use std::time::Duration;

/// When and where one job runs.
#[derive(Debug, Default, Args)]
pub(crate) struct OrderArgs {
    /// From -10 to 10: among your jobs one level counts as five minutes of waiting
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub(crate) priority: i32,
    /// Not to be run before so much time has passed, such as 90s, 2h or 1d
    #[arg(long, value_name = "DURATION", value_parser = crate::env::duration)]
    pub(crate) delay: Option<Duration>,
    /// At most N (1 unless said) of your jobs with the same KEY run at once; a KEY with a colon in it needs an N
    #[arg(long, value_name = "KEY[:N]", value_parser = concurrency)]
    pub(crate) concurrency: Option<Concurrency>,
    /// How often it is tried again after it failed by its own fault, such as a step's exit code; 0 to 10. Faults of the system
    /// are not counted here
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=i64::from(MAX_RETRIES)), conflicts_with = "file")]
    pub(crate) retries: u32,
    /// What its executor must have: cpus=N, memory=SIZE, disk=SIZE, isolation=container, user-kernel or vm, label=NAME.
    /// May be given several times, or with commas
    #[arg(long, value_name = "WHAT=VALUE", value_delimiter = ',')]
    pub(crate) needs: Vec<String>,
}

impl OrderArgs {
    /// What is needed, out of all options.
    pub(crate) fn needs(&self) -> Result<Needs, String> {
        let mut needs = Needs::default();
        for pair in &self.needs {
            need(&mut needs, pair)?;
        }
        Ok(needs)
    }
}

fn need(needs: &mut Needs, pair: &str) -> Result<(), String> {
    let told = |fault: String| format!("--needs {pair}: {fault}");
    let (what, value) =
        pair.split_once('=').ok_or_else(|| told("write WHAT=VALUE, such as cpus=4".to_owned()))?;
    match what {
        "cpus" => {
            let cpus =
                value.parse().map_err(|_| told("the number of CPUs must be a whole number".to_owned()))?;
            needs.cpus = Some(cpus);
        }
        "memory" => needs.memory = Some(jobs::parse_size(value).map_err(told)?),
        "disk" => needs.disk = Some(jobs::parse_size(value).map_err(told)?),
        "isolation" => needs.isolation = Some(value.parse().map_err(told)?),
        "label" => {
            needs.labels.insert(value.to_owned());
        }
        _ => return Err(told("use one of cpus, memory, disk, isolation, label".to_owned())),
    }
    Ok(())
}

fn concurrency(text: &str) -> Result<Concurrency, String> {
    // Who mistypes a limit may not get another key, beside whose jobs it runs.
    let no_limit = |_| format!("after the last colon there must be a number: {text}:1, if {text} is the key");
    let (key, limit) = match text.rsplit_once(':') {
        Some((key, limit)) => (key, limit.parse().map_err(no_limit)?),
        None => (text, 1),
    };
    jobs::name::check_concurrency_key(key).map_err(|fault| fault.to_string())?;
    Ok(Concurrency { key: key.to_owned(), limit })
}

#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// List the queues: what each holds, and how its jobs are given out
    List {
        /// JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Show one queue
    Show(QueueArgs),
    /// Give out none of a queue's jobs from now on. Those that run go on
    Pause(QueueArgs),
    /// Give out a queue's jobs again
    Resume(QueueArgs),
    /// Let at most N of a queue's jobs run at once
    Limit {
        /// The queue
        #[arg(value_parser = known::queue(), hide_possible_values = true)]
        name: String,
        /// How many; 0 for any number
        #[arg(value_name = "N")]
        max_running: u32,
        /// JSON instead of text
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct QueueArgs {
    /// The queue
    #[arg(value_parser = known::queue(), hide_possible_values = true)]
    pub(crate) name: String,
    /// JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    /// List the agents that the control plane has heard of, by name
    List {
        /// Only those that it heard of lately
        #[arg(long)]
        active: bool,
        /// Only the others
        #[arg(long, conflicts_with = "active")]
        silent: bool,
        /// Only those that have this in their name, queues, version, platform, isolation or labels
        #[arg(long)]
        text: Option<String>,
        /// JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Give an agent no more jobs, for maintenance of its host. Those it has go on
    Drain(AgentArgs),
    /// Give an agent jobs again
    Resume(AgentArgs),
    /// Let agents get an identity of their own, in place of the shared secret
    #[command(subcommand)]
    Invite(InviteCommand),
    /// List the agents that have one
    Identities {
        /// JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Refuse an agent from now on that has an identity of its own. Its jobs are given to others when their leases are over
    Revoke(AgentArgs),
}

#[derive(Debug, Args)]
pub(crate) struct AgentArgs {
    /// The agent's name, as `executor agent list` tells it
    pub(crate) name: String,
    /// JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobs::Isolation;

    fn needs(all: &[&str]) -> Result<Needs, String> {
        let needs = all.iter().map(ToString::to_string).collect();
        OrderArgs { needs, ..OrderArgs::default() }.needs()
    }

    #[test]
    fn needs_are_read_from_pairs() {
        let read = needs(&["cpus=4", "memory=8G", "isolation=vm", "label=gpu", "label=zone=b"]).unwrap();
        assert_eq!((read.cpus, read.memory, read.isolation), (Some(4), Some(8 << 30), Some(Isolation::Vm)));
        assert_eq!(read.labels.into_iter().collect::<Vec<_>>(), ["gpu", "zone=b"]);
        for (bad, told) in [
            ("cpus", "--needs cpus: write WHAT=VALUE, such as cpus=4"),
            ("cpus=x", "--needs cpus=x: the number of CPUs must be a whole number"),
            ("memory=8X", "--needs memory=8X: unknown suffix \"X\": use K, M, G, T or P"),
            ("gpu=1", "--needs gpu=1: use one of cpus, memory, disk, isolation, label"),
        ] {
            assert_eq!(needs(&[bad]).unwrap_err(), told);
        }
    }

    #[test]
    fn a_key_has_a_limit_of_one_unless_said() {
        let read = |text| concurrency(text).map(|of| (of.key, of.limit));
        assert_eq!(read("deploy"), Ok(("deploy".to_owned(), 1)));
        assert_eq!(read("deploy:app:3"), Ok(("deploy:app".to_owned(), 3)));
        for none in ["deploy:x", "deploy:1x", "deploy:", "deploy:-1", "deploy:app"] {
            let told = format!("after the last colon there must be a number: {none}:1, if {none} is the key");
            assert_eq!(read(none), Err(told));
        }
        assert_eq!(read("deploy:app:1"), Ok(("deploy:app".to_owned(), 1)));
        assert!(read("a b").unwrap_err().contains("visible ASCII"));
    }
}
