//! HTTP: whom we talk to and how long we wait.

use super::addresses::{Guard, forbidden_in};
use super::mirror::Mirror;
use crate::ImageError;
use crate::reference::DOCKER_HUB;
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, StatusCode, Url};
use std::sync::OnceLock;
use std::time::Duration;
use tls::Roots;

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
    guard: Guard,
    world: OnceLock<Client>,
    this_machine: OnceLock<Client>,
    plain: OnceLock<Client>,
}

impl Transport {
    pub(super) fn new(roots: Roots, docker_hub: Option<Mirror>) -> Self {
        Self { roots, docker_hub, ..Self::default() }
    }

    /// The client for `url`. Beyond this machine only HTTPS is spoken, also after a redirect, but with
    /// mirrors: who may be spoken to in plain text, and where, was decided by whoever set them.
    pub(super) fn client(&self, url: &Url) -> Result<&Client, reqwest::Error> {
        if is_loopback(url) {
            // A proxy would not reach this machine's own registry.
            self.made(&self.this_machine, |builder| builder.no_proxy().dns_resolver(self.guard.clone()))
        } else if url.scheme() == "http" {
            self.made(&self.plain, |builder| builder)
        } else {
            self.made(&self.world, |builder| builder.https_only(true).dns_resolver(self.guard.clone()))
        }
    }

    /// Where the API of a registry is. Only a registry on this machine may do without TLS, and only
    /// asking tells whether it does.
    pub(super) async fn base(&self, registry: &str) -> Result<Url, ImageError> {
        if let (DOCKER_HUB, Some(hub)) = (registry, &self.docker_hub) {
            return Ok(hub.base().clone());
        }
        let secret = address("https", registry)?;
        if let Some(address) = forbidden_in(&secret) {
            return Err(ImageError::ForbiddenAddress { registry: registry.to_owned(), address });
        }
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
            attempt.error("a redirect to plain HTTP, to this machine or to an address that no registry has")
        }
    });
    Client::builder()
        .user_agent(concat!("executor/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .redirect(redirects)
}

/// Whether `from` may send us to `url`: somebody elsewhere must not make us knock at this machine's own
/// doors, nobody at those of a metadata service, and plain HTTP stays on this machine, or with the one
/// we began to speak it with.
pub(super) fn may_speak(url: &Url, from: &Url) -> bool {
    if forbidden_in(url).is_some() {
        false
    } else if is_loopback(url) {
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
    url.host_str().is_some_and(addresses::is_loopback_host)
}

#[cfg(test)]
mod tests {
    use super::super::answers::network;
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

    #[tokio::test]
    async fn a_metadata_service_is_no_registry() {
        let transport = Transport::default();
        for registry in ["169.254.169.254", "169.254.169.254:80", "0xa9.0xfe.43518"] {
            let error = transport.base(registry).await.expect_err(registry).to_string();
            assert!(error.starts_with(&format!("{registry} has the address 169.254.169.254, ")), "{error}");
        }
        let from = "https://r.example.test/".parse().expect("an address");
        for place in ["https://169.254.169.254/blob", "https://[fd00:ec2::254]/blob"] {
            assert!(!may_speak(&place.parse().expect(place), &from), "{place}");
        }
    }

    /// What comes of asking a registry by a name that has these addresses.
    async fn asked(addresses: [&str; 2]) -> ImageError {
        let guard = Guard::leading_to(addresses.map(|address| address.parse().expect(address)));
        let transport = Transport { guard, ..Transport::default() };
        let url = "https://r.example.test:1/v2/".parse().expect("an address");
        let client = transport.client(&url).expect("a client");
        let error = client.get(url).send().await.expect_err("nobody answers there");
        network("r.example.test:1".to_owned())(error)
    }

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "where there is a proxy this can't be seen")]
    async fn a_name_that_leads_to_a_metadata_service_is_not_connected_to() {
        if std::env::vars_os().any(|(name, _)| name.to_string_lossy().to_lowercase().contains("s_proxy")) {
            return testkit::missing_part(
                "a_name_that_leads_to_a_metadata_service_is_not_connected_to",
                "a way without a proxy, which resolves names itself,",
            );
        }
        let error = asked(["127.0.0.1", "169.254.169.254"]).await.to_string();
        assert!(error.starts_with("r.example.test:1 has the address 169.254.169.254, "), "{error}");
        let error = asked(["127.0.0.1", "127.0.0.1"]).await;
        assert!(matches!(error, ImageError::Network { .. }), "{error}");
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
