//! Image references such as `debian:12` or `registry.example:5000/team/tool@sha256:…`.

use crate::ImageError;
use crate::digest::Digest;
use oci_spec::distribution::Reference as Parsed;
use std::fmt;
use std::str::FromStr;

/// A normalised image reference: registry, repository, and a tag or a digest or both.
///
/// `Display` gives the whole form, `docker.io/library/debian:12`, which parses to an equal value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

/// Bytes of a reference.
const MAX_BYTES: usize = 512;

pub(crate) const DOCKER_HUB: &str = "docker.io";
const OFFICIAL: &str = "library/";

impl Reference {
    /// The registry as `host` or `host:port`; `docker.io` when none was given.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository, such as `library/debian`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Registry and repository, such as `docker.io/library/debian`: what access is granted by.
    pub(crate) fn whole_repository(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The tag; `latest` when neither tag nor digest was given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, `sha256:…`, when the reference is pinned.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// The short form that people know from Docker: without `docker.io/library/`.
    pub fn familiar(&self) -> String {
        let whole = self.to_string();
        let short = match self.registry.as_str() {
            DOCKER_HUB => &whole[DOCKER_HUB.len() + 1..],
            _ => &whole,
        };
        short.strip_prefix(OFFICIAL).unwrap_or(short).to_owned()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(out, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(out, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = ImageError;

    fn from_str(value: &str) -> Result<Self, ImageError> {
        let refused =
            |rule: &str| ImageError::BadReference { value: shortened(value), rule: rule.to_owned() };
        if let Some(rule) = broken_rule(value) {
            return Err(refused(rule));
        }
        let parsed: Parsed = value
            .parse()
            .map_err(|error| refused(&format!("{error}; write [registry/]name[:tag][@sha256:digest]")))?;
        if let Some(digest) = parsed.digest() {
            Digest::parse(digest)
                .ok_or_else(|| refused("a digest is sha256: and 64 lower-case hexadecimal digits"))?;
        }
        Ok(Self {
            registry: parsed.registry().to_owned(),
            repository: parsed.repository().to_owned(),
            tag: parsed.tag().map(str::to_owned),
            digest: parsed.digest().map(str::to_owned),
        })
    }
}

/// Rules whose breach deserves a better text than "invalid format".
fn broken_rule(value: &str) -> Option<&'static str> {
    let name = value.split('@').next().unwrap_or(value);
    let last_slash = name.rfind('/').map_or(0, |slash| slash + 1);
    let repository = name[last_slash..].find(':').map_or(name, |colon| &name[..last_slash + colon]);
    if value.is_empty() {
        Some("it is empty")
    } else if value.len() > MAX_BYTES {
        Some("it is longer than 512 bytes")
    } else if value.starts_with('-') {
        Some("it starts with '-', which programs would read as an option")
    } else if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
        Some("it may have only visible ASCII characters, no spaces")
    } else if repository.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Some("registry and name must be in lower case")
    } else {
        None
    }
}

/// Enough of a bad value to recognise it in a message.
fn shortened(value: &str) -> String {
    const SHOWN: usize = 80;
    match value.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn parsed(value: &str) -> Reference {
        value.parse().unwrap_or_else(|error| panic!("{value}: {error}"))
    }

    #[test]
    fn normalises_like_docker() {
        for (given, whole, short) in [
            ("debian", "docker.io/library/debian:latest", "debian:latest"),
            ("team/tool:1", "docker.io/team/tool:1", "team/tool:1"),
            ("index.docker.io/library/debian:12", "docker.io/library/debian:12", "debian:12"),
            ("localhost/a", "localhost/a:latest", "localhost/a:latest"),
            ("host:5000/a/b:tag", "host:5000/a/b:tag", "host:5000/a/b:tag"),
            ("ghcr.io/x/y:V1.0", "ghcr.io/x/y:V1.0", "ghcr.io/x/y:V1.0"),
        ] {
            assert_eq!(parsed(given).to_string(), whole);
            assert_eq!(parsed(given).familiar(), short);
            assert_eq!(parsed(short), parsed(given));
        }
    }

    #[test]
    fn keeps_tag_and_digest() {
        let pinned = parsed(&format!("debian@sha256:{HEX}"));
        assert_eq!((pinned.tag(), pinned.digest()), (None, Some(&*format!("sha256:{HEX}"))));
        let both = parsed(&format!("debian:12@sha256:{HEX}"));
        assert_eq!((both.tag(), both.digest().is_some()), (Some("12"), true));
    }

    #[test]
    fn refuses_with_the_rule() {
        let long = "a".repeat(513);
        for (given, rule) in [
            ("", "empty"),
            ("-v", "starts with '-'"),
            ("a\nb", "visible ASCII"),
            ("a b", "visible ASCII"),
            ("ä", "visible ASCII"),
            ("Debian", "lower case"),
            ("Host.example/a:b", "lower case"),
            (&long, "512"),
            ("a@sha256:12", "write [registry/]"),
            (&format!("a@sha256:{}", HEX.to_uppercase()), "64 lower-case"),
            (&format!("a@sha512:{HEX}{HEX}"), "64 lower-case"),
            ("a/../b", "write [registry/]"),
            ("http://a/b", "write [registry/]"),
        ] {
            let error = given.parse::<Reference>().expect_err(given).to_string();
            assert!(error.contains(rule), "{given:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_parses_to_the_same(
            registry in "([a-z]{1,8}\\.[a-z]{2,5}(:[0-9]{1,5})?/)?",
            repository in "[a-z0-9]{1,8}(/[a-z0-9]{1,8}){0,2}",
            tag in "(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,20})?",
            digest in "(@sha256:[0-9a-f]{64})?",
        ) {
            let reference = parsed(&format!("{registry}{repository}{tag}{digest}"));
            prop_assert_eq!(&parsed(&reference.to_string()), &reference);
            prop_assert_eq!(&parsed(&reference.familiar()), &reference);
        }

        #[test]
        fn no_input_panics(value in "\\PC{0,40}") {
            if let Ok(reference) = value.parse::<Reference>() {
                prop_assert_eq!(&parsed(&reference.to_string()), &reference);
            }
        }
    }
}
