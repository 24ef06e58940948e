//! What a job needs of the executor that runs it, and what executors have.

use crate::name::{self, BadName};
use crate::size::{compared, parse_size, shown_size};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Labels that one job needs, or one executor has, at most.
pub const MAX_LABELS: usize = 20;

/// How well an executor keeps its jobs apart from its host, weakest first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// Steps run as the executor does.
    None,
    /// Namespaces, a system call filter and control groups on the host's kernel.
    Container,
    /// A kernel of its own, in user space.
    UserKernel,
    /// A virtual machine.
    Vm,
}

impl Isolation {
    const ALL: [Self; 4] = [Self::None, Self::Container, Self::UserKernel, Self::Vm];

    /// The name by which it is stored, sent and shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Container => "container",
            Self::UserKernel => "user-kernel",
            Self::Vm => "vm",
        }
    }
}

impl std::str::FromStr for Isolation {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|isolation| isolation.name() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("unknown isolation {text:?}: it must be one of {names}")
        })
    }
}

/// What a job needs. What is left out does not matter to it.
#[derive(
    Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Needs {
    /// CPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u32>,
    /// Bytes of memory; written as a number or as a size such as `4G`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "bytes")]
    #[schemars(schema_with = "amount")]
    pub memory: Option<u64>,
    /// Bytes of disk; written as a number or as a size such as `20G`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "bytes")]
    #[schemars(schema_with = "amount")]
    pub disk: Option<u64>,
    /// At least this isolation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
    /// All of these labels.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub labels: BTreeSet<String>,
}

/// As the command line takes them.
impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amounts = [
            self.cpus.map(|cpus| format!("cpus={cpus}")),
            self.memory.map(|bytes| format!("memory={}", shown_size(bytes))),
            self.disk.map(|bytes| format!("disk={}", shown_size(bytes))),
            self.isolation.map(|isolation| format!("isolation={}", isolation.name())),
        ];
        let labels = self.labels.iter().map(|label| format!("label={label}"));
        let all: Vec<String> = amounts.into_iter().flatten().chain(labels).collect();
        f.write_str(&all.join(", "))
    }
}

/// What an executor gives a job. What it does not tell counts as enough where it is an amount, and as not there where it
/// is a promise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Capacity {
    /// CPUs.
    pub cpus: Option<u32>,
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes of disk.
    pub disk: Option<u64>,
    /// How well it keeps jobs apart from its host.
    pub isolation: Option<Isolation>,
    /// What else its operator says of it.
    pub labels: BTreeSet<String>,
    /// How it is set up, by name, for people to see: nothing is decided by it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
}

/// One thing that a job needs and an executor has not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unmet {
    /// Too few CPUs: needed, there.
    Cpus(u32, u32),
    /// Too little memory: bytes needed, bytes there.
    Memory(u64, u64),
    /// Too little disk: bytes needed, bytes there.
    Disk(u64, u64),
    /// Too weak an isolation: needed, there.
    Isolation(Isolation, Option<Isolation>),
    /// A label is not there.
    Label(String),
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpus(need, has) => write!(f, "it needs {need} CPUs of {has}"),
            Self::Memory(need, has) => {
                let (need, has) = compared(*need, *has);
                write!(f, "it needs {need} of memory of {has}")
            }
            Self::Disk(need, has) => {
                let (need, has) = compared(*need, *has);
                write!(f, "it needs {need} of disk of {has}")
            }
            Self::Isolation(need, has) => {
                let has = has.map_or("not told", Isolation::name);
                write!(f, "it needs the isolation {}, which is {has}", need.name())
            }
            Self::Label(label) => write!(f, "it needs the label {label}"),
        }
    }
}

impl Needs {
    /// Whether nothing is needed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Checks the labels.
    pub fn check(&self) -> Result<(), BadName> {
        name::check_labels(&self.labels)
    }

    /// What of it `there` has not; nothing where the job may run there.
    pub fn unmet(&self, there: &Capacity) -> Vec<Unmet> {
        let amounts = [
            lacks(self.cpus, there.cpus).map(|(need, has)| Unmet::Cpus(need, has)),
            lacks(self.memory, there.memory).map(|(need, has)| Unmet::Memory(need, has)),
            lacks(self.disk, there.disk).map(|(need, has)| Unmet::Disk(need, has)),
        ];
        let isolation = self.isolation.filter(|need| there.isolation.is_none_or(|has| has < *need));
        let labels = self.labels.difference(&there.labels).cloned().map(Unmet::Label);
        let isolation = isolation.map(|need| Unmet::Isolation(need, there.isolation));
        amounts.into_iter().flatten().chain(isolation).chain(labels).collect()
    }
}

/// What is needed and there, where the latter is less.
fn lacks<T: Ord + Copy>(need: Option<T>, has: Option<T>) -> Option<(T, T)> {
    need.zip(has).filter(|(need, has)| has < need)
}

/// What stands for such an amount.
fn amount(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": ["integer", "string", "null"], "minimum": 0, "pattern": "^[0-9.]+ *[A-Za-z]*$"})
}

/// A number of bytes, or a size in text.
fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a number of bytes, or a size such as 4G")]
    enum Size {
        Bytes(u64),
        Text(String),
    }
    Ok(match Option::<Size>::deserialize(deserializer)? {
        None => None,
        Some(Size::Bytes(bytes)) => Some(bytes),
        Some(Size::Text(text)) => Some(
            parse_size(&text)
                .map_err(|fault| serde::de::Error::custom(format!("invalid size {text:?}: {fault}")))?,
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(json: &str) -> Needs {
        serde_json::from_str(json).unwrap()
    }

    fn big() -> Capacity {
        Capacity {
            cpus: Some(4),
            memory: Some(8 << 30),
            disk: Some(20 << 30),
            isolation: Some(Isolation::Container),
            labels: BTreeSet::from(["gpu".to_owned(), "fast".to_owned()]),
            settings: BTreeMap::new(),
        }
    }

    #[test]
    fn sizes_are_numbers_or_text_and_are_kept_as_numbers() {
        let read = needs(
            r#"{"cpus": 2, "memory": "4G", "disk": 1024, "isolation": "user-kernel", "labels": ["gpu"]}"#,
        );
        assert_eq!((read.memory, read.disk), (Some(4 << 30), Some(1024)));
        let stored = serde_json::to_string(&read).unwrap();
        assert_eq!(needs(&stored), read);
        assert_eq!(serde_json::to_string(&Needs::default()).unwrap(), "{}");
        for (bad, told) in [
            (r#"{"memory": "4X"}"#, "invalid size \"4X\": unknown suffix \"X\": use K, M, G, T or P"),
            (r#"{"memory": true}"#, "a number of bytes, or a size such as 4G"),
            (r#"{"gpus": 1}"#, "unknown field `gpus`"),
        ] {
            let fault = serde_json::from_str::<Needs>(bad).unwrap_err().to_string();
            assert!(fault.contains(told), "{fault}");
        }
    }

    #[test]
    fn all_of_it_must_be_there() {
        let job = needs(
            r#"{"cpus": 4, "memory": "8G", "disk": "20G", "isolation": "container", "labels": ["gpu"]}"#,
        );
        assert_eq!(job.unmet(&big()), []);
        let settings = BTreeMap::from([("job-memory".to_owned(), "1".to_owned())]);
        assert_eq!(job.unmet(&Capacity { settings, ..big() }), [], "how it is set up decides nothing");
        assert_eq!(Needs::default().unmet(&Capacity::default()), []);
        let small = Capacity {
            cpus: Some(2),
            memory: Some(1),
            disk: Some(2),
            isolation: Some(Isolation::None),
            labels: BTreeSet::new(),
            ..Capacity::default()
        };
        let told: Vec<String> = job.unmet(&small).iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "it needs 4 CPUs of 2",
                "it needs 8 GiB of memory of 1 B",
                "it needs 20 GiB of disk of 2 B",
                "it needs the isolation container, which is none",
                "it needs the label gpu",
            ]
        );
    }

    /// An amount that is not told has no limit; a promise that is not told is not given.
    #[test]
    fn what_is_not_told_is_enough_but_promises_nothing() {
        let silent = Capacity::default();
        assert_eq!(needs(r#"{"cpus": 64, "memory": "1T", "disk": "1T"}"#).unmet(&silent), []);
        let isolated = needs(r#"{"isolation": "none"}"#);
        assert_eq!(isolated.unmet(&silent), [Unmet::Isolation(Isolation::None, None)]);
        assert_eq!(needs(r#"{"labels": ["gpu"]}"#).unmet(&silent), [Unmet::Label("gpu".to_owned())]);
    }

    #[test]
    fn isolations_have_an_order_and_names() {
        assert!(Isolation::ALL.is_sorted());
        for isolation in Isolation::ALL {
            assert_eq!(isolation.name().parse(), Ok(isolation));
            assert_eq!(serde_json::to_value(isolation).unwrap(), isolation.name());
        }
        let fault = "jail".parse::<Isolation>().unwrap_err();
        assert_eq!(fault, "unknown isolation \"jail\": it must be one of none, container, user-kernel, vm");
    }
}
