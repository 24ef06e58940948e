//! JSON documents in variables, judged by their shape. What is not known is let through, as the
//! reference does: newer clusters know more fields.

use serde_json::{Map, Value};

/// What a known field must be, unless it is null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    Integer,
    Bool,
    Texts,
    Object,
}

impl Shape {
    fn fits(self, value: &Value) -> bool {
        match self {
            _ if value.is_null() => true,
            Self::Text => value.is_string(),
            Self::Integer => value.is_i64(),
            Self::Bool => value.is_boolean(),
            Self::Texts => value.as_array().is_some_and(|items| items.iter().all(Value::is_string)),
            Self::Object => value.is_object(),
        }
    }

    fn told(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Integer => "a whole number",
            Self::Bool => "true or false",
            Self::Texts => "an array of texts",
            Self::Object => "an object",
        }
    }
}

/// What fields of an object are known.
pub(super) type Fields = [(&'static str, Shape)];

/// An array of objects.
pub(super) fn objects(text: &str, fields: &Fields) -> Result<Vec<Map<String, Value>>, String> {
    let items = match serde_json::from_str(text).map_err(|fault| syntax(&fault))? {
        Value::Null => return Ok(Vec::new()),
        Value::Array(items) => items,
        other => return Err(format!("it must be an array, not {}", kind(&other))),
    };
    let objects = items.into_iter().enumerate().map(|(index, item)| object(index + 1, item, fields));
    objects.collect()
}

fn object(place: usize, item: Value, fields: &Fields) -> Result<Map<String, Value>, String> {
    let mut object = match item {
        Value::Object(object) => object,
        other => return Err(format!("item {place} must be an object, not {}", kind(&other))),
    };
    for (name, shape) in fields {
        spell(&mut object, name);
        if object.get(*name).is_some_and(|value| !shape.fits(value)) {
            return Err(format!("{name} of item {place} must be {}", shape.told()));
        }
    }
    Ok(object)
}

/// Gives a field its name where it is there in another letter case only, as the reference's decoder does.
fn spell(object: &mut Map<String, Value>, name: &str) {
    if object.contains_key(name) {
        return;
    }
    let other = object.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned();
    if let Some(value) = other.and_then(|key| object.remove(&key)) {
        object.insert(name.to_owned(), value);
    }
}

/// An object whose values are texts.
pub(super) fn texts(text: &str) -> Result<(), String> {
    match serde_json::from_str(text).map_err(|fault| syntax(&fault))? {
        Value::Null => Ok(()),
        Value::Object(object) => match object.iter().find(|(_, value)| !Shape::Text.fits(value)) {
            Some((name, value)) => Err(format!("{name:?} must be a text, not {}", kind(value))),
            None => Ok(()),
        },
        other => Err(format!("it must be an object, not {}", kind(&other))),
    }
}

/// Where a document stops being one. Never what stands there: it may be a secret.
pub(super) fn syntax(fault: &serde_json::Error) -> String {
    if fault.is_eof() {
        return "unexpected end of JSON input".to_owned();
    }
    let what = if fault.is_data() { "unexpected value" } else { "invalid JSON" };
    format!("{what} at line {} column {}", fault.line(), fault.column())
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &Fields = &[
        ("key", Shape::Text),
        ("values", Shape::Texts),
        ("seconds", Shape::Integer),
        ("more", Shape::Object),
    ];

    #[test]
    fn arrays_of_objects_are_judged_field_by_field() {
        for good in ["null", "[]", r#"[{"key":"a","values":["b"],"seconds":3,"more":{}}]"#] {
            assert!(objects(good, FIELDS).is_ok(), "{good}");
        }
        assert!(
            objects(r#"[{"key":null,"unknown":[1]}]"#, FIELDS).is_ok(),
            "null and unknown are let through"
        );
        for (bad, told) in [
            ("", "unexpected end of JSON input"),
            ("[{", "unexpected end of JSON input"),
            ("[}", "invalid JSON at line 1 column 2"),
            ("{}", "it must be an array, not an object"),
            (r#"[{},"a"]"#, "item 2 must be an object, not a text"),
            (r#"[{"key":1}]"#, "key of item 1 must be a text"),
            (r#"[{"KEY":1}]"#, "key of item 1 must be a text"),
            (r#"[{"values":[1]}]"#, "values of item 1 must be an array of texts"),
            (r#"[{"seconds":1.5}]"#, "seconds of item 1 must be a whole number"),
            (r#"[{"more":[]}]"#, "more of item 1 must be an object"),
        ] {
            assert_eq!(objects(bad, FIELDS).unwrap_err(), told, "{bad}");
        }
    }

    #[test]
    fn objects_of_texts_hold_nothing_else() {
        assert_eq!(texts(r#"{"a":"b"}"#), Ok(()));
        assert_eq!(texts(r#"{"a":1}"#).unwrap_err(), "\"a\" must be a text, not a number");
        assert_eq!(texts("[]").unwrap_err(), "it must be an object, not an array");
    }
}
