//! HTTP: whom we talk to and how long we wait.

use crate::ImageError;
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Url};
use std::sync::OnceLock;
use std::time::Duration;
use url::Host;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Between two pieces of an answer.
const READ_TIMEOUT: Duration = Duration::from_mins(1);
const REDIRECTS: usize = 5;

/// Clients, made when first needed: reading the machine's certificates takes a while, and a store
/// of local images never needs them.
#[derive(Debug, Default)]
pub(crate) struct Transport {
    world: OnceLock<Client>,
    this_machine: OnceLock<Client>,
}

impl Transport {
    /// The client for `url`. Beyond this machine only HTTPS is spoken, also after a redirect.
    pub(super) fn client(&self, url: &Url) -> Result<&Client, reqwest::Error> {
        if is_loopback(url) {
            // A proxy would not reach this machine's own registry.
            made(&self.this_machine, || builder().no_proxy())
        } else {
            made(&self.world, || builder().https_only(true))
        }
    }
}

fn made(
    place: &OnceLock<Client>,
    builder: impl FnOnce() -> ClientBuilder,
) -> Result<&Client, reqwest::Error> {
    if let Some(client) = place.get() {
        return Ok(client);
    }
    let client = builder().build()?;
    Ok(place.get_or_init(|| client))
}

fn builder() -> ClientBuilder {
    let redirects = Policy::custom(|attempt| {
        if attempt.previous().len() > REDIRECTS {
            attempt.error("too many redirects")
        } else if may_speak(attempt.url(), attempt.previous().first().is_some_and(is_loopback)) {
            attempt.follow()
        } else {
            attempt.error("a redirect to plain HTTP or to this machine")
        }
    });
    Client::builder()
        .user_agent(concat!("executor/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .redirect(redirects)
}

/// Whether a registry may send us to `url`: a registry elsewhere must not make us knock at this
/// machine's own doors, and plain HTTP stays on this machine.
pub(super) fn may_speak(url: &Url, registry_is_loopback: bool) -> bool {
    if is_loopback(url) { registry_is_loopback } else { url.scheme() == "https" }
}

/// Where the API of a registry is.
pub(super) fn base(registry: &str) -> Result<Url, ImageError> {
    // The name that people use for it answers with a web site.
    let host = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
    let parse = |scheme: &str| {
        let text = format!("{scheme}://{host}/v2/");
        text.parse::<Url>().map_err(|error| ImageError::BadReference {
            value: registry.to_owned(),
            rule: format!("its registry is no host: {error}"),
        })
    };
    let url = parse("https")?;
    if is_loopback(&url) { parse("http") } else { Ok(url) }
}

pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_spoken_to_in_plain_text() {
        for (registry, url) in [
            ("docker.io", "https://registry-1.docker.io/v2/"),
            ("ghcr.io", "https://ghcr.io/v2/"),
            ("example.test:80", "https://example.test:80/v2/"),
            ("127.0.0.1.example.test", "https://127.0.0.1.example.test/v2/"),
            ("localhost:5000", "http://localhost:5000/v2/"),
            ("127.1.2.3:5000", "http://127.1.2.3:5000/v2/"),
        ] {
            assert_eq!(base(registry).expect(registry).as_str(), url);
        }
    }

    #[test]
    fn a_registry_elsewhere_does_not_lead_us_home() {
        let url = |text: &str| text.parse::<Url>().expect(text);
        for home in ["https://127.0.0.1/", "http://localhost:8080/", "http://[::1]/", "https://0x7f.1/"] {
            assert!(!may_speak(&url(home), false), "{home}");
            assert!(may_speak(&url(home), true), "{home}");
        }
        assert!(may_speak(&url("https://cdn.example.test/"), false));
        assert!(!may_speak(&url("http://169.254.169.254/"), true));
    }
}
