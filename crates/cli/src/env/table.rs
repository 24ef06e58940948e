//! Every variable that `executor` knows.

/// What a value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any text.
    Text,
    /// Text that may not be shown.
    Secret,
    /// A whole number, base 10, 64 bits.
    Int,
    /// `1 t T TRUE true True 0 f F FALSE false False`.
    Bool,
    /// `300ms`, `1.5h`, `2h45m`, or plain `0`.
    Duration,
    /// Bytes with a suffix in powers of 1024: `512M`, `12G`.
    Size,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Secret => "secret",
            Self::Int => "integer",
            Self::Bool => "bool",
            Self::Duration => "duration",
            Self::Size => "size",
        }
    }
}

/// Who reads a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// `executor run` and `executor up`.
    Agent,
    /// `executor job`, `repo` and `image`.
    Client,
    /// Every command.
    All,
}

impl Reader {
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Agent => "Agent (`executor run`, `executor up`)",
            Self::Client => "Client (`executor job`, `repo`, `image`)",
            Self::All => "Every command",
        }
    }
}

/// One variable.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    /// An older name, used when `name` is unset or empty.
    pub(crate) fallback: Option<&'static str>,
    pub(crate) kind: Kind,
    /// The value when it is not set; empty means none.
    pub(crate) default: &'static str,
    pub(crate) reader: Reader,
    pub(crate) doc: &'static str,
}

const fn agent(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Variable {
    Variable { name, fallback: None, kind, default, reader: Reader::Agent, doc }
}

const fn renamed(
    name: &'static str,
    fallback: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Variable {
    Variable { name, fallback: Some(fallback), kind, default, reader: Reader::Agent, doc }
}

const fn client(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Variable {
    Variable { name, fallback: None, kind, default, reader: Reader::Client, doc }
}

const fn all(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Variable {
    Variable { name, fallback: None, kind, default, reader: Reader::All, doc }
}

/// In the order in which they are read, so that faults are reported in a stable order.
pub(crate) const VARIABLES: &[Variable] = &[
    agent(
        "EXECUTOR_FRONTEND_URL",
        Kind::Text,
        "",
        "Base URL of the control plane, scheme://host[:port][/path]. Required by `run`; `up` knows its own.",
    ),
    agent(
        "EXECUTOR_FRONTEND_PASSWORD",
        Kind::Secret,
        "",
        "The shared secret: the control plane's executors.accessToken. Required by `run`; `up` knows its own.",
    ),
    agent(
        "EXECUTOR_QUEUE_NAME",
        Kind::Text,
        "",
        "The one queue to take jobs from: batches or codeintel. Exactly one of this and EXECUTOR_QUEUE_NAMES must be set.",
    ),
    agent(
        "EXECUTOR_QUEUE_NAMES",
        Kind::Text,
        "",
        "Several queues to take jobs from, separated by commas without blanks.",
    ),
    agent(
        "EXECUTOR_QUEUE_POLL_INTERVAL",
        Kind::Duration,
        "1s",
        "Pause after a dequeue that found nothing, where the control plane does not hold such requests itself.",
    ),
    agent("EXECUTOR_MAXIMUM_NUM_JOBS", Kind::Int, "1", "How many jobs run at the same time."),
    agent(
        "EXECUTOR_MAXIMUM_RUNTIME_PER_JOB",
        Kind::Duration,
        "30m",
        "How long a job may run; 0 means without limit.",
    ),
    agent("EXECUTOR_NUM_TOTAL_JOBS", Kind::Int, "0", "Stop after this many jobs; 0 means never."),
    agent(
        "EXECUTOR_MAX_ACTIVE_TIME",
        Kind::Duration,
        "0",
        "Take no more jobs after this long, finish those that run, and stop; 0 means never.",
    ),
    agent(
        "EXECUTOR_KEEP_WORKSPACES",
        Kind::Bool,
        "false",
        "Keep each job's workspace on disk after the job, for debugging.",
    ),
    renamed(
        "EXECUTOR_JOB_NUM_CPUS",
        "EXECUTOR_FIRECRACKER_NUM_CPUS",
        Kind::Int,
        "4",
        "CPUs that one job may use; 0 means without limit.",
    ),
    renamed(
        "EXECUTOR_JOB_MEMORY",
        "EXECUTOR_FIRECRACKER_MEMORY",
        Kind::Size,
        "12G",
        "Memory that one job may use; 0 means without limit.",
    ),
    agent(
        "EXECUTOR_FIRECRACKER_DISK_SPACE",
        Kind::Size,
        "20G",
        "Disk that one job may use, its workspace and everything it writes elsewhere together; 0 means without limit.",
    ),
    agent(
        "EXECUTOR_JOB_PIDS",
        Kind::Int,
        "4096",
        "Processes and threads that one job may have; 0 means without limit.",
    ),
    agent(
        "EXECUTOR_DOCKER_AUTH_CONFIG",
        Kind::Secret,
        "",
        "Registry credentials as JSON, {\"auths\": {\"HOST\": {\"auth\": \"BASE64 OF USER:PASSWORD\"}}}. A job's own credentials come first.",
    ),
    agent(
        "EXECUTOR_RUNTIME",
        Kind::Text,
        "oci",
        "What isolates jobs: oci. (docker, firecracker, kubernetes and shell are reserved names that this version does not have.)",
    ),
    agent(
        "EXECUTOR_OCI_RUNTIME",
        Kind::Text,
        "",
        "The OCI runtime to use, by name or path; else the first of crun, runc and runsc on PATH.",
    ),
    agent(
        "EXECUTOR_STRICT",
        Kind::Bool,
        "false",
        "Refuse to start when a limit can't be enforced on this host, rather than warn.",
    ),
    client(
        "EXECUTOR_SERVER_URL",
        Kind::Text,
        "",
        "URL of the control plane. Unset, the settings that `executor up` and `executor server` wrote for this user are used.",
    ),
    client("EXECUTOR_API_TOKEN", Kind::Secret, "", "API token of the control plane."),
    all(
        "EXECUTOR_DATA_DIR",
        Kind::Text,
        "",
        "Where images and the state of running jobs are kept. Unset, the directory of the user's last `executor up`, else /var/lib/executor for root and ~/.local/share/executor for others.",
    ),
    all(
        "SRC_LOG_LEVEL",
        Kind::Text,
        "warn",
        "How much to log on standard error: dbug, info, warn, error or crit.",
    ),
    all("SRC_LOG_FORMAT", Kind::Text, "logfmt", "How to write the log: logfmt, condensed or json."),
    all("HOSTNAME", Kind::Text, "", "First half of the executor's name; the system's host name unless set."),
    all("HOME", Kind::Text, "", "The user's home directory."),
    all(
        "XDG_CONFIG_HOME",
        Kind::Text,
        "",
        "Where the client's settings are kept, in executor/client.json; ~/.config unless set.",
    ),
    all(
        "XDG_DATA_HOME",
        Kind::Text,
        "",
        "Where an ordinary user's data is kept, in executor/; ~/.local/share unless set.",
    ),
    all("PATH", Kind::Text, "", "Where git, the OCI runtime and mkfs.ext4 are looked for."),
    all("NO_COLOR", Kind::Text, "", "Any value: no colours on a terminal."),
];

/// The table's row for `name`. Every name used in the code is a row of the table.
pub(crate) fn variable(name: &str) -> &'static Variable {
    VARIABLES
        .iter()
        .find(|variable| variable.name == name)
        .unwrap_or_else(|| panic!("{name} is not in the table"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_of_its_kind() {
        let empty = crate::env::Variables::of(&[]);
        let mut reader = crate::env::EnvReader::new(&empty, "executor");
        for variable in VARIABLES.iter().filter(|variable| !variable.default.is_empty()) {
            match variable.kind {
                Kind::Int => drop(reader.int(variable.name)),
                Kind::Bool => drop(reader.bool(variable.name)),
                Kind::Duration => drop(reader.duration(variable.name)),
                Kind::Size => drop(reader.size(variable.name)),
                Kind::Text | Kind::Secret => {}
            }
        }
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn names_are_unique_and_secrets_have_no_default() {
        let mut names: Vec<_> = VARIABLES.iter().map(|variable| variable.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), VARIABLES.len());
        assert!(VARIABLES.iter().all(|v| v.kind != Kind::Secret || v.default.is_empty()));
    }
}
