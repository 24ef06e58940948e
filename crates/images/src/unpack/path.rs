//! Paths of archive entries, made harmless.

use crate::limits::{NAME_BYTES, PATH_BYTES, PATH_DEPTH};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A path beneath the layer's directory: relative, without `.`, `..`, empty names and NUL. The
/// layer's own directory is the empty path.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LayerPath(Vec<u8>);

impl LayerPath {
    /// Reads an archive's path, or says which rule it breaks.
    pub(crate) fn parse(raw: &[u8]) -> Result<Self, &'static str> {
        if raw.len() > PATH_BYTES {
            return Err("its path is longer than 4096 bytes");
        }
        if raw.contains(&0) {
            return Err("its path has a NUL byte");
        }
        if raw.first() == Some(&b'/') {
            return Err("its path is absolute");
        }
        let names: Vec<&[u8]> =
            raw.split(|&byte| byte == b'/').filter(|name| !name.is_empty() && *name != b".").collect();
        if names.contains(&&b".."[..]) {
            return Err("its path has '..'");
        }
        if names.iter().any(|name| name.len() > NAME_BYTES) {
            return Err("a name in its path is longer than 255 bytes");
        }
        if names.len() > PATH_DEPTH {
            return Err("its path is deeper than 256 directories");
        }
        Ok(Self(names.join(&b'/')))
    }

    /// Whether it is the layer's own directory.
    pub(crate) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The directory it is in, and its name there; none for the root.
    pub(crate) fn split(&self) -> Option<(Self, &OsStr)> {
        if self.is_root() {
            return None;
        }
        let slash = self.0.iter().rposition(|&byte| byte == b'/');
        let (parent, name) = match slash {
            Some(slash) => (&self.0[..slash], &self.0[slash + 1..]),
            None => (&[][..], &self.0[..]),
        };
        Some((Self(parent.to_vec()), OsStr::from_bytes(name)))
    }

    /// A name in this directory; the name must be one that [`LayerPath::parse`] accepts.
    pub(crate) fn join(&self, name: &[u8]) -> Self {
        let whole = if self.is_root() { name.to_vec() } else { [&self.0[..], b"/", name].concat() };
        Self(whole)
    }

    /// For system calls relative to the layer's directory.
    pub(crate) fn as_path(&self) -> &Path {
        if self.is_root() { Path::new(".") } else { Path::new(OsStr::from_bytes(&self.0)) }
    }

    /// Bytes it takes.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(raw: &[u8]) -> Result<String, &'static str> {
        LayerPath::parse(raw).map(|path| String::from_utf8_lossy(&path.0).into_owned())
    }

    #[test]
    fn tidies_what_is_harmless() {
        for (raw, tidy) in
            [("a/b", "a/b"), ("./a//b/./", "a/b"), (".", ""), ("./", ""), ("", ""), ("..a/b..", "..a/b..")]
        {
            assert_eq!(parsed(raw.as_bytes()), Ok(tidy.to_owned()));
        }
        LayerPath::parse(b"not \xff UTF-8").expect("names are bytes");
    }

    #[test]
    fn refuses_what_is_not() {
        for (raw, rule) in [
            (&b"../a"[..], "'..'"),
            (b"a/../../b", "'..'"),
            (b"a/..", "'..'"),
            (b"/etc/passwd", "absolute"),
            (b"a\0b", "NUL"),
            (&[b'a'; 256], "255"),
            (&[b'/'; 5000], "4096"),
            (&b"a/".repeat(257), "256 directories"),
        ] {
            let error = parsed(raw).expect_err(rule);
            assert!(error.contains(rule), "{error}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_stays_inside(raw in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(path) = LayerPath::parse(&raw) {
                prop_assert!(path.as_path().components().all(|part| matches!(
                    part, std::path::Component::Normal(_) | std::path::Component::CurDir
                )));
                prop_assert_eq!(LayerPath::parse(&path.0), Ok(path));
            }
        }

        #[test]
        fn parents_lead_to_the_root(raw in "([a-z./]{1,12}){1,6}") {
            if let Ok(mut path) = LayerPath::parse(raw.as_bytes()) {
                while let Some((parent, name)) = path.split() {
                    prop_assert!(!name.is_empty());
                    prop_assert!(parent.len() < path.len());
                    path = parent;
                }
                prop_assert!(path.is_root());
            }
        }
    }
}
