//! Where a repository is mirrored from.

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::path::{Component, Path};
use url::Url;

/// Characters of a source at most.
const MAX_LENGTH: usize = 2_000;

/// A source that was checked, apart from the credentials it came with.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// The path or URL, without credentials. What is stored, shown and given to git.
    shown: String,
    /// `https://user:password@host`, as git's credential store keeps it.
    credentials: Option<String>,
}

/// Credentials stay out of `Debug`.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("shown", &self.shown).finish_non_exhaustive()
    }
}

/// Why a source is not accepted: rule and remedy. It never repeats the source, which may hold a
/// password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadSource {
    #[error("the source is empty or longer than {MAX_LENGTH} characters")]
    Length,
    #[error("the source holds a control character")]
    Control,
    #[error("the source is a relative path: give the absolute path on the server, or a URL")]
    Relative,
    #[error("the source path holds '..': write it without")]
    Climbing,
    #[error(
        "the source must be an absolute path on the server, or a URL that begins with https://, http://, ssh:// or \
         git://; write user@host:path as ssh://user@host/path"
    )]
    Scheme,
    #[error("the source URL names no host")]
    NoHost,
    #[error("the source's host begins with '-'")]
    OptionHost,
    #[error(
        "the source URL holds a '?' or '#': give the plain URL of the repository; a user name and a password or          token go before the host, as in https://USER:TOKEN@HOST/PATH"
    )]
    Query,
    #[error(
        "only https and http URLs may hold a password: for ssh, use a key that the server's user can read"
    )]
    Password,
}

impl Source {
    /// Checks what a user typed.
    pub(crate) fn parse(text: &str) -> Result<Self, BadSource> {
        if text.is_empty() || text.len() > MAX_LENGTH {
            return Err(BadSource::Length);
        }
        if text.chars().any(char::is_control) {
            return Err(BadSource::Control);
        }
        if text.starts_with('/') {
            return local(text);
        }
        match Url::parse(text) {
            Ok(url) if url.scheme() == "file" && text.starts_with("file:///") => {
                local(&percent_decode_str(url.path()).decode_utf8().map_err(|_| BadSource::Scheme)?)
            }
            Ok(url) if matches!(url.scheme(), "https" | "http" | "ssh" | "git") && text.contains("://") => {
                remote(url)
            }
            Err(url::ParseError::EmptyHost) => Err(BadSource::NoHost),
            Err(url::ParseError::RelativeUrlWithoutBase) if !text.contains(':') => Err(BadSource::Relative),
            _ => Err(BadSource::Scheme),
        }
    }

    /// One that was checked when its repository was added.
    pub(super) fn known(shown: &str, credentials: Option<SecretString>) -> Self {
        let credentials = credentials.map(|credentials| credentials.expose_secret().to_owned());
        Self { shown: shown.to_owned(), credentials }
    }

    /// Whether the server reads it with rights of its own: as a path, or with its user's key.
    pub(crate) fn takes_our_rights(&self) -> bool {
        self.shown.starts_with('/') || self.shown.starts_with("ssh:")
    }

    /// The path or URL without credentials.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// The credentials, for git's credential store and nothing else.
    pub(super) fn credentials(&self) -> Option<&str> {
        self.credentials.as_deref()
    }
}

fn local(path: &str) -> Result<Source, BadSource> {
    if Path::new(path).components().any(|part| part == Component::ParentDir) {
        return Err(BadSource::Climbing);
    }
    Ok(Source { shown: path.to_owned(), credentials: None })
}

fn remote(mut url: Url) -> Result<Source, BadSource> {
    let host = url.host_str().unwrap_or_default().to_owned();
    if host.is_empty() {
        return Err(BadSource::NoHost);
    }
    if host.starts_with('-') {
        return Err(BadSource::OptionHost);
    }
    // Whatever stands there is shown to people, and is often a token.
    if url.query().is_some() || url.fragment().is_some() {
        return Err(BadSource::Query);
    }
    if [url.username(), url.password().unwrap_or_default()].into_iter().any(hides_control) {
        return Err(BadSource::Control);
    }
    if matches!(url.scheme(), "ssh" | "git") {
        // A user name is how ssh is told the account; it is no secret.
        return match url.password() {
            Some(_) => Err(BadSource::Password),
            None if url.username().starts_with('-') => Err(BadSource::OptionHost),
            None => Ok(Source { shown: url.into(), credentials: None }),
        };
    }
    let has_credentials = !url.username().is_empty() || url.password().is_some();
    let credentials = has_credentials.then(|| {
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let (user, password) = (url.username(), url.password().unwrap_or_default());
        format!("{}://{user}:{password}@{host}{port}", url.scheme())
    });
    // Neither fails for a URL with a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Ok(Source { shown: url.into(), credentials })
}

/// Whether a control character comes out when the encoding of a part of a URL is undone, as git does it.
fn hides_control(part: &str) -> bool {
    percent_decode_str(part).any(|byte| byte.is_ascii_control())
}

/// Takes `user:password@` out of every URL in a text.
pub(super) fn without_credentials(text: &str) -> String {
    let mut pieces = text.split("://");
    let mut clean = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let authority_ends =
            piece.find(|c: char| c == '/' || c.is_whitespace() || "'\"".contains(c)).unwrap_or(piece.len());
        let kept = piece[..authority_ends].rfind('@').map_or(piece, |at| &piece[at + 1..]);
        clean.push_str("://");
        clean.push_str(kept);
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_urls_are_accepted_and_credentials_kept_apart() {
        for (text, shown, credentials) in [
            ("/srv/git/app", "/srv/git/app", None),
            ("file:///srv/my%20app", "/srv/my app", None),
            ("https://github.com/acme/app", "https://github.com/acme/app", None),
            ("https://ann:p%40ss@host:8443/x", "https://host:8443/x", Some("https://ann:p%40ss@host:8443")),
            ("https://token@host/x", "https://host/x", Some("https://token:@host")),
            ("ssh://git@host:22/x", "ssh://git@host:22/x", None),
        ] {
            let source = Source::parse(text).unwrap();
            assert_eq!((source.shown(), source.credentials()), (shown, credentials), "{text}");
            assert!(!format!("{source:?}").contains("p%40ss"));
        }
    }

    #[test]
    fn what_could_run_programs_or_climb_is_refused() {
        for (text, fault) in [
            ("", BadSource::Length),
            ("/a\nb", BadSource::Control),
            ("../x", BadSource::Relative),
            ("-x", BadSource::Relative),
            ("--upload-pack=evil", BadSource::Relative),
            ("/a/../b", BadSource::Climbing),
            ("ext::sh -c evil", BadSource::Scheme),
            ("ext::https://x", BadSource::Scheme),
            ("git@github.com:acme/app", BadSource::Scheme),
            ("fd::17", BadSource::Scheme),
            ("file://host/x", BadSource::Scheme),
            ("ftp://host/x", BadSource::Scheme),
            ("ssh://-oProxyCommand=evil/x", BadSource::OptionHost),
            ("ssh://git:pw@host/x", BadSource::Password),
            ("https://", BadSource::NoHost),
            ("https://host/x?access_token=secret", BadSource::Query),
            ("ssh://host/x#y", BadSource::Query),
            ("https://ann%0ahost=evil:pw@host/x", BadSource::Control),
            ("https://ann:p%00w@host/x", BadSource::Control),
        ] {
            assert_eq!(Source::parse(text), Err(fault), "{text}");
        }
    }

    #[test]
    fn credentials_vanish_from_texts() {
        assert_eq!(
            without_credentials("a https://u:p@h/x b ssh://git@h c 'http://t@h'"),
            "a https://h/x b ssh://h c 'http://h'"
        );
        assert_eq!(without_credentials("mail a@b.c"), "mail a@b.c");
    }
}
