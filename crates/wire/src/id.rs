//! Job ids: integers in payloads, text in heartbeats.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// A job's id, unique within its queue. An integer wherever the protocol carries one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub i64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for JobId {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// An id as heartbeats carry it: `"42"`, or `"42-batches"` for a job of a multi-queue dequeue.
///
/// A number is accepted in place of text and becomes its decimal form; anything else is an error.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdText(pub String);

impl IdText {
    /// The id of a job that was dequeued without (`None`) or with a queue name.
    pub fn new(id: JobId, queue: Option<&str>) -> Self {
        match queue {
            None => Self(id.to_string()),
            Some(queue) => Self(format!("{id}-{queue}")),
        }
    }

    /// Takes the id apart again at the first `-`; `None` when it does not begin with an integer.
    pub fn split(&self) -> Option<(JobId, Option<&str>)> {
        match self.0.split_once('-') {
            Some((id, queue)) => Some((id.parse().ok()?, Some(queue))),
            None => Some((self.0.parse().ok()?, None)),
        }
    }
}

impl fmt::Display for IdText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for IdText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for IdText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = IdText;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a job id as a string or an integer")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<IdText, E> {
                Ok(IdText(text.to_owned()))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<IdText, E> {
                Ok(IdText(number.to_string()))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<IdText, E> {
                Ok(IdText(number.to_string()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_as_numbers_or_strings_and_nothing_else() {
        let ids: Vec<IdText> = serde_json::from_str(r#"[1, "2", "3-batches"]"#).unwrap();
        assert_eq!(ids, [IdText("1".into()), IdText("2".into()), IdText("3-batches".into())]);
        for bad in ["[null]", "[1.5]", "[true]", "[{}]"] {
            assert!(serde_json::from_str::<Vec<IdText>>(bad).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn an_id_splits_at_the_first_dash() {
        assert_eq!(IdText("7-a-b".into()).split(), Some((JobId(7), Some("a-b"))));
        assert_eq!(IdText("7".into()).split(), Some((JobId(7), None)));
        assert_eq!(IdText("x-batches".into()).split(), None);
        assert_eq!(IdText::new(JobId(7), Some("batches")).0, "7-batches");
    }
}
