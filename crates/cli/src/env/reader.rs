//! Reading values by the table, collecting every fault.

use super::go_duration;
use super::size::parse_size;
use super::table::variable;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Where values come from: the process, or a test.
#[derive(Debug, Clone, Default)]
pub(crate) struct Variables(BTreeMap<String, String>);

/// The process' own environment.
#[derive(Debug)]
pub(crate) struct System;

impl System {
    /// A snapshot of the process' environment. What is not UTF-8 is left out: no variable of ours can
    /// mean anything else.
    pub(crate) fn variables() -> Variables {
        let utf8 = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Variables(utf8.collect())
    }
}

impl Variables {
    #[cfg(test)]
    pub(crate) fn of(pairs: &[(&str, &str)]) -> Self {
        Self(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    /// One variable, outside of the table: what a user names for a job.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// What is said where a value is missing and nobody said why.
const NO_FAULT_TOLD: &str = "the environment can't be read, and no variable is known to be wrong: this is a bug of executor, report it";

/// Every fault that was found, in the order of reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EnvErrors(Vec<String>);

impl EnvErrors {
    #[cfg(test)]
    pub(crate) fn into_texts(self) -> Vec<String> {
        self.0
    }
}

impl fmt::Display for EnvErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.0.as_slice() {
            return f.write_str(only);
        }
        write!(f, "{} errors occurred:", self.0.len())?;
        self.0.iter().try_for_each(|error| write!(f, "\n\t* {error}"))
    }
}

impl std::error::Error for EnvErrors {}

/// Reads values. A value is looked up as `NAME_<program>` first, then as `NAME`, then the table's
/// default is taken. A variable that is set but empty counts as set.
#[derive(Debug)]
pub(crate) struct EnvReader<'a> {
    variables: &'a Variables,
    suffix: String,
    errors: Vec<String>,
}

impl<'a> EnvReader<'a> {
    /// `program` is the base name of the program as it was called.
    pub(crate) fn new(variables: &'a Variables, program: &str) -> Self {
        Self { variables, suffix: format!("_{}", program.replace('-', "_")), errors: Vec::new() }
    }

    /// All faults so far, or none.
    pub(crate) fn finish(self) -> Result<(), EnvErrors> {
        if self.errors.is_empty() { Ok(()) } else { Err(EnvErrors(self.errors)) }
    }

    /// The value that was read, or all faults so far. A reader of a value notes a fault when it has none;
    /// should one forget to, there is still a fault that says so.
    pub(crate) fn finish_with<T>(self, value: Option<T>) -> Result<T, EnvErrors> {
        self.finish()?;
        value.ok_or_else(|| EnvErrors(vec![NO_FAULT_TOLD.to_owned()]))
    }

    /// Notes a fault that the caller found.
    pub(crate) fn fault(&mut self, error: impl Into<String>) {
        self.errors.push(error.into());
    }

    fn set(&self, name: &str) -> Option<&'a str> {
        self.variables.get(&format!("{name}{}", self.suffix)).or_else(|| self.variables.get(name))
    }

    /// The value and the name it was found under.
    fn find(&self, name: &'static str) -> (&'static str, &'a str) {
        let row = variable(name);
        let named = self.set(name);
        if let (None | Some(""), Some(older)) = (named, row.fallback)
            && let Some(value) = self.set(older).filter(|value| !value.is_empty())
        {
            return (older, value);
        }
        (name, named.unwrap_or(row.default))
    }

    /// Any text; `None` when empty.
    pub(crate) fn text(&self, name: &'static str) -> Option<String> {
        let (_, value) = self.find(name);
        (!value.is_empty()).then(|| value.to_owned())
    }

    /// Text that must not be empty.
    pub(crate) fn required(&mut self, name: &'static str) -> String {
        let (name, value) = self.find(name);
        if value.is_empty() {
            self.fault(format!("invalid value \"\" for {name}: no value supplied"));
        }
        value.to_owned()
    }

    pub(crate) fn int(&mut self, name: &'static str) -> i64 {
        self.parsed(name, "int", |value| value.parse::<i64>().map_err(|fault| fault.to_string()))
    }

    pub(crate) fn bool(&mut self, name: &'static str) -> bool {
        self.parsed(name, "bool", |value| match value {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
            _ => Err("it must be true or false".to_owned()),
        })
    }

    pub(crate) fn duration(&mut self, name: &'static str) -> Duration {
        self.parsed(name, "duration", go_duration::parse)
    }

    /// The text as it was given, and its bytes; zero means without limit.
    pub(crate) fn size(&mut self, name: &'static str) -> (String, u64) {
        let bytes = self.parsed(name, "size", parse_size);
        (self.find(name).1.to_owned(), bytes)
    }

    fn parsed<T: Default>(
        &mut self,
        name: &'static str,
        kind: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        let (name, raw) = self.find(name);
        parse(raw).unwrap_or_else(|fault| {
            self.fault(format!("invalid {kind} {raw:?} for {name}: {fault}"));
            T::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T>(
        pairs: &[(&str, &str)],
        read: impl FnOnce(&mut EnvReader<'_>) -> T,
    ) -> (T, Result<(), EnvErrors>) {
        let variables = Variables::of(pairs);
        let mut reader = EnvReader::new(&variables, "executor");
        let value = read(&mut reader);
        (value, reader.finish())
    }

    #[test]
    fn the_program_s_own_variable_wins_and_empty_counts_as_set() {
        let own = [("EXECUTOR_RUNTIME_executor", "own"), ("EXECUTOR_RUNTIME", "plain")];
        assert_eq!(read(&own, |r| r.text("EXECUTOR_RUNTIME")).0.as_deref(), Some("own"));
        assert_eq!(read(&own[1..], |r| r.text("EXECUTOR_RUNTIME")).0.as_deref(), Some("plain"));
        assert_eq!(read(&[], |r| r.text("EXECUTOR_RUNTIME")).0.as_deref(), Some("oci"));
        assert_eq!(read(&[("EXECUTOR_RUNTIME", "")], |r| r.text("EXECUTOR_RUNTIME")).0, None);
    }

    #[test]
    fn an_older_name_helps_only_where_the_newer_says_nothing() {
        let older = ("EXECUTOR_FIRECRACKER_NUM_CPUS", "8");
        assert_eq!(read(&[older], |r| r.int("EXECUTOR_JOB_NUM_CPUS")).0, 8);
        assert_eq!(read(&[older, ("EXECUTOR_JOB_NUM_CPUS", "")], |r| r.int("EXECUTOR_JOB_NUM_CPUS")).0, 8);
        assert_eq!(read(&[older, ("EXECUTOR_JOB_NUM_CPUS", "2")], |r| r.int("EXECUTOR_JOB_NUM_CPUS")).0, 2);
        let bad = [("EXECUTOR_FIRECRACKER_NUM_CPUS", "x")];
        let message = read(&bad, |r| r.int("EXECUTOR_JOB_NUM_CPUS")).1.unwrap_err().to_string();
        assert!(message.contains("EXECUTOR_FIRECRACKER_NUM_CPUS"), "{message}");
    }

    #[test]
    fn a_value_comes_without_faults_and_nothing_with_at_least_one() {
        let variables = Variables::default();
        let reader = || EnvReader::new(&variables, "executor");
        assert_eq!(reader().finish_with(Some(1)), Ok(1));
        assert_eq!(reader().finish_with(None::<u8>).unwrap_err().to_string(), NO_FAULT_TOLD);
        for value in [Some(1), None] {
            let mut reader = reader();
            reader.fault("told");
            assert_eq!(reader.finish_with(value).unwrap_err().to_string(), "told");
        }
    }

    #[test]
    fn all_faults_are_reported_at_once() {
        let pairs = [("EXECUTOR_MAXIMUM_NUM_JOBS", "many"), ("EXECUTOR_STRICT", "yes")];
        let (_, result) = read(&pairs, |r| (r.int("EXECUTOR_MAXIMUM_NUM_JOBS"), r.bool("EXECUTOR_STRICT")));
        let text = result.unwrap_err().to_string();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("2 errors occurred:"));
        assert!(
            lines.next().unwrap().starts_with("\t* invalid int \"many\" for EXECUTOR_MAXIMUM_NUM_JOBS: ")
        );
        assert!(lines.next().unwrap().starts_with("\t* invalid bool \"yes\" for EXECUTOR_STRICT: "));
    }
}
