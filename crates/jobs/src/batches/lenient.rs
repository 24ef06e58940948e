//! What stock peers write `null` where nothing was set, and what must not grow with its text.

use super::BadExecution;
use super::input::Step;
use crate::spec::MAX_STEPS;
use crate::unique;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use wire::Bounded;

/// Reads a value; `null` is the empty one.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads a map in which no key may come twice; `null` is the empty one.
pub(super) fn map<'de, D, V>(deserializer: D) -> Result<BTreeMap<String, V>, D::Error>
where
    D: Deserializer<'de>,
    V: Deserialize<'de>,
{
    #[derive(Deserialize)]
    #[serde(transparent, bound = "V: Deserialize<'de>")]
    struct Unique<V>(#[serde(deserialize_with = "unique::map")] BTreeMap<String, V>);
    Ok(Option::<Unique<V>>::deserialize(deserializer)?.map(|map| map.0).unwrap_or_default())
}

/// Reads as many steps as there may be: an empty one has two bytes, and a hundred times as many in memory.
pub(super) fn steps<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Step>, D::Error> {
    let Bounded { items, beyond } = Bounded::<Step, MAX_STEPS>::deserialize(deserializer)?;
    match beyond {
        0 => Ok(items),
        beyond => Err(D::Error::custom(BadExecution::TooManySteps(items.len() + beyond))),
    }
}
