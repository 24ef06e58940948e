//! What names may look like. Each rule is told in full by its error.

/// A name that breaks its rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what} {value:?}: {rule}")]
pub struct BadName {
    what: &'static str,
    value: String,
    rule: &'static str,
}

impl BadName {
    fn new(what: &'static str, value: &str, rule: &'static str) -> Self {
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

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_refusal_tells_the_value_and_the_rule() {
        assert_eq!(
            check_queue("bulk").unwrap_err().to_string(),
            r#"invalid queue "bulk": it must be one of batches, codeintel"#
        );
    }
}
