//! Which paths an artifact's path stands for: taken apart once, asked for every file of a workspace.
//!
//! Both sides are chosen by whoever wrote the job, so asking allocates nothing, and what a directory's path decides is worked
//! out once for all that lies in it.

use super::{ArtifactSpec, BadArtifact};
use std::str::Chars;

/// Parts of a pattern at most, where `**` beside each other count as one.
pub const MAX_PATTERN_PARTS: usize = 64;
/// What stands for any number of directories, and what makes a part one that is a pattern.
pub(super) const ANY_DIRECTORIES: &str = "**";
const WILD: [char; 2] = ['*', '?'];

/// The path of an artifact, ready to be compared with many others.
#[derive(Debug)]
pub struct Pattern(Kind);

#[derive(Debug)]
enum Kind {
    /// One file, or all that is below a directory.
    Plain(String),
    Wild(Vec<Part>),
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    AnyDirectories,
    Like(String),
}

/// What is left of a pattern in one directory.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a>(Left<'a>);

#[derive(Debug, Clone, Copy)]
enum Left<'a> {
    /// Nothing: all is wanted.
    Nothing,
    /// This path.
    Path(&'a str),
    /// Which beginnings of the pattern match the directory's path: one bit each, so that nothing is tried twice.
    Parts { pattern: &'a [Part], begun: u128 },
}

impl Pattern {
    /// Takes a path apart that has as few parts as a job's may.
    pub fn of(spec: &ArtifactSpec) -> Result<Self, BadArtifact> {
        if !spec.path.contains(WILD) {
            return Ok(Self(Kind::Plain(spec.path.clone())));
        }
        let part = |part: &str| match part {
            ANY_DIRECTORIES => Part::AnyDirectories,
            like => Part::Like(like.to_owned()),
        };
        let mut parts: Vec<Part> = spec.path.split('/').map(part).collect();
        parts.dedup_by(|one, other| *one == Part::AnyDirectories && one == other);
        match parts.len() {
            0..=MAX_PATTERN_PARTS => Ok(Self(Kind::Wild(parts))),
            many => Err(BadArtifact::Parts { name: spec.name.clone(), parts: many }),
        }
    }

    /// What is left of it in a directory, whose path is empty for the workspace itself; `None` where no file of it can be.
    pub fn place(&self, directory: &str) -> Option<Place<'_>> {
        let root = Place(match &self.0 {
            Kind::Plain(path) => Left::Path(path),
            Kind::Wild(pattern) => Left::Parts { pattern, begun: with_none(pattern, 1) },
        });
        let mut parts = directory.split('/').filter(|part| !part.is_empty());
        parts.try_fold(root, |place, part| place.enter(part))
    }

    /// Whether a file with this path is one of its.
    pub fn matches(&self, path: &str) -> bool {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        self.place(directory).is_some_and(|place| place.matches(name))
    }
}

impl Place<'_> {
    /// Whether a file that is called so is one of its.
    pub fn matches(&self, name: &str) -> bool {
        match self.0 {
            Left::Nothing => true,
            Left::Path(path) => path == name,
            Left::Parts { pattern, begun } => step(pattern, begun, name) & whole(pattern) != 0,
        }
    }

    /// What is left of it in the directory that is called so; `None` where no file of it can be below.
    pub fn enter(&self, name: &str) -> Option<Self> {
        match self.0 {
            Left::Nothing => Some(*self),
            Left::Path(path) if path == name => Some(Self(Left::Nothing)),
            Left::Path(path) => {
                let rest = path.strip_prefix(name)?.strip_prefix('/')?;
                Some(Self(Left::Path(rest)))
            }
            Left::Parts { pattern, begun } => {
                let begun = step(pattern, begun, name) & !whole(pattern);
                (begun != 0).then_some(Self(Left::Parts { pattern, begun }))
            }
        }
    }
}

/// The bit of a pattern of which all parts match.
const fn whole(pattern: &[Part]) -> u128 {
    1 << pattern.len()
}

/// Which beginnings match a path that is longer by one part.
fn step(pattern: &[Part], begun: u128, name: &str) -> u128 {
    let mut next = 0;
    for (index, part) in pattern.iter().enumerate() {
        if begun & (1 << index) == 0 {
            continue;
        }
        match part {
            Part::AnyDirectories => next |= 1 << index,
            Part::Like(like) if is_like(like, name) => next |= 1 << (index + 1),
            Part::Like(_) => {}
        }
    }
    with_none(pattern, next)
}

/// `**` stands for no directory as well.
fn with_none(pattern: &[Part], mut begun: u128) -> u128 {
    for (index, part) in pattern.iter().enumerate() {
        if *part == Part::AnyDirectories && begun & (1 << index) != 0 {
            begun |= 1 << (index + 1);
        }
    }
    begun
}

fn is_like(like: &str, name: &str) -> bool {
    let (mut like, mut left) = (like.chars(), name.chars());
    // What is behind the last star, and what that did not take yet.
    let mut star: Option<(Chars<'_>, Chars<'_>)> = None;
    loop {
        match (like.next(), left.clone().next()) {
            (Some('*'), _) => star = Some((like.clone(), left.clone())),
            (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {
                left.next();
            }
            (None, None) => return true,
            // A star that takes more leaves even less.
            (Some(_), None) => return false,
            (_, Some(_)) => {
                let Some((behind, untaken)) = &mut star else { return false };
                untaken.next();
                (like, left) = (behind.clone(), untaken.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;
    use proptest::prelude::*;

    fn of(path: &str) -> Pattern {
        Pattern::of(&spec(path)).unwrap()
    }

    fn spec(path: &str) -> ArtifactSpec {
        ArtifactSpec { name: "a".to_owned(), path: path.to_owned(), optional: false }
    }

    #[test]
    fn patterns_match_as_people_expect() {
        for (pattern, path, expected) in [
            ("out/app", "out/app", true),
            ("out/app", "out/apps", false),
            ("out/app", "out/app/deep", true),
            ("out/app", "out/apps/deep", false),
            ("out", "out/deep/app", true),
            ("out/*", "out/app", true),
            ("out/*", "out/deep/app", false),
            ("*.xml", "a.xml", true),
            ("*.xml", "deep/a.xml", false),
            ("**/*.xml", "a.xml", true),
            ("**/*.xml", "very/deep/a.xml", true),
            ("**/**/**/*.xml", "very/deep/a.xml", true),
            ("reports/**", "reports/a/b", true),
            ("reports/**", "other/a", false),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**/b", "a/x/y/c", false),
            ("a/**/**/b", "a/b", true),
            ("te?t-*-*.log", "test-1-2.log", true),
            ("te?t-*-*.log", "test-1.log", false),
            ("*ab", "aab", true),
            ("*ab*", "aaac", false),
            ("a*", "a", true),
            ("*", "ä", true),
            ("?", "ä", true),
            ("??", "ä", false),
        ] {
            assert_eq!(of(pattern).matches(path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn any_directories_beside_each_other_are_one_part_and_others_are_counted() {
        let neighbours = vec!["**"; 333].join("/");
        let Kind::Wild(parts) = of(&neighbours).0 else { panic!() };
        assert_eq!(parts, [Part::AnyDirectories]);
        let most = vec!["*"; MAX_PATTERN_PARTS].join("/");
        assert!(of(&most).matches(&vec!["a"; MAX_PATTERN_PARTS].join("/")));
        assert!(!of(&most).matches(&vec!["a"; MAX_PATTERN_PARTS + 1].join("/")));
        let many = spec(&format!("{most}/*"));
        let refused = Err(BadArtifact::Parts { name: "a".to_owned(), parts: 65 });
        assert_eq!(check(&[many]), refused);
        assert_eq!(
            check(&[spec(&vec!["a"; 400].join("/"))]),
            Ok(()),
            "a path without a pattern is compared as it is"
        );
    }

    /// The same by the rules alone, one way after the other.
    fn by_the_rules(pattern: &[&str], parts: &[&str]) -> bool {
        match (pattern.split_first(), parts.split_first()) {
            (None, None) => true,
            (Some((&ANY_DIRECTORIES, rest)), split) => {
                by_the_rules(rest, parts) || split.is_some_and(|(_, fewer)| by_the_rules(pattern, fewer))
            }
            (Some((like, rest)), Some((part, fewer))) => {
                chars_by_the_rules(like.as_bytes(), part.as_bytes()) && by_the_rules(rest, fewer)
            }
            _ => false,
        }
    }

    fn chars_by_the_rules(like: &[u8], name: &[u8]) -> bool {
        match (like.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), split) => {
                chars_by_the_rules(rest, name)
                    || split.is_some_and(|(_, fewer)| chars_by_the_rules(like, fewer))
            }
            (Some((wanted, rest)), Some((found, fewer))) => {
                (*wanted == b'?' || wanted == found) && chars_by_the_rules(rest, fewer)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn what_matches_is_what_the_rules_say(
            pattern in "(\\*\\*|[ab*?]{1,4})(/(\\*\\*|[ab*?]{1,4})){0,4}",
            path in "[ab]{1,4}(/[ab]{1,4}){0,5}",
        ) {
            let wild = pattern.contains(WILD);
            if wild && check(&[spec(&pattern)]).is_ok() {
                let (patterns, parts): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
                prop_assert_eq!(of(&pattern).matches(&path), by_the_rules(&patterns, &parts));
            }
        }

        /// What is matched is found by who looks only where it may be.
        #[test]
        fn nothing_that_matches_is_below_what_is_passed_over(
            pattern in "(\\*\\*|[ab*?]{1,3})(/(\\*\\*|[ab*?]{1,3})){0,3}",
            path in "[ab]{1,3}(/[ab]{1,3}){0,4}",
        ) {
            if check(&[spec(&pattern)]).is_ok() && of(&pattern).matches(&path) {
                for (at, _) in path.match_indices('/') {
                    prop_assert!(of(&pattern).place(&path[..at]).is_some(), "{} {}", pattern, &path[..at]);
                }
            }
        }
    }
}
