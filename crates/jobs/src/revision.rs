//! How a job may say which commit it wants.
//!
//! Git understands far more than names: searches of the history by text, of the log of a ref by time, of
//! a tree by path. What any user may have the server look up must be cheap, and mean a commit.

/// Characters of a revision at most.
pub(crate) const MAX_LENGTH: usize = 250;
/// Commits that `~` and `^` may go back in all.
pub(crate) const MAX_BACK: u32 = 10_000;

/// Whether `rev` is the name of a ref or the id of a commit, short or long, and after it at most a few
/// `~`, `^`, `~N` or `^N`.
pub(crate) fn is_allowed(rev: &str) -> bool {
    let name_ends = rev.find(['~', '^']).unwrap_or(rev.len());
    let (name, way) = rev.split_at(name_ends);
    rev.chars().count() <= MAX_LENGTH && is_name(name) && goes_back(way).is_some_and(|by| by <= MAX_BACK)
}

/// What git allows as the name of a ref. Ids are such names as well.
fn is_name(name: &str) -> bool {
    let foreign = |c: char| c.is_whitespace() || c.is_control() || ":?*[\\".contains(c);
    let locked = |part: &str| part.rsplit_once('.').is_some_and(|(_, end)| end == "lock");
    let part_ok = |part: &str| !part.is_empty() && !part.starts_with('.') && !locked(part);
    !name.starts_with('-')
        && name != "@"
        && !name.ends_with('.')
        && !name.contains("..")
        && !name.contains("@{")
        && !name.contains(foreign)
        && name.split('/').all(part_ok)
}

/// How far `~3^2~` goes back, if it is nothing else.
fn goes_back(mut way: &str) -> Option<u32> {
    let mut by = 0_u32;
    while let Some(step) = way.strip_prefix(['~', '^']) {
        let digits = step.find(|c: char| !c.is_ascii_digit()).unwrap_or(step.len());
        let (number, rest) = step.split_at(digits);
        by = by.checked_add(if number.is_empty() { 1 } else { number.parse().ok()? })?;
        way = rest;
    }
    way.is_empty().then_some(by)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ids_are_allowed_and_a_few_steps_back() {
        for rev in [
            "main",
            "HEAD",
            "v1.0",
            "v1.0-3-gdeadbee",
            "feature/größe",
            "user@host",
            "@x",
            "a.lock.b",
            "refs/pull/1/head",
            "deadbee",
            "89abcdef0123456789abcdef0123456789abcdef",
            "main~",
            "main^",
            "main~3^2~",
            "HEAD~10000",
            "HEAD^0",
        ] {
            assert!(is_allowed(rev), "{rev}");
        }
    }

    #[test]
    fn what_searches_or_names_no_commit_is_not() {
        for rev in [
            "",
            "@",
            "-x",
            "--output=x",
            "HEAD^{/fix}",
            "HEAD^{commit}",
            "main^{}",
            ":/fix",
            ":README",
            "HEAD:README",
            "main@{1}",
            "main@{yesterday}",
            "@{u}",
            "@{-1}",
            "a..b",
            "a...b",
            "^main",
            "~",
            "main^@",
            "main^!",
            "main^-",
            "main~x",
            "main~3x",
            "HEAD~10001",
            "HEAD~9999~2",
            "HEAD~4294967296",
            "main~ 3",
            "a b",
            "a\nb",
            "a\\b",
            "a*",
            "a?",
            "[a]",
            "/a",
            "a/",
            "a//b",
            ".a",
            "a/.b",
            "a.",
            "a.lock",
            "a.lock/b",
        ] {
            assert!(!is_allowed(rev), "{rev}");
        }
        assert!(is_allowed(&"ä".repeat(MAX_LENGTH)) && !is_allowed(&"a".repeat(MAX_LENGTH + 1)));
    }
}
