//! The environment of a step: values, and names whose values come from outside.

use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The variables of a step, in the order in which they were given: later ones win.
///
/// A map holds values only. In a list each item is a name, whose value comes from outside, or a map of one name and its value.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct StepEnv(pub Vec<Variable>);

/// One of them.
#[derive(Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value; `None` where that comes from outside.
    pub value: Option<String>,
}

impl StepEnv {
    /// The names whose values come from outside.
    pub fn outer(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|variable| variable.value.is_none()).map(|variable| variable.name.as_str())
    }

    /// What the step is given. Of what comes from outside, that which is not there is empty.
    pub fn resolved<'a>(&'a self, outer: &'a BTreeMap<String, String>) -> BTreeMap<&'a str, &'a str> {
        let value = |variable: &'a Variable| {
            let of_outside = || outer.get(&variable.name).map_or("", String::as_str);
            (variable.name.as_str(), variable.value.as_deref().unwrap_or_else(of_outside))
        };
        self.0.iter().map(value).collect()
    }

    /// Bytes of names and values.
    pub(super) fn size(&self) -> usize {
        let of =
            |variable: &Variable| variable.name.len() + 1 + variable.value.as_ref().map_or(0, String::len);
        self.0.iter().map(of).sum()
    }
}

/// Values stay out of `Debug`.
impl fmt::Debug for StepEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|variable| &variable.name)).finish()
    }
}

/// As stock peers write it, whose text a cache key is made of: an object where all values are given, else a list.
impl Serialize for StepEnv {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.outer().next().is_none() {
            return self.resolved(&BTreeMap::new()).serialize(serializer);
        }
        serializer.collect_seq(self.0.iter().map(Item))
    }
}

struct Item<'a>(&'a Variable);

impl Serialize for Item<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0.value {
            None => serializer.serialize_str(&self.0.name),
            Some(value) => serializer.collect_map([(&self.0.name, value)]),
        }
    }
}

impl<'de> Deserialize<'de> for StepEnv {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WholeVisitor)
    }
}

struct WholeVisitor;

impl<'de> Visitor<'de> for WholeVisitor {
    type Value = StepEnv;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of names and values, or a list of names and of maps of one name and its value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<StepEnv, E> {
        Ok(StepEnv::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<StepEnv, A::Error> {
        let (mut variables, mut names) = (Vec::new(), BTreeSet::new());
        while let Some((name, value)) = map.next_entry::<String, String>()? {
            if !names.insert(name.clone()) {
                return Err(de::Error::custom(format_args!("duplicate key `{name}`")));
            }
            variables.push(Variable { name, value: Some(value) });
        }
        Ok(StepEnv(variables))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<StepEnv, A::Error> {
        let mut variables = Vec::new();
        while let Some(variable) = list.next_element()? {
            variables.push(variable);
        }
        Ok(StepEnv(variables))
    }
}

impl<'de> Deserialize<'de> for Variable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ItemVisitor)
    }
}

struct ItemVisitor;

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = Variable;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name, or a map of one name and its value")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Variable, E> {
        Ok(Variable { name: name.to_owned(), value: None })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Variable, A::Error> {
        let several = || de::Error::custom("an item of env must have one name with its value, and no other");
        let (name, value) = map.next_entry::<String, String>()?.ok_or_else(several)?;
        if map.next_key::<String>()?.is_some() {
            return Err(several());
        }
        Ok(Variable { name, value: Some(value) })
    }
}

impl schemars::JsonSchema for StepEnv {
    fn schema_name() -> Cow<'static, str> {
        "StepEnv".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "Variables of a step: values by name, or a list of names, whose values come from secrets, and of \
                            objects of one name with its value; later ones win.",
            "anyOf": [
                {"type": "object", "additionalProperties": {"type": "string"}},
                {"type": "array", "items": {"anyOf": [
                    {"type": "string"},
                    {"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1, "maxProperties": 1},
                ]}},
                {"type": "null"},
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Result<String, String> {
        let env: StepEnv = serde_json::from_str(text).map_err(|fault| fault.to_string())?;
        Ok(serde_json::to_string(&env).unwrap())
    }

    #[test]
    fn it_is_written_as_stock_peers_write_it() {
        for (read, expected) in [
            ("{}", "{}"),
            ("[]", "{}"),
            ("null", "{}"),
            (r#"{"B":"2","A":"1"}"#, r#"{"A":"1","B":"2"}"#),
            (r#"[{"B":"2"},{"A":"1"},{"B":"3"}]"#, r#"{"A":"1","B":"3"}"#),
            (r#"[{"B":"2"},"TOKEN",{"A":"1"}]"#, r#"[{"B":"2"},"TOKEN",{"A":"1"}]"#),
        ] {
            assert_eq!(written(read).as_deref(), Ok(expected), "{read}");
        }
        for (bad, told) in [
            (r#"{"A":"1","A":"2"}"#, "duplicate key `A`"),
            (r#"[{"A":"1","B":"2"}]"#, "one name with its value"),
            ("[{}]", "one name with its value"),
            ("[1]", "a name, or a map"),
            (r#""A""#, "a map of names and values"),
        ] {
            let refused = written(bad).unwrap_err();
            assert!(refused.contains(told), "{bad}: {refused}");
        }
    }

    #[test]
    fn later_variables_win_and_what_is_not_outside_is_empty() {
        let env: StepEnv = serde_json::from_str(r#"["A","B",{"C":"1"},{"A":"mine"}]"#).unwrap();
        let outer = [("A".to_owned(), "outer".to_owned()), ("D".to_owned(), "no".to_owned())].into();
        assert_eq!(env.resolved(&outer), [("A", "mine"), ("B", ""), ("C", "1")].into());
        assert_eq!(env.outer().collect::<Vec<_>>(), ["A", "B"]);
        assert!(!format!("{env:?}").contains("mine"));
    }
}
