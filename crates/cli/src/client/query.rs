//! What is asked for behind the path of a call.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// The path of a call with those of its parameters that are given.
pub(crate) fn with_query<'n>(
    path: &str,
    parameters: impl IntoIterator<Item = (&'n str, Option<String>)>,
) -> String {
    let given = parameters.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let told =
        |(name, value): (&str, String)| format!("{name}={}", utf8_percent_encode(&value, NON_ALPHANUMERIC));
    let query = given.map(told).collect::<Vec<_>>().join("&");
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_is_asked_for_and_nothing_of_it_ends_its_parameter() {
        assert_eq!(with_query("/jobs", []), "/jobs");
        assert_eq!(with_query("/jobs", [("text", None)]), "/jobs");
        let all = [("limit", Some("5".to_owned())), ("state", None), ("text", Some("a&b=ü ?".to_owned()))];
        assert_eq!(with_query("/jobs", all), "/jobs?limit=5&text=a%26b%3D%C3%BC%20%3F");
    }
}
