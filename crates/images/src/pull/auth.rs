//! Answering a registry's challenge.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_auth::parser::ChallengeParser;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::borrow::Cow;
use url::form_urlencoded;

/// Bytes of a token server's answer.
pub(super) const TOKEN_BYTES: u64 = 256 * 1024;

/// What a registry wants to see.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User and password.
    Basic,
    /// A token from somewhere else.
    Token {
        /// Where.
        realm: String,
        /// What to ask for there.
        service: Option<String>,
    },
}

impl Challenge {
    /// Finds one that we can answer; tokens first, since registries that offer both want them.
    pub(super) fn find(headers: &HeaderMap) -> Option<Self> {
        let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let found: Vec<_> = texts.flat_map(|text| ChallengeParser::new(text).map_while(Result::ok)).collect();
        let parameter = |challenge: &http_auth::ChallengeRef<'_>, name: &str| {
            let mut parameters = challenge.params.iter();
            parameters.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_unescaped())
        };
        let token = found
            .iter()
            .filter(|challenge| challenge.scheme.eq_ignore_ascii_case("bearer"))
            .find_map(|challenge| {
                Some(Self::Token {
                    realm: parameter(challenge, "realm")?,
                    service: parameter(challenge, "service"),
                })
            });
        let basic = || {
            found
                .iter()
                .any(|challenge| challenge.scheme.eq_ignore_ascii_case("basic"))
                .then_some(Self::Basic)
        };
        token.or_else(basic)
    }
}

/// What a token server is asked for: a token that may pull from `repository`.
fn wish<'a>(service: Option<&'a str>, repository: &str) -> Vec<(&'static str, Cow<'a, str>)> {
    let service = service.map(|service| ("service", service.into()));
    service.into_iter().chain([("scope", format!("repository:{repository}:pull").into())]).collect()
}

/// Where to ask for it.
pub(super) fn token_url(mut realm: Url, service: Option<&str>, repository: &str) -> Url {
    realm.query_pairs_mut().extend_pairs(wish(service, repository));
    realm
}

/// What to send there in exchange for an identity token.
pub(super) fn exchange(token: &SecretString, service: Option<&str>, repository: &str) -> String {
    form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "refresh_token")
        .append_pair("client_id", "executor")
        .append_pair("refresh_token", token.expose_secret())
        .extend_pairs(wish(service, repository))
        .finish()
}

/// A token server's answer; both names are in use.
#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
}

/// The token in a token server's answer, as a header.
pub(super) fn answered(answer: &[u8]) -> Option<HeaderValue> {
    let answer: Answer = serde_json::from_slice(answer).ok()?;
    bearer(&answer.token.or(answer.access_token).filter(|token| !token.is_empty())?.into())
}

/// The header for a token.
pub(super) fn bearer(token: &SecretString) -> Option<HeaderValue> {
    sensitive(&format!("Bearer {}", token.expose_secret()))
}

/// The header for user and password.
pub(super) fn basic(user: &str, password: &SecretString) -> Option<HeaderValue> {
    sensitive(&format!("Basic {}", STANDARD.encode(format!("{user}:{}", password.expose_secret()))))
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(values: &[&'static str]) -> Option<Challenge> {
        let headers = values.iter().map(|value| (WWW_AUTHENTICATE, HeaderValue::from_static(value)));
        Challenge::find(&headers.collect())
    }

    #[test]
    fn challenges_are_found_among_others() {
        let token = |service: Option<&str>| {
            Some(Challenge::Token {
                realm: "https://auth.test/token".to_owned(),
                service: service.map(str::to_owned),
            })
        };
        assert_eq!(
            found(&[r#"Bearer realm="https://auth.test/token",service="r",scope="x""#]),
            token(Some("r"))
        );
        assert_eq!(found(&[r#"Basic realm="x""#, r#"bearer realm="https://auth.test/token""#]), token(None));
        assert_eq!(found(&[r#"Basic realm="x""#]), Some(Challenge::Basic));
        assert_eq!(found(&["Negotiate"]), None);
        assert_eq!(found(&[r#"Bearer service="x""#]), None);
        assert_eq!(found(&[]), None);
    }

    #[test]
    fn token_requests_are_encoded() {
        let realm = "https://auth.test/token?a=b".parse().expect("a URL");
        let url = token_url(realm, Some("my registry"), "team/tool");
        assert_eq!(
            url.as_str(),
            "https://auth.test/token?a=b&service=my+registry&scope=repository%3Ateam%2Ftool%3Apull"
        );
    }

    #[test]
    fn identity_tokens_are_exchanged() {
        assert_eq!(
            exchange(&"a&b".into(), Some("r"), "team/tool"),
            "grant_type=refresh_token&client_id=executor&refresh_token=a%26b&service=r\
             &scope=repository%3Ateam%2Ftool%3Apull"
        );
    }

    #[test]
    fn both_names_of_a_token_are_known() {
        for answer in [r#"{"token":"t"}"#, r#"{"access_token":"t"}"#, r#"{"token":"t","access_token":"u"}"#] {
            assert_eq!(answered(answer.as_bytes()).expect("a token"), "Bearer t");
        }
        for answer in ["", "{}", r#"{"token":""}"#, "{\"token\":\"a\\nb\"}"] {
            assert_eq!(answered(answer.as_bytes()), None, "{answer}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let header = basic("user", &"secret".into()).expect("a header");
        assert_eq!(format!("{header:?}"), "Sensitive");
        assert_eq!(header, "Basic dXNlcjpzZWNyZXQ=");
    }
}
