//! Values of which there are few: shells complete them. What else is given is judged by whoever reads it, in their words.

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, Command};
use jobs::secrets::Scope;
use jobs::{Role, State};
use std::ffi::OsStr;
use std::str::FromStr;

/// A parser, and the values that shells offer for it.
#[derive(Clone)]
pub(super) struct Known<P> {
    parser: P,
    names: Vec<&'static str>,
}

impl<P: TypedValueParser> TypedValueParser for Known<P> {
    type Value = P::Value;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Self::Value, clap::Error> {
        self.parser.parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.names.iter().map(PossibleValue::new)))
    }
}

type Read<T> = fn(&str) -> Result<T, <T as FromStr>::Err>;

pub(super) fn role() -> Known<Read<Role>> {
    Known { parser: Role::from_str, names: Role::ALL.map(Role::name).into() }
}

pub(super) fn scope() -> Known<Read<Scope>> {
    Known { parser: Scope::from_str, names: Scope::ALL.map(Scope::name).into() }
}

pub(super) fn state() -> Known<Read<State>> {
    Known { parser: State::from_str, names: State::ALL.map(State::name).into() }
}

/// The name of a queue.
pub(super) fn queue() -> Known<StringValueParser> {
    Known { parser: StringValueParser::new(), names: wire::paths::QUEUES.into() }
}

/// The kind of an act in the audit log.
pub(super) fn action() -> Known<StringValueParser> {
    Known { parser: StringValueParser::new(), names: server::action_names().collect() }
}
