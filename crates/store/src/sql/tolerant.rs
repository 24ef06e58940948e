//! Reading what another version wrote: a key that is not known is passed over, however deep, though the type refuses it.
//!
//! What people write is held to the letter, so that a misspelt key is found. The same types are read here, from a database
//! that only servers write.

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{Deserialize, Deserializer, IntoDeserializer, Visitor};
use serde_json::{Error, Value};

/// Reads a value, without what its type does not know.
pub(super) fn read<'de, T: Deserialize<'de>>(value: Value) -> Result<T, Error> {
    T::deserialize(Tolerant(value))
}

struct Tolerant(Value);

impl IntoDeserializer<'_, Error> for Tolerant {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

/// Both end with a check that everything was taken.
macro_rules! visit {
    ($visit:ident, $visitor:ident, $items:expr) => {{
        let mut items = $items;
        let read = $visitor.$visit(&mut items)?;
        items.end().map(|()| read)
    }};
}

impl<'de> Deserializer<'de> for Tolerant {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(items) => {
                visit!(visit_seq, visitor, SeqDeserializer::new(items.into_iter().map(Tolerant)))
            }
            Value::Object(entries) => {
                let entries = entries.into_iter().map(|(key, value)| (key, Tolerant(value)));
                visit!(visit_map, visitor, MapDeserializer::new(entries))
            }
            plain => plain.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let Value::Object(mut entries) = self.0 else { return self.deserialize_any(visitor) };
        entries.retain(|key, _| fields.contains(&key.as_str()));
        Self(Value::Object(entries)).deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobs::JobSpec;
    use serde_json::json;

    #[test]
    fn what_is_not_known_is_passed_over_however_deep() {
        let written = json!({
            "queue": "indexes",
            "later": {"deep": [1]},
            "env": {"KEPT": "x", "later": "y"},
            "steps": [{"image": "a", "run": "true", "later": null}],
            "needs": {"cpus": 2, "isolation": "vm", "later": "4G"},
            "concurrency": {"key": "k", "limit": 3, "later": true},
            "notBefore": "2026-01-01T00:00:00Z",
        });
        let refused = serde_json::from_value::<JobSpec>(written.clone()).unwrap_err();
        assert!(refused.to_string().contains("later"), "{refused}");
        let spec: JobSpec = read(written).unwrap();
        assert_eq!((spec.env.len(), spec.steps.len(), spec.needs.cpus), (2, 1, Some(2)), "a map keeps all");
        let again: JobSpec = read(serde_json::to_value(&spec).unwrap()).unwrap();
        assert_eq!(again, spec);
    }

    #[test]
    fn what_is_known_is_held_to_its_type() {
        for wrong in [
            json!({"priority": "high"}),
            json!({"steps": {}}),
            json!({"needs": {"isolation": "later"}}),
            json!({"steps": [{"later": "step"}]}),
            json!("later"),
        ] {
            assert!(read::<JobSpec>(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
