//! Which kept secrets a job asks for.

use super::{DOCKER_AUTH_CONFIG, check_key};
use crate::name::BadName;
use crate::spec::JobSpec;
use std::collections::BTreeSet;

/// Kept secrets that one job asks for at most.
const MAX_ASKED: usize = 200;

/// What is wrong with what a job asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAsked {
    /// No secret can have this key.
    #[error(transparent)]
    Key(#[from] BadName),
    /// It is named in two places.
    #[error(
        "the kept secret {0} is asked for twice: once for the whole job is enough, or once for each step"
    )]
    Twice(String),
    /// It has a value of another origin too.
    #[error("variable {0} is both in storedSecrets and in env or secrets: keep one")]
    Given(String),
    /// Every job has it, and no step.
    #[error("{DOCKER_AUTH_CONFIG} is no variable: where it is kept, it is used for the images of every job")]
    DockerAuth,
    /// There are more than anybody needs.
    #[error("the job asks for {0} kept secrets: at most {MAX_ASKED} are allowed")]
    TooMany(usize),
}

impl JobSpec {
    /// The keys of all kept secrets that it asks for, for all steps or for one; of an execution, which may do without them,
    /// all that its steps want from outside and that it has not brought along.
    pub fn asked_secrets(&self) -> BTreeSet<&str> {
        let of_steps = self.steps.iter().flat_map(|step| &step.stored_secrets);
        let of_index = self.index.iter().flat_map(|index| &index.requested_env_vars);
        let asked = self.stored_secrets.iter().chain(of_steps).chain(of_index).map(String::as_str);
        let Some(execution) = &self.execution else { return asked.collect() };
        let may_be_kept = |name: &&str| check_key(name).is_ok() && *name != DOCKER_AUTH_CONFIG;
        let wanted = execution.outer_variables().into_iter().filter(may_be_kept);
        wanted.filter(|name| !self.secrets.contains_key(*name)).collect()
    }

    pub(crate) fn check_asked(&self) -> Result<(), BadAsked> {
        let asked = self.asked_secrets();
        if asked.len() > MAX_ASKED {
            return Err(BadAsked::TooMany(asked.len()));
        }
        for key in asked {
            check_key(key)?;
            if key == DOCKER_AUTH_CONFIG {
                return Err(BadAsked::DockerAuth);
            }
            if self.secrets.contains_key(key) || self.env.contains_key(key) {
                return Err(BadAsked::Given(key.to_owned()));
            }
        }
        let of_job = distinct(&self.stored_secrets, &BTreeSet::new())?;
        if let Some(index) = &self.index {
            distinct(&index.requested_env_vars, &of_job)?;
        }
        for step in &self.steps {
            let of_step = distinct(&step.stored_secrets, &of_job)?;
            if let Some(key) = of_job.union(&of_step).find(|key| step.env.contains_key(**key)) {
                return Err(BadAsked::Given((*key).to_owned()));
            }
        }
        Ok(())
    }
}

/// All of them, each once and none of `others`.
fn distinct<'a>(keys: &'a [String], others: &BTreeSet<&str>) -> Result<BTreeSet<&'a str>, BadAsked> {
    let mut seen = BTreeSet::new();
    for key in keys {
        if others.contains(key.as_str()) || !seen.insert(key.as_str()) {
            return Err(BadAsked::Twice(key.clone()));
        }
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StepSpec;
    use crate::spec::MAX_SECRET_BYTES;
    use std::collections::BTreeMap;

    fn keys(keys: &[&str]) -> Vec<String> {
        keys.iter().map(ToString::to_string).collect()
    }

    fn job(of_job: &[&str], of_steps: &[&[&str]]) -> JobSpec {
        let step = |of_step: &&[&str]| StepSpec {
            image: "alpine".to_owned(),
            run: "true".to_owned(),
            env: [("PLAIN".to_owned(), "x".to_owned())].into(),
            stored_secrets: keys(of_step),
            ..StepSpec::default()
        };
        let steps = of_steps.iter().map(step).collect();
        let secrets = [("BROUGHT".to_owned(), "value".to_owned())].into();
        JobSpec {
            queue: "batches".to_owned(),
            stored_secrets: keys(of_job),
            secrets,
            steps,
            ..JobSpec::default()
        }
    }

    #[test]
    fn each_secret_is_asked_for_once_and_has_one_origin() {
        let spec = job(&["ONE"], &[&["TWO"], &["TWO", "THREE"], &[]]);
        assert_eq!(spec.check(), Ok(()));
        assert_eq!(spec.asked_secrets().into_iter().collect::<Vec<_>>(), ["ONE", "THREE", "TWO"]);
        for (spec, told) in [
            (job(&["ONE", "ONE"], &[&[]]), "ONE is asked for twice"),
            (job(&["ONE"], &[&["ONE"]]), "ONE is asked for twice"),
            (job(&["BROUGHT"], &[&[]]), "BROUGHT is both in storedSecrets and in env or secrets"),
            (job(&[], &[&["PLAIN"]]), "PLAIN is both"),
            (job(&["PLAIN"], &[&[]]), "PLAIN is both"),
            (job(&["lower"], &[&[]]), "capital letters"),
            (job(&[], &[&[DOCKER_AUTH_CONFIG]]), "is no variable"),
            (
                job(&keys_to(201).iter().map(String::as_str).collect::<Vec<_>>(), &[&[]]),
                "asks for 201 kept secrets",
            ),
        ] {
            let refused = spec.check().unwrap_err().to_string();
            assert!(refused.contains(told), "{refused}");
        }
    }

    fn keys_to(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("KEY_{number}")).collect()
    }

    #[test]
    fn what_was_kept_counts_like_what_was_brought() {
        let spec = job(&["ONE"], &[&["TWO"]]);
        let check = |one, two| spec.check_with_stored(&BTreeMap::from([("ONE", one), ("TWO", two)]));
        let rest = MAX_SECRET_BYTES - "BROUGHT=value".len() - "ONE=TWO=".len();
        assert_eq!(check(rest - 100, 100), Ok(()));
        let refused = check(rest - 100, 101).unwrap_err().to_string();
        assert!(refused.contains("the job's secrets take 65537 bytes"), "{refused}");
    }
}
