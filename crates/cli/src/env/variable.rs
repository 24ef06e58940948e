//! What is said of a variable.

use super::RuntimeName;
use super::reader::EnvReader;

/// What a value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any text.
    Text,
    /// A whole number, base 10, 64 bits.
    Int,
    /// A whole number, or nothing at all.
    MaybeInt,
    /// `1 t T TRUE true True 0 f F FALSE false False`.
    Bool,
    /// `300ms`, `1.5h`, `2h45m`, or plain `0`.
    Duration,
    /// Bytes with a suffix in powers of 1024: `512M`, `12G`.
    Size,
    /// A size that is judged after everything was read, in words of its own.
    DiskSize,
    /// A JSON document, judged after everything was read.
    Json,
    /// Values separated by commas.
    List,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Int | Self::MaybeInt => "integer",
            Self::Bool => "bool",
            Self::Duration => "duration",
            Self::Size | Self::DiskSize => "size",
            Self::Json => "JSON",
            Self::List => "list",
        }
    }
}

/// Who reads a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// `executor run` alone; `executor up` knows by itself.
    Run,
    /// `executor run` and `executor up`.
    Agent,
    /// `executor server` and `executor up`.
    Server,
    /// The commands that call the control plane.
    Client,
    /// Every command.
    All,
}

impl Reader {
    pub(crate) const fn commands(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Agent => "run, up",
            Self::Server => "server, up",
            Self::Client => "job, queue, agent, repo, secret, token, upload, user, audit",
            Self::All => "every command",
        }
    }
}

/// What a value changes in this build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It acts, whatever the runtime.
    Always,
    /// It acts where one of these runs the jobs.
    With(&'static [RuntimeName]),
    /// It is read and checked, and nothing acts on it yet. For which runtimes it will; none named, for
    /// all.
    NotYet(&'static [RuntimeName]),
    /// It acts where one of `acts` runs the jobs. Where one of `by` does, or any other if none is named, it would
    /// have acted with the reference, and does not: what to do instead.
    Missed { acts: &'static [RuntimeName], by: &'static [RuntimeName], remedy: &'static str },
    /// It is read and checked, and what it would change does not exist here: why.
    Nothing(&'static str),
}

/// Where a variable comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The documented interface of executors.
    Documented,
    /// This project.
    Ours,
    /// What programs on this system have in common.
    System,
}

impl Origin {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Documented => "documented",
            Self::Ours => "ours",
            Self::System => "system",
        }
    }
}

/// A default that depends on other things.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Derived {
    /// What it is, for people.
    pub(crate) told: &'static str,
    /// What it is here and now.
    pub(crate) value: fn(&EnvReader<'_>) -> String,
}

/// One variable.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    /// An older name, used when `name` is unset or empty and the older is not.
    pub(crate) older: Option<&'static str>,
    pub(crate) kind: Kind,
    /// An empty value is a fault.
    pub(crate) required: bool,
    /// The value may not be shown.
    pub(crate) secret: bool,
    /// The value when it is not set; empty means none.
    pub(crate) default: &'static str,
    /// The default, where it is no constant.
    pub(crate) derived: Option<Derived>,
    /// What is counted; empty where the kind says enough.
    pub(crate) unit: &'static str,
    pub(crate) reader: Reader,
    pub(crate) effect: Effect,
    pub(crate) origin: Origin,
    pub(crate) doc: &'static str,
}

/// A variable of the documented interface that the agent reads, with an effect under every runtime.
pub(super) const fn documented(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Variable {
    Variable {
        name,
        older: None,
        kind,
        required: false,
        secret: false,
        default,
        derived: None,
        unit: "",
        reader: Reader::Agent,
        effect: Effect::Always,
        origin: Origin::Documented,
        doc,
    }
}

/// As [`documented`], of ours.
pub(super) const fn ours(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Variable {
    Variable { origin: Origin::Ours, ..documented(name, kind, default, doc) }
}

/// As [`documented`], of the system's, as text.
pub(super) const fn system(name: &'static str, doc: &'static str) -> Variable {
    Variable { origin: Origin::System, ..documented(name, Kind::Text, "", doc) }
}

impl Variable {
    pub(super) const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    pub(super) const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    pub(super) const fn older(self, name: &'static str) -> Self {
        Self { older: Some(name), ..self }
    }

    pub(super) const fn unit(self, unit: &'static str) -> Self {
        Self { unit, ..self }
    }

    pub(super) const fn read_by(self, reader: Reader) -> Self {
        Self { reader, ..self }
    }

    pub(super) const fn effect(self, effect: Effect) -> Self {
        Self { effect, ..self }
    }

    pub(super) const fn derived(self, told: &'static str, value: fn(&EnvReader<'_>) -> String) -> Self {
        Self { derived: Some(Derived { told, value }), ..self }
    }

    /// The default, for people; `None` where there is none.
    pub(crate) fn default_told(&self) -> Option<&'static str> {
        let constant = (!self.default.is_empty()).then_some(self.default);
        self.derived.map(|derived| derived.told).or(constant)
    }
}
