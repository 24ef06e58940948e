//! What a decoder of this protocol must forgive: `null`, absent and empty mean the same, and
//! response keys may come in any letter case.

use serde::de::{self, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use std::fmt;
use std::marker::PhantomData;

/// What stands in place of what was left out.
const LEFT_OUT: &str = "…";
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

/// A list of at most `MOST` items, or `null`: a body can hold many more items than there is memory for, once each is a value.
pub(crate) fn at_most<'de, D, T, const MOST: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::<Few<T, MOST>>::deserialize(deserializer)?.map(|few| few.0).unwrap_or_default())
}

struct Few<T, const MOST: usize>(Vec<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for Few<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T, const MOST: usize>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Reader<T, MOST> {
            type Value = Few<T, MOST>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {MOST} items")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut few = Vec::new();
                while let Some(item) = list.next_element()? {
                    if few.len() == MOST {
                        return Err(de::Error::custom(format!(
                            "a list has more than {MOST} items: at most {MOST} are allowed"
                        )));
                    }
                    few.push(item);
                }
                Ok(Few(few))
            }
        }

        deserializer.deserialize_seq(Reader(PhantomData))
    }
}

/// A command of which the arguments beyond the first few thousand are left out, with a mark: no job fails for its commands, and
/// as values empty ones take eight times the room that they took in the body.
pub(crate) fn shortened_command<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<String>>, D::Error> {
    Ok(Option::<Command>::deserialize(deserializer)?.map(|command| command.0))
}

struct Command(Vec<String>);

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Command;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of arguments")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Command, A::Error> {
                let mut command = Vec::new();
                while command.len() < MAX_ARGUMENTS {
                    let Some(argument) = list.next_element()? else { return Ok(Command(command)) };
                    command.push(argument);
                }
                let mut is_longer = false;
                while list.next_element::<IgnoredAny>()?.is_some() {
                    is_longer = true;
                }
                if is_longer {
                    command.push(LEFT_OUT.to_owned());
                }
                Ok(Command(command))
            }
        }

        deserializer.deserialize_seq(Reader)
    }
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
