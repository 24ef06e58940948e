//! Jobs that a server of another version stored: see [`jobs::SPEC_VERSION`].
//!
//! What a server has to know of a job is part of the lane that the job waits in. Lanes that a server can't read are nothing to
//! it, in every version there was, so it looks at none of their jobs: claims pay nothing for this.

use super::tolerant;
use super::values::{from_json, job_name, to_json};
use crate::error::StoreError;
use crate::model::StoredSpec;
use jobs::{FIRST_VERSION, JobId, JobSpec, Needs, SPEC_VERSION};
use serde_json::Value;

/// The key of that number, beside those of the needs of a lane or of a specification.
const KEY: &str = "specVersion";
/// Servers that know no more than this read no number in a specification.
const WITHOUT_NUMBER: u32 = 2;

/// What jobs of a lane have in common besides their queue and owner, as it is stored.
pub(super) fn needs_to_store(needs: &Needs, version: u32) -> Result<String, StoreError> {
    if version <= FIRST_VERSION { to_json(needs) } else { with_number(needs, version) }
}

/// The other way round; `None` for what this server does not know. That is nobody's fault where a newer server says so.
pub(super) fn read_needs(lane: i64, json: &str) -> Option<(Needs, u32)> {
    if let Ok(needs) = serde_json::from_str(json) {
        return Some((needs, FIRST_VERSION));
    }
    let row = || format!("lane {lane}");
    let mut value: Value = from_json(json, "set of needs", row).ok()?;
    let number = value.as_object_mut().and_then(|keys| keys.remove(KEY)).and_then(|number| number.as_u64());
    let version = u32::try_from(number.unwrap_or_default()).unwrap_or(u32::MAX);
    if version > SPEC_VERSION {
        return None;
    }
    // Held to the letter: what is not known of needs is what an executor may not have.
    from_json(&value.to_string(), "set of needs", row).ok().map(|needs| (needs, version))
}

/// What was asked for, as it is stored.
pub(super) fn spec_to_store(spec: &JobSpec) -> Result<String, StoreError> {
    match spec.version() {
        version if version > WITHOUT_NUMBER => with_number(spec, version),
        _ => to_json(spec),
    }
}

/// The other way round, by a server that is to act on it: not what only newer ones know.
pub(super) fn read_spec(id: JobId, json: &str) -> Result<JobSpec, StoreError> {
    let StoredSpec { spec, is_for_newer } = read_stored_spec(id, json)?;
    if is_for_newer { Err(StoreError::NewerSpec(id)) } else { Ok(spec) }
}

/// The same by one that only shows it.
pub(super) fn read_stored_spec(id: JobId, json: &str) -> Result<StoredSpec, StoreError> {
    const WHAT: &str = "specification";
    if let Ok(spec) = serde_json::from_str(json) {
        return Ok(StoredSpec { spec, is_for_newer: false });
    }
    let value: Value = from_json(json, WHAT, || job_name(id))?;
    let version = value.get(KEY).and_then(Value::as_u64).unwrap_or_default();
    let is_for_newer = version > u64::from(SPEC_VERSION);
    match tolerant::read::<JobSpec>(value) {
        // What nobody could have submitted was not written by a newer server, but damaged.
        Ok(spec) if is_for_newer || spec.check().is_ok() => Ok(StoredSpec { spec, is_for_newer }),
        _ if is_for_newer => Err(StoreError::NewerSpec(id)),
        Ok(_) => Err(StoreError::corrupt(job_name(id), WHAT)),
        Err(error) => {
            tracing::error!(job = id.0, %error, "a stored specification can't be read");
            Err(StoreError::corrupt(job_name(id), WHAT))
        }
    }
}

fn with_number(value: &impl serde::Serialize, version: u32) -> Result<String, StoreError> {
    let failed = |error| StoreError::Database(Box::new(error));
    let mut value = serde_json::to_value(value).map_err(failed)?;
    if let Value::Object(keys) = &mut value {
        keys.insert(KEY.to_owned(), version.into());
    }
    to_json(&value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobs::StepSpec;

    fn spec() -> JobSpec {
        let step = StepSpec { image: "a".to_owned(), run: "true".to_owned(), ..StepSpec::default() };
        JobSpec { queue: "batches".to_owned(), steps: vec![step], ..JobSpec::default() }
    }

    #[test]
    fn a_lane_is_read_by_whoever_knows_its_number() {
        let needs = Needs { cpus: Some(2), ..Needs::default() };
        for version in [FIRST_VERSION, SPEC_VERSION] {
            let json = needs_to_store(&needs, version).unwrap();
            assert_eq!(read_needs(1, &json), Some((needs.clone(), version)), "{json}");
            let is_refused = serde_json::from_str::<Needs>(&json).is_err();
            assert_eq!(is_refused, version > FIRST_VERSION, "servers before there were numbers: {json}");
        }
        let newer = needs_to_store(&needs, SPEC_VERSION + 1).unwrap();
        for unread in [newer.as_str(), r#"{"quantum":1}"#, r#"{"quantum":1,"specVersion":2}"#, "?"] {
            assert_eq!(read_needs(1, unread), None, "{unread}");
        }
    }

    #[test]
    fn what_changes_nothing_is_passed_over_and_what_may_is_not() {
        let id = JobId(7);
        let mut value = serde_json::to_value(spec()).unwrap();
        value["color"] = "blue".into();
        assert_eq!(read_spec(id, &value.to_string()).unwrap(), spec());
        value[KEY] = (SPEC_VERSION + 1).into();
        let refused = read_spec(id, &value.to_string());
        assert!(matches!(refused, Err(StoreError::NewerSpec(JobId(7)))), "{refused:?}");
        let shown = read_stored_spec(id, &value.to_string()).unwrap();
        assert_eq!((shown.spec, shown.is_for_newer), (spec(), true));
        value["steps"] = "later".into();
        let refused = read_stored_spec(id, &value.to_string()).map(|read| read.is_for_newer);
        assert!(matches!(refused, Err(StoreError::NewerSpec(_))), "not even shown: {refused:?}");
    }

    #[test]
    fn what_nobody_could_have_submitted_is_damaged() {
        for damaged in [r#"{"from":"the future"}"#, "{}}", r#"{"steps":7}"#] {
            let read = read_spec(JobId(7), damaged);
            assert!(matches!(read, Err(StoreError::Corrupt { .. })), "{damaged}: {read:?}");
        }
        let known = spec_to_store(&JobSpec { retries: 1, ..spec() }).unwrap();
        assert!(serde_json::from_str::<JobSpec>(&known).is_ok(), "read at once by those of this version");
    }
}
