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

/// Gives the members that are one of `keys` in another letter case the name in `keys`; an exact match
/// wins. What is not an object stays as it is: its decoder tells.
pub(crate) fn fold_keys(value: &mut Value, keys: &[&str]) {
    let Value::Object(object) = value else { return };
    for key in keys {
        if !object.contains_key(*key)
            && let Some(value) = remove_any_case(object, key)
        {
            object.insert((*key).to_owned(), value);
        }
    }
}

/// The value of `key`, compared without regard to letter case; an exact match wins.
pub(crate) fn take_any_case(object: &mut Map<String, Value>, key: &str) -> Value {
    if let Some(value) = object.remove(key) {
        return value;
    }
    remove_any_case(object, key).unwrap_or(Value::Null)
}

fn remove_any_case(object: &mut Map<String, Value>, key: &str) -> Option<Value> {
    let name = object.keys().find(|name| name.eq_ignore_ascii_case(key))?.clone();
    object.remove(&name)
}
