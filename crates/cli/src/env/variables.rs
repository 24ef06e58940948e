//! Where values come from.

use std::collections::BTreeMap;
use std::fmt;

/// A snapshot of an environment: the process', or a test's.
#[derive(Clone, Default)]
pub(crate) struct Variables(BTreeMap<String, String>);

impl fmt::Debug for Variables {
    /// Names alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// The process' own environment.
#[derive(Debug)]
pub(crate) struct System;

impl System {
    /// A snapshot of the process' environment. What is not UTF-8 is left out: no variable of ours can
    /// mean anything else.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
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

    /// The variables of these names, and those that begin so, as they are.
    pub(crate) fn all_of(&self, names: &[&str], beginnings: &[&str]) -> Vec<(String, String)> {
        let is_meant = |name: &String| {
            names.contains(&name.as_str()) || beginnings.iter().any(|beginning| name.starts_with(beginning))
        };
        let meant = self.0.iter().filter(|(name, _)| is_meant(name));
        meant.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// All names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// One variable, outside of the table: what a user names for a job.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}
