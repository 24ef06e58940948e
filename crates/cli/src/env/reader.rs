//! Reading values by the table, collecting every fault.

use super::table::{self, variable};
use super::values::{parse_bool, parse_int};
use super::variable::{Effect, Kind, Reader, Variable};
use super::{go_duration, parse_size, variables::Variables};
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// What may be given in place of a variable that is required otherwise.
const INSTEAD: [(&str, &str); 1] = [("EXECUTOR_FRONTEND_PASSWORD", "EXECUTOR_REGISTRATION_TOKEN")];

/// What is said where a value is missing and nobody said why.
const NO_FAULT_TOLD: &str = "the environment can't be read, and no variable is known to be wrong: this is a bug of executor, report it";

/// Every fault that was found, in the order of reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EnvErrors(Vec<String>);

impl EnvErrors {
    /// One text for each.
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
///
/// [`EnvReader::load`] judges every value and notes the faults; what then asks for a value that has
/// one gets nothing, and need not say so again.
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

    /// Judges every variable that one of `readers` reads, in the table's order.
    pub(crate) fn load(&mut self, readers: &[Reader]) {
        let rows = table::rows().filter(|row| readers.contains(&row.reader));
        let faults: Vec<String> = rows.filter_map(|row| self.judge(row)).collect();
        self.errors.extend(faults);
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

    /// Where there are faults, adds one that may be the reason for another, unless it was told.
    pub(crate) fn hint(&mut self, hint: String) {
        if !self.errors.is_empty() && !self.errors.iter().any(|told| told.ends_with(&hint)) {
            self.errors.push(hint);
        }
    }

    /// Notes a fault that the caller found.
    pub(crate) fn fault(&mut self, error: impl Into<String>) {
        self.errors.push(error.into());
    }

    fn set(&self, name: &str) -> Option<&'a str> {
        self.variables.get(&format!("{name}{}", self.suffix)).or_else(|| self.variables.get(name))
    }

    /// The value that was given, and the name it was found under; defaults aside.
    pub(crate) fn given(&self, row: &Variable) -> Option<(&'static str, &'a str)> {
        let named = self.set(row.name);
        if let (None | Some(""), Some(older)) = (named, row.older)
            && let Some(value) = self.set(older).filter(|value| !value.is_empty())
        {
            return Some((older, value));
        }
        named.map(|value| (row.name, value))
    }

    /// The variables of these names, and those that begin so, whether or not the table knows them: what a
    /// program of others' is to get.
    pub(crate) fn passed(&self, names: &[&str], beginnings: &[&str]) -> Vec<(String, String)> {
        self.variables.all_of(names, beginnings)
    }

    /// The names of all variables that are set, ours or not.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.variables.names()
    }

    /// A name without the ending that binds it to this program.
    pub(crate) fn unbound<'n>(&self, name: &'n str) -> &'n str {
        name.strip_suffix(&self.suffix).unwrap_or(name)
    }

    /// The name under which a variable is there, bound to this program or not, whether or not the table knows it.
    pub(crate) fn bound_or_not(&self, name: &str) -> Option<String> {
        let bound = format!("{name}{}", self.suffix);
        [bound, name.to_owned()].into_iter().find(|name| self.is_there(name))
    }

    /// Whether a variable of exactly this name is there, whatever its value, and whether or not the
    /// table knows it.
    pub(crate) fn is_there(&self, name: &str) -> bool {
        self.variables.get(name).is_some()
    }

    /// The value and the name it was found under.
    fn find(&self, row: &Variable) -> (&'static str, Cow<'a, str>) {
        match (self.given(row), row.derived) {
            (Some((name, value)), _) => (name, value.into()),
            (None, Some(derived)) => (row.name, (derived.value)(self).into()),
            (None, None) => (row.name, row.default.into()),
        }
    }

    fn value(&self, name: &str) -> Cow<'a, str> {
        self.find(variable(name)).1
    }

    /// What is wrong with a value in itself.
    fn judge(&self, row: &Variable) -> Option<String> {
        let (name, raw) = self.find(row);
        let stood_in_for =
            || INSTEAD.iter().any(|(other, instead)| *other == row.name && self.text(instead).is_some());
        if row.required && raw.is_empty() {
            if stood_in_for() {
                return None;
            }
            return Some(format!("invalid value \"\" for {name}: no value supplied"));
        }
        let (kind, fault) = match row.kind {
            Kind::Text | Kind::List | Kind::Json | Kind::DiskSize => return None,
            Kind::MaybeInt if raw.is_empty() => return None,
            // Nobody would have read it.
            Kind::Bool if matches!(row.effect, Effect::Nothing(_)) => return None,
            Kind::Int | Kind::MaybeInt => ("int", parse_int(&raw).err()),
            Kind::Bool => ("bool", parse_bool(&raw).err()),
            Kind::Duration => ("duration", go_duration::parse(&raw).err()),
            Kind::Size => ("size", parse_size(&raw).err()),
        };
        fault.map(|fault| format!("invalid {kind} {raw:?} for {name}: {fault}"))
    }

    /// Any text; `None` when empty.
    pub(crate) fn text(&self, name: &'static str) -> Option<String> {
        let value = self.value(name);
        (!value.is_empty()).then(|| value.into_owned())
    }

    /// A whole number; `None` when it is none, as [`EnvReader::load`] said.
    pub(crate) fn int(&self, name: &'static str) -> Option<i64> {
        parse_int(&self.value(name)).ok()
    }

    /// Whether it is true.
    pub(crate) fn bool(&self, name: &'static str) -> bool {
        parse_bool(&self.value(name)).unwrap_or_default()
    }

    /// A truth value that somebody gave; `None` for the default.
    pub(crate) fn given_bool(&self, name: &'static str) -> Option<bool> {
        self.given(variable(name)).and_then(|(_, value)| parse_bool(value).ok())
    }

    /// A duration that somebody gave; `None` for the default.
    pub(crate) fn given_duration(&self, name: &'static str) -> Option<Duration> {
        self.given(variable(name)).and_then(|(_, value)| go_duration::parse(value).ok())
    }

    pub(crate) fn duration(&self, name: &'static str) -> Duration {
        go_duration::parse(&self.value(name)).unwrap_or_default()
    }

    /// Bytes; zero means without limit.
    pub(crate) fn size(&self, name: &'static str) -> Result<u64, String> {
        parse_size(&self.value(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(pairs: &[(&str, &str)], read: impl FnOnce(&EnvReader<'_>) -> T) -> T {
        let variables = Variables::of(pairs);
        read(&EnvReader::new(&variables, "executor"))
    }

    #[test]
    fn what_nobody_reads_stops_no_start() {
        assert_eq!(faults(&[("INSECURE_DEV", "yes"), ("SRC_LOG_SOURCE_LINK", "on")]), [""; 0]);
        assert_eq!(faults(&[("EXECUTOR_KEEP_WORKSPACES", "yes")]).len(), 1);
    }

    /// What is said of `pairs`, with the agent's connection given.
    fn faults(pairs: &[(&str, &str)]) -> Vec<String> {
        let variables = Variables::of(pairs);
        let mut reader = EnvReader::new(&variables, "executor");
        reader.load(&[Reader::Agent, Reader::All]);
        reader.finish().err().map(EnvErrors::into_texts).unwrap_or_default()
    }

    #[test]
    fn the_program_s_own_variable_wins_and_empty_counts_as_set() {
        let own = [("SRC_LOG_LEVEL_executor", "own"), ("SRC_LOG_LEVEL", "plain")];
        assert_eq!(with(&own, |r| r.text("SRC_LOG_LEVEL")).as_deref(), Some("own"));
        assert_eq!(with(&own[1..], |r| r.text("SRC_LOG_LEVEL")).as_deref(), Some("plain"));
        assert_eq!(with(&[], |r| r.text("SRC_LOG_LEVEL")).as_deref(), Some("warn"));
        assert_eq!(with(&[("SRC_LOG_LEVEL", "")], |r| r.text("SRC_LOG_LEVEL")), None);
        // Empty for this program alone hides what is set for all.
        let hidden = [("SRC_LOG_LEVEL_executor", ""), ("SRC_LOG_LEVEL", "plain")];
        assert_eq!(with(&hidden, |r| r.text("SRC_LOG_LEVEL")), None);
    }

    #[test]
    fn a_program_s_dashes_are_underscores_in_variables() {
        let variables = Variables::of(&[("SRC_LOG_LEVEL_my_executor", "own")]);
        let reader = EnvReader::new(&variables, "my-executor");
        assert_eq!(reader.text("SRC_LOG_LEVEL").as_deref(), Some("own"));
    }

    #[test]
    fn an_older_name_helps_only_where_the_newer_says_nothing() {
        let older = ("EXECUTOR_FIRECRACKER_NUM_CPUS", "8");
        let cpus = |pairs: &[(&str, &str)]| with(pairs, |r| r.int("EXECUTOR_JOB_NUM_CPUS"));
        assert_eq!(cpus(&[older]), Some(8));
        assert_eq!(cpus(&[older, ("EXECUTOR_JOB_NUM_CPUS", "")]), Some(8));
        assert_eq!(cpus(&[older, ("EXECUTOR_JOB_NUM_CPUS", "2")]), Some(2));
        assert_eq!(
            cpus(&[("EXECUTOR_FIRECRACKER_NUM_CPUS", "")]),
            Some(4),
            "an empty older name says nothing"
        );
        assert_eq!(
            faults(&[("EXECUTOR_FIRECRACKER_NUM_CPUS", "x")]),
            ["invalid int \"x\" for EXECUTOR_FIRECRACKER_NUM_CPUS: it must be a whole number, such as 4"]
        );
    }

    #[test]
    fn each_kind_is_refused_with_its_documented_words() {
        let faults = faults(&[
            ("EXECUTOR_QUEUE_POLL_INTERVAL", "5"),
            ("EXECUTOR_MAXIMUM_NUM_JOBS", "many"),
            ("EXECUTOR_KEEP_WORKSPACES", "yes"),
            ("EXECUTOR_VM_PREFIX", ""),
        ]);
        let starts = [
            "invalid duration \"5\" for EXECUTOR_QUEUE_POLL_INTERVAL: ",
            "invalid int \"many\" for EXECUTOR_MAXIMUM_NUM_JOBS: ",
            "invalid bool \"yes\" for EXECUTOR_KEEP_WORKSPACES: ",
            "invalid value \"\" for EXECUTOR_VM_PREFIX: no value supplied",
        ];
        assert_eq!(faults.len(), starts.len(), "{faults:?}");
        for (fault, start) in faults.iter().zip(starts) {
            assert!(fault.starts_with(start), "{fault:?} begins with {start:?}");
        }
    }

    #[test]
    fn set_but_empty_is_no_number_and_no_default_either() {
        for (name, kind) in [
            ("EXECUTOR_MAXIMUM_NUM_JOBS", "int"),
            ("EXECUTOR_KEEP_WORKSPACES", "bool"),
            ("EXECUTOR_MAX_ACTIVE_TIME", "duration"),
        ] {
            let faults = faults(&[(name, "")]);
            assert!(
                faults.len() == 1 && faults[0].starts_with(&format!("invalid {kind} \"\" for {name}: ")),
                "{faults:?}"
            );
        }
    }

    #[test]
    fn a_default_may_follow_another_variable() {
        let image = |pairs: &[(&str, &str)]| with(pairs, |r| r.text("KUBERNETES_JOB_STEP_IMAGE"));
        assert_eq!(image(&[]).as_deref(), Some("sourcegraph/batcheshelper:insiders"));
        assert_eq!(image(&[("KUBERNETES_SINGLE_JOB_STEP_IMAGE", "old:1")]).as_deref(), Some("old:1"));
        let both = [("KUBERNETES_SINGLE_JOB_STEP_IMAGE", "old:1"), ("KUBERNETES_JOB_STEP_IMAGE", "new:1")];
        assert_eq!(image(&both).as_deref(), Some("new:1"));
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
    fn one_fault_is_told_as_it_is_and_several_as_a_list() {
        let errors = |texts: &[&str]| EnvErrors(texts.iter().map(|&text| text.to_owned()).collect());
        assert_eq!(errors(&["one"]).to_string(), "one");
        assert_eq!(errors(&["one", "two"]).to_string(), "2 errors occurred:\n\t* one\n\t* two");
    }
}
