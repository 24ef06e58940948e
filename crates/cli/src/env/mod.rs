//! The environment: the only place that reads it, through one table.
//!
//! [`table::SECTIONS`] names every variable with its kind, default, effect and meaning. The same
//! table judges and resolves values, prints `executor run --help-env` and makes
//! `docs/reference/environment.md`.

pub(crate) mod conflicts;
pub(crate) mod engine_address;
mod go_duration;
pub(crate) mod help;
pub(crate) mod never;
mod reader;
pub(crate) mod runtime_choice;
mod runtime_name;
mod shown;
pub(crate) mod table;
pub(crate) mod unknown;
mod values;
pub(crate) mod variable;
mod variables;

pub(crate) use go_duration::parse as duration;
pub(crate) use jobs::parse_size;
pub(crate) use reader::{EnvErrors, EnvReader};
pub(crate) use runtime_name::RuntimeName;
pub(crate) use shown::without_credentials;
pub(crate) use values::parse_bool;
pub(crate) use variable::Reader;
pub(crate) use variables::{System, Variables};
