//! What a decoder of this protocol must forgive: `null`, absent and empty mean the same, and
//! response keys may come in any letter case.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// `null` becomes the type's default. Use together with `#[serde(default)]`.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The value of `key`, compared without regard to letter case; an exact match wins.
pub(crate) fn take_any_case(object: &mut Map<String, Value>, key: &str) -> Value {
    if let Some(value) = object.remove(key) {
        return value;
    }
    let found = object.keys().find(|name| name.eq_ignore_ascii_case(key)).cloned();
    found.and_then(|name| object.remove(&name)).unwrap_or(Value::Null)
}
