//! What a step may do, in the words in which container engines are told.

use super::config::{CAPABILITIES, OOM_SCORE_ADJUST as ADJUST, certificates, paths, seccomp_profile};
use crate::RuntimeError;

/// The capabilities that a root of a step's has at most, such as `CAP_CHOWN`.
pub(crate) fn capabilities() -> Vec<String> {
    let name = |capability| match serde_json::to_value(capability) {
        Ok(serde_json::Value::String(name)) => Some(name),
        _ => None,
    };
    CAPABILITIES.into_iter().filter_map(name).collect()
}

/// The allow-list of system calls, as JSON. Engines read the OCI form; what else theirs has is optional.
pub(crate) fn seccomp() -> Result<String, RuntimeError> {
    let profile = seccomp_profile().map_err(|error| RuntimeError::Host(error.to_string()))?;
    serde_json::to_string(&profile).map_err(|error| RuntimeError::Host(error.to_string()))
}

/// What is added to a step's size where the host is out of memory.
pub(crate) const OOM_SCORE_ADJUST: i32 = ADJUST;
/// What of `/proc` and `/sys` a step does not see.
pub(crate) const MASKED: &[&str] = paths::MASKED;
/// What of them it can't change.
pub(crate) const READ_ONLY: &[&str] = paths::READ_ONLY;

/// Where a step finds the host's certificates, where an operator wants them there.
pub(crate) const CERTIFICATES: &str = certificates::PLACE;

/// The variables that tell a step's programs so, and their values.
pub(crate) fn certificate_variables() -> impl Iterator<Item = (&'static str, &'static str)> {
    certificates::variables()
}
