//! JSON that is kept as the text that it is.
//!
//! Nobody here looks into it, and as values it would take a hundred times as much memory: `{"":0}` is six bytes, and a map with
//! room for eleven entries.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// Any value, as compact text. It was read through when it was taken over: what can be kept can be read by others.
#[derive(Clone)]
pub struct KeptJson(Box<RawValue>);

impl KeptJson {
    /// The text.
    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// Whether it is an object.
    pub fn is_object(&self) -> bool {
        self.text().starts_with('{')
    }

    /// The names in it, if it is an object.
    #[expect(clippy::zero_sized_map_values, reason = "no set can be read from an object")]
    pub fn names(&self) -> Vec<String> {
        let names = serde_json::from_str::<BTreeMap<String, IgnoredAny>>(self.text());
        names.map(|names| names.into_keys().collect()).unwrap_or_default()
    }
}

/// What is the same may be written in several ways; this is about how it is written.
impl PartialEq for KeptJson {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for KeptJson {}

/// What steps write stays out of `Debug`.
impl fmt::Debug for KeptJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeptJson({} bytes)", self.text().len())
    }
}

impl Serialize for KeptJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for KeptJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut text = Vec::new();
        Writer(&mut text).deserialize(deserializer)?;
        let text = String::from_utf8(text).map_err(D::Error::custom)?;
        RawValue::from_string(text).map(Self).map_err(D::Error::custom)
    }
}

impl schemars::JsonSchema for KeptJson {
    fn schema_name() -> Cow<'static, str> {
        serde_json::Value::schema_name()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        serde_json::Value::json_schema(generator)
    }
}

/// Writes whatever comes, as it comes. Job files are YAML, so it can't be the text itself that is taken over.
struct Writer<'o>(&'o mut Vec<u8>);

impl Writer<'_> {
    fn write<E: Error>(self, value: impl Serialize) -> Result<(), E> {
        serde_json::to_writer(self.0, &value).map_err(E::custom)
    }
}

impl<'de> DeserializeSeed<'de> for Writer<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Writer<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.write(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.write(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.write(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.write(value)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.write(value)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.write(())
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        self.write(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self(out) = self;
        let begin = out.len();
        out.push(b'[');
        while list.next_element_seed(Item { out, begin })?.is_some() {}
        out.push(b']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self(out) = self;
        out.push(b'{');
        let begin = out.len();
        while let Some(name) = map.next_key::<String>()? {
            if out.len() > begin {
                out.push(b',');
            }
            Writer(out).write(name)?;
            out.push(b':');
            map.next_value_seed(Writer(out))?;
        }
        out.push(b'}');
        Ok(())
    }
}

/// An item of a list that begins at a place, with a comma in front of it if it is not the first.
struct Item<'o> {
    out: &'o mut Vec<u8>,
    begin: usize,
}

impl<'de> DeserializeSeed<'de> for Item<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.out.len() > self.begin + 1 {
            self.out.push(b',');
        }
        Writer(self.out).deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_what_was_read() {
        for text in [
            r#"{"b":[1,-2,0.5,18446744073709551615,true,null,"\"\\\n<ä"],"a":{"":{}}}"#,
            "[]",
            "[[],[[]],{}]",
            "null",
            r#""text""#,
        ] {
            let spaced = text.replace(',', " ,\n ").replace('[', "[ ");
            for read in [text, &spaced] {
                let kept: KeptJson = serde_json::from_str(read).unwrap();
                assert_eq!(kept.text(), text);
                assert_eq!(serde_json::to_string(&[&kept]).unwrap(), format!("[{text}]"));
                let value = serde_json::to_value(&kept).unwrap();
                assert_eq!(serde_json::from_str::<serde_json::Value>(text).unwrap(), value);
                assert_eq!(serde_json::from_value::<KeptJson>(value).unwrap().text().len(), text.len());
            }
        }
        let kept: KeptJson = serde_json::from_str(r#"{"b":{"x":1},"a":[]}"#).unwrap();
        assert_eq!((kept.is_object(), kept.names()), (true, vec!["a".to_owned(), "b".to_owned()]));
    }

    /// Others read it with the same limits.
    #[test]
    fn what_nobody_could_read_is_not_kept() {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        for bad in [r#""\ud800""#, "1e999", "[1,]", &deep] {
            assert!(serde_json::from_str::<KeptJson>(bad).is_err(), "{bad}");
        }
    }
}
