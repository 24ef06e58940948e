//! What names may look like. Each rule is told in full by its error.

use crate::needs::MAX_LABELS;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// A name that breaks its rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what} {value:?}: {rule}")]
pub struct BadName {
    what: &'static str,
    value: String,
    rule: &'static str,
}

impl BadName {
    pub(crate) fn new(what: &'static str, value: &str, rule: &'static str) -> Self {
        let value = value.chars().take(100).collect();
        Self { what, value, rule }
    }
}

/// A queue's name: one of those the protocol knows.
pub fn check_queue(name: &str) -> Result<(), BadName> {
    if wire::paths::QUEUES.contains(&name) {
        return Ok(());
    }
    Err(BadName::new("queue", name, "it must be one of batches, codeintel"))
}

/// A repository's name, such as `demo` or `github.com/acme/app`. It becomes part of URLs, paths and
/// script names.
pub fn check_repository(name: &str) -> Result<(), BadName> {
    const RULE: &str = "use up to 200 letters, digits, '.', '_', '-' and '/'; no part between slashes may be \
                        empty or begin with '.' or '-'";
    let part_ok = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '-'])
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    if name.len() <= 200 && name.split('/').all(part_ok) {
        return Ok(());
    }
    Err(BadName::new("repository name", name, RULE))
}

/// A step's key: part of log keys and shown to people.
pub fn check_step_key(key: &str) -> Result<(), BadName> {
    const RULE: &str = "use 1 to 60 letters, digits, '.', '_' and '-'";
    let ok = (1..=60).contains(&key.len())
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if ok { Ok(()) } else { Err(BadName::new("step name", key, RULE)) }
}

/// An environment variable's name.
pub fn check_env_name(name: &str) -> Result<(), BadName> {
    const RULE: &str = "use up to 200 letters, digits and '_', not beginning with a digit";
    let ok = !name.is_empty()
        && name.len() <= 200
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if ok { Ok(()) } else { Err(BadName::new("variable name", name, RULE)) }
}

/// A label of an executor, such as `gpu` or `zone=b`.
pub fn check_label(label: &str) -> Result<(), BadName> {
    const RULE: &str = "use 1 to 60 letters, digits, '.', '_', '-', '/', ':' and '='";
    let ok = (1..=60).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/:=".contains(&b));
    if ok { Ok(()) } else { Err(BadName::new("label", label, RULE)) }
}

/// Labels of one executor, or that one job needs.
pub(crate) fn check_labels(labels: &BTreeSet<String>) -> Result<(), BadName> {
    if let Some(label) = labels.iter().nth(MAX_LABELS) {
        return Err(BadName::new("label", label, "at most 20 labels can be needed"));
    }
    labels.iter().try_for_each(|label| check_label(label))
}

/// The name of whoever may everything: no token has it.
pub const ROOT: &str = "root";

/// A token's name: shown to people and noted with what its holder does.
pub fn check_token_name(name: &str) -> Result<(), BadName> {
    const RULE: &str =
        "use 1 to 60 letters, digits, '.', '_' and '-', beginning with a letter or digit; root is taken";
    let ok = (1..=60).contains(&name.len())
        && name != ROOT
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if ok { Ok(()) } else { Err(BadName::new("token name", name, RULE)) }
}

/// The name of somebody who signs in.
pub fn check_user_name(name: &str) -> Result<(), BadName> {
    const RULE: &str =
        "use 1 to 60 letters, digits, '.', '_' and '-', beginning with a letter or digit; root is taken";
    check_token_name(name).map_err(|_| BadName::new("user name", name, RULE))
}

/// The name that an executor gives itself: shown to people, and sent in headers. Hosts are named in any language, so what can be
/// seen is taken.
pub fn check_executor_name(name: &str) -> Result<(), BadName> {
    const RULE: &str = "use 1 to 512 bytes of visible characters, with no blank at either end, and no control, invisible or \
                        direction-changing character";
    if name.len() <= 512 && name.trim() == name && is_shown_as_it_is(name) {
        return Ok(());
    }
    Err(BadName::new("executor name", name, RULE))
}

/// Whether whoever sees a text sees what it is: something, and nothing that hides or turns around what stands beside it.
pub fn is_shown_as_it_is(text: &str) -> bool {
    !text.trim().is_empty() && !text.chars().any(|c| c.is_control() || is_invisible(c))
}

/// The text with everything that would hide or turn around what stands beside it told by its number.
pub fn as_shown(text: &str) -> Cow<'_, str> {
    let hides = |c: char| c.is_control() || is_invisible(c);
    if !text.contains(hides) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if hides(c) { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

/// Characters that are not seen, end a line, or change the direction of others.
const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
    )
}

/// What jobs have in common of which only so many may run at once.
pub fn check_concurrency_key(key: &str) -> Result<(), BadName> {
    const RULE: &str = "use 1 to 100 visible ASCII characters";
    let ok = (1..=100).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    if ok { Ok(()) } else { Err(BadName::new("concurrency key", key, RULE)) }
}

/// What tells a submission that is made again from another one.
pub fn check_idempotency_key(key: &str) -> Result<(), BadName> {
    const RULE: &str = "use 1 to 200 visible ASCII characters";
    let ok = (1..=200).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    if ok { Ok(()) } else { Err(BadName::new("idempotency key", key, RULE)) }
}

/// A container image's reference: `[registry/]name[:tag][@digest]`. Looks at the form only, and takes
/// whatever a registry or an image store may have.
pub fn check_image(reference: &str) -> Result<(), BadName> {
    match image_rule(reference) {
        None => Ok(()),
        Some(rule) => Err(BadName::new("image reference", reference, rule)),
    }
}

/// The rule that `reference` breaks.
fn image_rule(reference: &str) -> Option<&'static str> {
    let (tagged, digest) =
        reference.split_once('@').map_or((reference, None), |(name, digest)| (name, Some(digest)));
    let last = tagged.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match tagged[last..].split_once(':') {
        Some((part, tag)) => (&tagged[..last + part.len()], Some(tag)),
        None => (tagged, None),
    };
    let (host, repository) = match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (Some(first), rest),
        _ => (None, name),
    };
    if reference.is_empty() {
        Some("it is empty")
    } else if reference.len() > 512 {
        Some("it may have up to 512 characters")
    } else if reference.starts_with('-') {
        Some("it may not begin with '-'")
    } else if !reference.bytes().all(|b| b.is_ascii_graphic()) {
        Some("it may not hold blanks, control characters or letters beyond ASCII")
    } else if !host.is_none_or(is_host) {
        Some("the registry before the first '/' must be a host name, with ':' and a port if need be")
    } else if repository.bytes().any(|b| b.is_ascii_uppercase()) {
        Some("the image's name must be in lower case")
    } else if !repository.split('/').all(is_repository_part) {
        Some(
            "write [registry/]name[:tag][@digest]; each part of the name between slashes is made of lower-case \
             letters and digits, joined by '.', '_', '__' or '-'",
        )
    } else if !tag.is_none_or(is_tag) {
        Some("a tag has 1 to 128 letters, digits, '.', '_' and '-', and does not begin with '.' or '-'")
    } else if !digest.is_none_or(is_digest) {
        Some("a digest is written like sha256: and 64 hexadecimal digits")
    } else {
        None
    }
}

fn is_host(host: &str) -> bool {
    let (name, port) = host.split_once(':').unwrap_or((host, "0"));
    let edge = |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric());
    edge(name.bytes().next())
        && edge(name.bytes().last())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && !port.is_empty()
        && port.bytes().all(|b| b.is_ascii_digit())
}

fn is_repository_part(part: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut joins = part.split(is_word).filter(|join| !join.is_empty());
    part.starts_with(is_word)
        && part.ends_with(is_word)
        && joins.all(|join| matches!(join, "." | "_" | "__") || join.bytes().all(|b| b == b'-'))
}

fn is_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len())
        && !tag.starts_with(['.', '-'])
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn is_digest(digest: &str) -> bool {
    digest.split_once(':').is_some_and(|(algorithm, digits)| {
        algorithm.starts_with(|c: char| c.is_ascii_alphabetic())
            && algorithm.bytes().all(|b| b.is_ascii_alphanumeric() || b"+._-".contains(&b))
            && digits.len() >= 32
            && digits.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn repository_names_can_not_climb_or_hide_or_look_like_options() {
        for good in ["demo", "github.com/acme/app", "a_b-c.d/e"] {
            assert_eq!(check_repository(good), Ok(()), "{good}");
        }
        for bad in ["", "/a", "a/", "a//b", "../x", "a/../b", "-x", "a/-b", ".git", "a b", "a\nb", "ä"] {
            assert!(check_repository(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(check_repository(&"a".repeat(201)).is_err());
    }

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn images_are_named_as_registries_and_stores_name_them() {
        for good in [
            "busybox",
            "debian:12",
            "team/tool:1",
            "a__b/c--d_e.f:V1.0_x-y",
            "localhost/a",
            "localhost:5000/a",
            "host:5000/a/b:tag",
            "test.com:5000",
            "foo_bar.com:8080",
            "foo_bar.com/a",
            "Registry.Example:5000/a/b",
            "xn--n3h.com/myimage:xn--n3h.com",
            &format!("debian@sha256:{HEX}"),
            &format!("ghcr.io/x/y:1@sha512:{HEX}{HEX}"),
        ] {
            assert_eq!(check_image(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn an_image_that_can_not_be_named_so_is_refused_with_the_rule() {
        for (bad, rule) in [
            ("", "empty"),
            ("-v", "begin with '-'"),
            ("Not A Reference", "blanks"),
            ("a\nb", "blanks"),
            ("a b", "blanks"),
            ("ä", "ASCII"),
            ("Debian", "lower case"),
            ("Team/tool", "lower case"),
            ("ghcr.io/Team/tool", "lower case"),
            ("http://a/b", "must be a host name"),
            ("host:port/a", "must be a host name"),
            ("a/../b", "write [registry/]"),
            ("a//b", "write [registry/]"),
            ("a/", "write [registry/]"),
            ("/a", "write [registry/]"),
            ("a_-b", "write [registry/]"),
            (":tag", "write [registry/]"),
            ("a:", "a tag has"),
            ("a:b:c", "a tag has"),
            ("a:.b", "a tag has"),
            ("a@sha256:12", "a digest is"),
            ("a@b@c", "a digest is"),
            (&"a".repeat(513), "512"),
        ] {
            let refusal = check_image(bad).unwrap_err().to_string();
            assert!(
                refusal.starts_with("invalid image reference") && refusal.contains(rule),
                "{bad:?}: {refusal}"
            );
        }
    }

    proptest! {
        /// The grammar that images are referred to by everywhere.
        #[test]
        fn no_image_that_somebody_may_have_is_refused(
            host in "(([a-zA-Z0-9]([a-zA-Z0-9-]{0,5}[a-zA-Z0-9])?(\\.[a-zA-Z0-9]{1,5}){1,2}(:[0-9]{1,5})?|localhost|[A-Za-z0-9]{1,5}:[0-9]{1,5})/)?",
            repository in "[a-z0-9]{1,4}(([._]|__|[-]{0,3})[a-z0-9]{1,4}){0,3}(/[a-z0-9]{1,4}(([._]|__|[-]{0,3})[a-z0-9]{1,4}){0,2}){0,2}",
            tag in "(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,20})?",
            digest in "(@[A-Za-z][A-Za-z0-9]{0,4}([-_+.][A-Za-z][A-Za-z0-9]{0,3}){0,1}:[0-9a-fA-F]{32,64})?",
        ) {
            prop_assert_eq!(check_image(&format!("{host}{repository}{tag}{digest}")), Ok(()));
        }
    }

    #[test]
    fn executors_are_named_in_any_language_by_what_can_be_seen() {
        for good in ["host-5f0c", "größer", "主机", "مضيف", "my host", &"n".repeat(512)] {
            assert_eq!(check_executor_name(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            " ",
            "\u{a0}\u{2003}",
            " a",
            "a ",
            "a\nb",
            "\u{1b}[2J",
            "a\u{202e}b",
            "a\u{200b}",
            "\u{feff}a",
            "a\u{2066}b",
        ] {
            assert!(check_executor_name(bad).is_err(), "{bad:?} was accepted");
        }
        let told = check_executor_name("a\u{202e}b").unwrap_err().to_string();
        assert!(told.starts_with(r#"invalid executor name "a\u{202e}b": use 1 to 512"#), "{told}");
        assert!(check_executor_name(&"n".repeat(513)).is_err());
    }

    #[test]
    fn a_refusal_tells_the_value_and_the_rule() {
        assert_eq!(
            check_queue("bulk").unwrap_err().to_string(),
            r#"invalid queue "bulk": it must be one of batches, codeintel"#
        );
    }
}
