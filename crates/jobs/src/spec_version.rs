//! What a server has to know to run a job: several versions may serve one database for a while.
//!
//! What a job asks for is stored as it was read, and a server of the version before knows nothing of a key that came since.
//! Where nothing depends on that key but what people are shown, it may run the job without it. Where the key changes what
//! is run, where, or within which limits, it has to leave the job to one that knows it: such a key gets a number here, and
//! whatever uses it is given out only by servers that know this number.

use crate::JobSpec;

/// The number of every job that uses nothing which came since.
pub const FIRST_VERSION: u32 = 1;

/// What the servers of this version know.
pub const SPEC_VERSION: u32 = 2;

/// Whether a job uses something.
type Uses = fn(&JobSpec) -> bool;

/// What came since, with the number of whoever knows it.
const SINCE: [(u32, Uses); 3] =
    [(2, |spec| spec.retries > 0), (2, |spec| spec.index.is_some()), (2, |spec| spec.execution.is_some())];

impl JobSpec {
    /// What a server has to know to run this as it is meant: [`SPEC_VERSION`] or less.
    pub fn version(&self) -> u32 {
        let used = SINCE.iter().filter(|(_, uses)| uses(self)).map(|(version, _)| *version);
        used.max().unwrap_or(FIRST_VERSION)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::collections::BTreeSet;

    /// Every key of a job there is, by the type that has it.
    const KEYS: &str = include_str!("spec_version/keys.txt");

    fn keys(name: &str, schema: &Value, found: &mut BTreeSet<String>) {
        let Value::Object(parts) = schema else { return };
        for (part, value) in parts {
            match (part.as_str(), value) {
                ("$defs", Value::Object(types)) => types.iter().for_each(|(name, of)| keys(name, of, found)),
                ("properties", Value::Object(properties)) => {
                    for (key, of) in properties {
                        found.insert(format!("{name}.{key}"));
                        keys(name, of, found);
                    }
                }
                (_, Value::Array(several)) => several.iter().for_each(|of| keys(name, of, found)),
                (_, of) => keys(name, of, found),
            }
        }
    }

    /// Who adds a key has to think of servers that don't know it.
    #[test]
    fn every_key_has_a_number_or_may_be_overlooked() {
        let schema = serde_json::to_value(schemars::schema_for!(JobSpec)).unwrap();
        let mut found = BTreeSet::new();
        keys("JobSpec", &schema, &mut found);
        let found: Vec<&str> = found.iter().map(String::as_str).collect();
        let known: Vec<&str> = KEYS.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            found, known,
            "a key that is new, or gone: if a server of the version before may run a job as if it were not there, note it in \
             keys.txt; if not, give it a number in SINCE as well, one more than SPEC_VERSION was in the version before"
        );
    }

    #[test]
    fn what_is_used_decides() {
        assert_eq!(JobSpec::default().version(), FIRST_VERSION);
        assert_eq!(JobSpec { retries: 1, ..JobSpec::default() }.version(), 2);
        assert_eq!(SINCE.iter().map(|(version, _)| *version).max(), Some(SPEC_VERSION));
    }
}
