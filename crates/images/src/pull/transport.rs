//! HTTP: whom we talk to and how long we wait.

use super::mirror::Mirror;
use crate::ImageError;
use crate::reference::DOCKER_HUB;
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, StatusCode, Url};
use std::sync::OnceLock;
use std::time::Duration;
use tls::Roots;
use url::Host;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Between two pieces of an answer.
const READ_TIMEOUT: Duration = Duration::from_mins(1);
const REDIRECTS: usize = 5;

/// Clients, made when first needed: a store of local images never needs them.
#[derive(Debug, Default)]
pub(crate) struct Transport {
    roots: Roots,
    /// When it is elsewhere.
    docker_hub: Option<Mirror>,
    world: OnceLock<Client>,
    this_machine: OnceLock<Client>,
    plain: OnceLock<Client>,
}

impl Transport {
    pub(super) fn new(roots: Roots, docker_hub: Option<Mirror>) -> Self {
        Self { roots, docker_hub, ..Self::default() }
    }

    /// The client for `url`. Beyond this machine only HTTPS is spoken, also after a redirect, but with
    /// mirrors: who may be spoken to in plain text was decided by whoever set them.
    pub(super) fn client(&self, url: &Url) -> Result<&Client, reqwest::Error> {
        if is_loopback(url) {
            // A proxy would not reach this machine's own registry.
            self.made(&self.this_machine, ClientBuilder::no_proxy)
        } else if url.scheme() == "http" {
            self.made(&self.plain, |builder| builder)
        } else {
            self.made(&self.world, |builder| builder.https_only(true))
        }
    }

    /// Where the API of a registry is. Only a registry on this machine may do without TLS, and only
    /// asking tells whether it does.
    pub(super) async fn base(&self, registry: &str) -> Result<Url, ImageError> {
        if let (DOCKER_HUB, Some(hub)) = (registry, &self.docker_hub) {
            return Ok(hub.base().clone());
        }
        let secret = address("https", registry)?;
        if !is_loopback(&secret) {
            return Ok(secret);
        }
        let plain = address("http", registry)?;
        let asked = async { self.client(&plain)?.get(plain.clone()).timeout(CONNECT_TIMEOUT).send().await };
        let speaks_plain = match asked.await {
            // What servers answer that wait for TLS; others just hang up.
            Ok(response) => response.status() != StatusCode::BAD_REQUEST,
            // Nobody is there, and the next one to ask will hear it.
            Err(error) => error.is_connect() || error.is_timeout(),
        };
        Ok(if speaks_plain { plain } else { secret })
    }

    fn made<'a>(
        &self,
        place: &'a OnceLock<Client>,
        finish: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Result<&'a Client, reqwest::Error> {
        if let Some(client) = place.get() {
            return Ok(client);
        }
        let tls = self.roots.client_config();
        let client = finish(builder().tls_backend_preconfigured(tls)).build()?;
        Ok(place.get_or_init(|| client))
    }
}

fn builder() -> ClientBuilder {
    let redirects = Policy::custom(|attempt| {
        if attempt.previous().len() > REDIRECTS {
            attempt.error("too many redirects")
        } else if attempt.previous().first().is_some_and(|from| may_speak(attempt.url(), from)) {
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

/// Whether `from` may send us to `url`: somebody elsewhere must not make us knock at this machine's own
/// doors, and plain HTTP stays on this machine, or with the one we began to speak it with.
pub(super) fn may_speak(url: &Url, from: &Url) -> bool {
    if is_loopback(url) {
        is_loopback(from)
    } else {
        url.scheme() == "https" || url.origin() == from.origin()
    }
}

fn address(scheme: &str, registry: &str) -> Result<Url, ImageError> {
    // The name that people use for it answers with a web site.
    let host = if registry == DOCKER_HUB { "registry-1.docker.io" } else { registry };
    format!("{scheme}://{host}/v2/").parse().map_err(|error| ImageError::BadReference {
        value: registry.to_owned(),
        rule: format!("its registry is no host: {error}"),
    })
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

    #[tokio::test]
    async fn beyond_this_machine_registries_speak_tls() {
        let transport = Transport::default();
        for (registry, url) in [
            ("docker.io", "https://registry-1.docker.io/v2/"),
            ("ghcr.io", "https://ghcr.io/v2/"),
            ("example.test:80", "https://example.test:80/v2/"),
            ("127.0.0.1.example.test", "https://127.0.0.1.example.test/v2/"),
        ] {
            assert_eq!(transport.base(registry).await.expect(registry).as_str(), url);
        }
    }

    #[test]
    fn a_registry_elsewhere_does_not_lead_us_home() {
        let url = |text: &str| text.parse::<Url>().expect(text);
        let (away, home) = (url("https://r.example.test/"), url("http://127.0.0.1:5000/"));
        for place in ["https://127.0.0.1/", "http://localhost:8080/", "http://[::1]/", "https://0x7f.1/"] {
            assert!(!may_speak(&url(place), &away), "{place}");
            assert!(may_speak(&url(place), &home), "{place}");
        }
        assert!(may_speak(&url("https://cdn.example.test/"), &away));
        assert!(!may_speak(&url("http://169.254.169.254/"), &home));
        let mirror = url("http://10.0.1.4:5000/");
        assert!(may_speak(&url("http://10.0.1.4:5000/token"), &mirror));
        for place in ["http://10.0.1.4/", "http://10.0.1.5:5000/", "http://127.0.0.1:5000/"] {
            assert!(!may_speak(&url(place), &mirror), "{place}");
        }
    }
}
