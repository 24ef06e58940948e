//! URLs of calls: base path and call path, joined and cleaned.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

/// What a path segment keeps as it is (RFC 3986 `unreserved`, and what Go leaves alone as well).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'@')
    .remove(b':')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'=');

/// The URL of `path` below `base`: duplicate slashes and dots go away, query and fragment of the
/// base stay.
pub(crate) fn endpoint(base: &Url, path: &str) -> Url {
    let mut segments: Vec<String> = Vec::new();
    let kept = base.path().split('/').map(str::to_owned);
    let added = path.split('/').map(|part| utf8_percent_encode(part, SEGMENT).to_string());
    for part in kept.chain(added) {
        match part.as_str() {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            _ => segments.push(part),
        }
    }
    let mut url = base.clone();
    url.set_path(&format!("/{}", segments.join("/")));
    url
}

/// Whether `part` is one plain segment, so that a path made with it stays where it was meant to be.
pub(crate) fn valid_segment(part: &str) -> bool {
    !matches!(part, "" | "." | "..") && !part.contains(['/', '\\']) && !part.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_keeps_its_path_query_and_fragment() {
        for (base, path, expect) in [
            ("http://h", "/.executors/test/auth", "http://h/.executors/test/auth"),
            ("http://h/", "/.executors/test/auth", "http://h/.executors/test/auth"),
            ("http://h:1/sub/?a=b#c", "/.executors/x", "http://h:1/sub/.executors/x?a=b#c"),
            ("http://h//a//b", "//c/./d/../e", "http://h/a/b/c/e"),
            ("http://h", "/.executors/files/b/a b%2f?#", "http://h/.executors/files/b/a%20b%252f%3F%23"),
        ] {
            assert_eq!(endpoint(&Url::parse(base).unwrap(), path).as_str(), expect);
        }
    }

    #[test]
    fn a_segment_is_one_plain_name() {
        for good in ["batches", "a.b", "...", "ü b"] {
            assert!(valid_segment(good), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a\\b", "a\nb", "\0"] {
            assert!(!valid_segment(bad), "{bad:?}");
        }
    }
}
