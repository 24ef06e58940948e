//! JSON with comments, as people mean it.

use jsonc_parser::ast::Value as Node;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use std::collections::BTreeSet;

/// A key that an object in the text has twice.
pub(super) fn key_that_is_there_twice(text: &str) -> Option<String> {
    let parsed = parse_to_ast(text, &CollectOptions::default(), &comments_and_trailing_commas()).ok()?;
    let mut nodes: Vec<&Node<'_>> = parsed.value.iter().collect();
    while let Some(node) = nodes.pop() {
        match node {
            Node::Object(object) => {
                let mut keys = BTreeSet::new();
                for property in &object.properties {
                    if !keys.insert(property.name.as_str()) {
                        return Some(property.name.as_str().to_owned());
                    }
                    nodes.push(&property.value);
                }
            }
            Node::Array(array) => nodes.extend(&array.elements),
            _ => {}
        }
    }
    None
}

/// What people mean by JSONC; the parser would take much more.
pub(super) fn comments_and_trailing_commas() -> ParseOptions {
    ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    }
}
