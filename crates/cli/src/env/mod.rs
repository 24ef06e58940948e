//! The environment: the only place that reads it, through one table.
//!
//! [`table::VARIABLES`] names every variable with its kind, default and meaning. The same table
//! resolves values, prints `executor run --help-env` and makes `docs/reference/environment.md`.

mod go_duration;
pub(crate) mod help;
mod reader;
mod size;
pub(crate) mod table;

pub(crate) use reader::{EnvErrors, EnvReader, System, Variables};
