//! What can go wrong in a schedule.

use std::collections::BTreeSet;
use std::str::FromStr;

/// One kind of misfortune.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Requests and answers get lost.
    Loss,
    /// Requests arrive twice, the second time up to a minute later.
    Duplicates,
    /// Requests and answers take up to half a minute, and overtake each other.
    Delays,
    /// Nothing passes between the server and one of the others, for up to two minutes.
    Partitions,
    /// Agents die, or are stopped, and start again; their jobs go on without them.
    Agents,
    /// Processes that run a job die.
    Supervisors,
    /// Hosts lose their power.
    Hosts,
    /// Hosts stand still, for up to three minutes.
    Pauses,
    /// The server dies, before or after a request's commit, and starts again, with other leases perhaps.
    Servers,
    /// The server stands still.
    Stills,
    /// Somebody sets the database's clock, by up to three minutes or, again and again perhaps, by less than a second.
    Clock,
    /// The executors' clocks are up to 1 % too fast or too slow.
    Drift,
    /// Operators pause and limit queues and take executors into maintenance.
    Operators,
}

impl Fault {
    /// Every kind, with its name and what it is.
    pub const ALL: [(Self, &'static str); 13] = [
        (Self::Loss, "loss"),
        (Self::Duplicates, "duplicates"),
        (Self::Delays, "delays"),
        (Self::Partitions, "partitions"),
        (Self::Agents, "agents"),
        (Self::Supervisors, "supervisors"),
        (Self::Hosts, "hosts"),
        (Self::Pauses, "pauses"),
        (Self::Servers, "servers"),
        (Self::Stills, "stills"),
        (Self::Clock, "clock"),
        (Self::Drift, "drift"),
        (Self::Operators, "operators"),
    ];
}

/// Those that a schedule may have; each schedule has some of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(pub BTreeSet<Fault>);

impl Default for Faults {
    /// All of them.
    fn default() -> Self {
        Self(Fault::ALL.into_iter().map(|(fault, _)| fault).collect())
    }
}

impl FromStr for Faults {
    type Err = String;

    /// Reads `all`, `none`, or names separated by commas; one with a `-` before it is taken out: `all,-clock`.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut faults = BTreeSet::new();
        for word in text.split(',').map(str::trim) {
            let (take_out, name) = word.strip_prefix('-').map_or((false, word), |name| (true, name));
            let named: Vec<Fault> = match name {
                "all" => Self::default().0.into_iter().collect(),
                "none" | "" => Vec::new(),
                name => {
                    let found = Fault::ALL.iter().find(|(_, known)| *known == name);
                    vec![found.ok_or_else(|| unknown(name))?.0]
                }
            };
            for fault in named {
                if take_out {
                    faults.remove(&fault);
                } else {
                    faults.insert(fault);
                }
            }
        }
        Ok(Self(faults))
    }
}

fn unknown(name: &str) -> String {
    let names: Vec<&str> = Fault::ALL.iter().map(|(_, name)| *name).collect();
    format!("unknown fault {name:?}: it must be all, none, or some of {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_named_one_by_one_or_left_out_of_all() {
        assert_eq!("all".parse(), Ok(Faults::default()));
        assert_eq!("none".parse(), Ok(Faults(BTreeSet::new())));
        assert_eq!("loss, clock".parse(), Ok(Faults(BTreeSet::from([Fault::Loss, Fault::Clock]))));
        let without: Faults = "all,-clock".parse().unwrap();
        assert_eq!(without.0.len(), Fault::ALL.len() - 1);
        let fault = "rain".parse::<Faults>().unwrap_err();
        assert!(
            fault.starts_with("unknown fault \"rain\": it must be all, none, or some of loss, "),
            "{fault}"
        );
    }
}
