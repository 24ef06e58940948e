//! Image references such as `debian:12` or `registry.example:5000/team/tool@sha256:…`.

use crate::ImageError;
use crate::digest::Digest;
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
const DOCKER_HUB_OF_OLD: &str = "index.docker.io";
const OFFICIAL: &str = "library/";
const LATEST: &str = "latest";
const LONGEST_TAG: usize = 128;
const LONGEST_REPOSITORY: usize = 255;

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
        let Parts { registry, repository, tag, digest } = split(value)
            .map_err(|rule| refused(&format!("{rule}; write [registry/]name[:tag][@sha256:digest]")))?;
        if digest.is_some_and(|digest| Digest::parse(digest).is_none()) {
            return Err(refused("a digest is sha256: and 64 lower-case hexadecimal digits"));
        }
        let latest = digest.is_none().then_some(LATEST);
        Ok(Self {
            registry: registry.to_owned(),
            repository,
            tag: tag.or(latest).map(str::to_owned),
            digest: digest.map(str::to_owned),
        })
    }
}

/// What a reference has, by the grammar of the distribution project. Written by hand, since a regular
/// expression for it takes megabytes.
struct Parts<'a> {
    registry: &'a str,
    repository: String,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

fn split(value: &str) -> Result<Parts<'_>, &'static str> {
    let (name, digest) = match value.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (value, None),
    };
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match name[last..].find(':') {
        Some(colon) => (&name[..last + colon], Some(&name[last + colon + 1..])),
        None => (name, None),
    };
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Err(
            "a tag has letters, digits, '_', '.' and '-', 128 at most, and begins with neither '.' nor '-'",
        );
    }
    let (registry, path) = match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
        _ => (DOCKER_HUB, name),
    };
    if !is_host(registry) && !is_component(registry) {
        return Err("its registry is no host name, with a port or without");
    }
    if !path.split('/').all(is_component) {
        return Err(
            "a name has lower-case letters and digits, with single dots, one or two '_', or dashes between them",
        );
    }
    let registry = if registry == DOCKER_HUB_OF_OLD { DOCKER_HUB } else { registry };
    let is_official = registry == DOCKER_HUB && !path.contains('/');
    let repository = if is_official { format!("{OFFICIAL}{path}") } else { path.to_owned() };
    if repository.len() > LONGEST_REPOSITORY {
        return Err("its name is longer than 255 characters");
    }
    Ok(Parts { registry, repository, tag, digest })
}

fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= LONGEST_TAG
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

/// Labels between dots, and perhaps a port.
fn is_host(text: &str) -> bool {
    let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    name.split('.').all(is_label)
        && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Words with a separator between any two.
fn is_component(text: &str) -> bool {
    let is_of_word = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_separator =
        |text: &[u8]| matches!(text, b"." | b"_" | b"__") || text.iter().all(|byte| *byte == b'-');
    let bytes = text.as_bytes();
    bytes.first().is_some_and(is_of_word)
        && bytes.last().is_some_and(is_of_word)
        && bytes.split(is_of_word).all(is_separator)
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
            ("a@sha256:12", "64 lower-case"),
            ("a@", "64 lower-case"),
            (&format!("a@sha256:{HEX}@sha256:{HEX}"), "64 lower-case"),
            ("a:", "a tag has"),
            ("a:.b", "a tag has"),
            (&format!("a:{}", "b".repeat(129)), "a tag has"),
            ("host.:5000/a", "no host name"),
            ("host.example:/a", "no host name"),
            ("-host.example/a", "starts with '-'"),
            (&format!("host.example/{}", "a".repeat(256)), "255"),
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
        fn what_the_distribution_project_takes_is_taken_and_nothing_else(
            value in "([a-z0-9]{1,3}|[.:_/@-]|localhost|index.docker.io|sha256:[0-9a-f]{64}|T){0,9}",
        ) {
            let oracle = value.parse::<oci_spec::distribution::Reference>().ok();
            let expected = oracle.filter(|_| broken_rule(&value).is_none()).map(|oracle| oracle.whole());
            let expected = expected.filter(|whole| !whole.contains('@') || whole.contains("@sha256:"));
            prop_assert_eq!(value.parse::<Reference>().ok().map(|own| own.to_string()), expected);
        }

        #[test]
        fn no_input_panics(value in "\\PC{0,40}") {
            if let Ok(reference) = value.parse::<Reference>() {
                prop_assert_eq!(&parsed(&reference.to_string()), &reference);
            }
        }
    }
}
