//! What a decoder of this protocol must forgive: `null`, absent and empty mean the same, and
//! response keys may come in any letter case.

use crate::Bounded;
use crate::log::LEFT_OUT;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// Queues that one list may name.
pub(crate) const MAX_QUEUES: usize = 100;
/// Arguments of a command that are read.
const MAX_ARGUMENTS: usize = 10_000;

/// `null` becomes the type's default. Use together with `#[serde(default)]`.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A list of at most `MOST` items, or `null`.
pub(crate) fn at_most<'de, D, T, const MOST: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let Some(Bounded { items, beyond }) = Option::<Bounded<T, MOST>>::deserialize(deserializer)? else {
        return Ok(Vec::new());
    };
    if beyond > 0 {
        let told = format!("a list has {} items: at most {MOST} are allowed", items.len() + beyond);
        return Err(D::Error::custom(told));
    }
    Ok(items)
}

/// A command of which the arguments beyond the first few thousand are left out, with a mark: no job fails for its commands, and
/// as values empty ones take eight times the room that they took in the body.
pub(crate) fn shortened_command<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<String>>, D::Error> {
    let command = Option::<Bounded<String, MAX_ARGUMENTS>>::deserialize(deserializer)?;
    Ok(command.map(|Bounded { mut items, beyond }| {
        if beyond > 0 {
            items.push(LEFT_OUT.to_owned());
        }
        items
    }))
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
