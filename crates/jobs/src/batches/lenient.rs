//! What stock peers write `null` where nothing was set, and what must not grow with its text.

use super::BadExecution;
use super::input::Step;
use crate::spec::MAX_STEPS;
use crate::unique;
use serde::de::{Error, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;

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

/// Reads as many steps as there may be, and only counts the others: an empty one has two bytes, and a hundred times as many in
/// memory.
pub(super) fn steps<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Step>, D::Error> {
    struct Bounded;
    impl<'de> Visitor<'de> for Bounded {
        type Value = Vec<Step>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of steps")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Step>, A::Error> {
            let mut steps = Vec::new();
            while steps.len() < MAX_STEPS {
                let Some(step) = list.next_element()? else { return Ok(steps) };
                steps.push(step);
            }
            let mut beyond = 0;
            while list.next_element::<IgnoredAny>()?.is_some() {
                beyond += 1;
            }
            if beyond == 0 {
                return Ok(steps);
            }
            Err(A::Error::custom(BadExecution::TooManySteps(steps.len() + beyond)))
        }
    }
    deserializer.deserialize_seq(Bounded)
}
