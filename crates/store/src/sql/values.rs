//! Between Rust's values and the databases'.

use crate::error::StoreError;
use jiff::Timestamp;
use jobs::{JobId, Namespace};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// Microseconds since 1970: what is below them is lost.
pub(super) fn micros(time: Timestamp) -> i64 {
    time.as_microsecond()
}

/// A length of time in microseconds.
pub(super) fn span(length: Duration) -> i64 {
    i64::try_from(length.as_micros()).unwrap_or(i64::MAX)
}

/// The other way round.
pub(super) fn timestamp(micros: i64, row: impl FnOnce() -> String) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(micros).map_err(|_| StoreError::corrupt(row(), "time"))
}

/// A number that is never negative and never large; `what` names it in the error.
pub(super) fn small(
    number: i64,
    what: &'static str,
    row: impl FnOnce() -> String,
) -> Result<u32, StoreError> {
    u32::try_from(number).map_err(|_| StoreError::corrupt(row(), what))
}

/// A value as the text of its JSON.
pub(super) fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Database(Box::new(error)))
}

/// The other way round; `what` names the value in the error.
pub(super) fn from_json<T: DeserializeOwned>(
    text: &str,
    what: &'static str,
    row: impl FnOnce() -> String,
) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| {
        let row = row();
        // The error tells a place in the text and what was expected there, not the text.
        tracing::error!(row, what, %error, "a stored value can't be read");
        StoreError::corrupt(row, what)
    })
}

/// A namespace out of its column.
pub(super) fn namespace(key: &str, row: impl FnOnce() -> String) -> Result<Namespace, StoreError> {
    Namespace::from_key(key).map_err(|_| StoreError::corrupt(row(), "namespace"))
}

/// How an error names a job's row.
pub(super) fn job_name(id: JobId) -> String {
    format!("job {id}")
}
