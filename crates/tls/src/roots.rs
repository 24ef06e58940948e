//! The store of certificates, and connections that believe it.

use crate::places::{Certificates, is_usable};
use crate::verifier::Verifier;
use crate::{CertificateError, Places};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, RootCertStore};
use std::sync::{Arc, OnceLock};

/// What clients offer, the better first.
const PROTOCOLS: [&str; 2] = ["h2", "http/1.1"];
/// Characters of a line of PEM.
const PEM_LINE: usize = 64;

/// Whom this process believes. Clones share the store, which is read when the first server shows its
/// certificate: an agent that speaks plain HTTP within its own network never does.
#[derive(Debug, Clone, Default)]
pub struct Roots(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    places: Places,
    store: OnceLock<Arc<RootCertStore>>,
}

impl Roots {
    /// Those in `places`.
    pub fn new(places: Places) -> Self {
        Self(Arc::new(Inner { places, store: OnceLock::new() }))
    }

    /// Refuses what was named and is of no use. Blocking.
    pub fn check(&self) -> Result<(), CertificateError> {
        self.0.places.check()
    }

    /// How HTTP clients speak TLS. Reads nothing yet.
    pub fn client_config(&self) -> ClientConfig {
        let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
        let verifier = Verifier::new(self.clone(), Arc::clone(&provider));
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap_or_else(|error| unreachable!("ring speaks the default versions: {error}"))
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = PROTOCOLS.map(Vec::from).to_vec();
        config
    }

    /// All usable certificates as one file of PEM, for programs that want such. Blocking.
    pub fn bundle(&self) -> Result<String, CertificateError> {
        let all = self.0.places.read()?;
        let mut sorted: Vec<_> = all.iter().filter(|certificate| is_usable(certificate)).collect();
        // The same for the same certificates.
        sorted.sort_by(|a, b| a.as_ref().cmp(b.as_ref()));
        Ok(sorted.into_iter().map(|certificate| pem(certificate)).collect())
    }

    /// The store, read now if nobody needed it before: some hundred small files.
    pub(crate) fn store(&self) -> Result<Arc<RootCertStore>, CertificateError> {
        if let Some(store) = self.0.store.get() {
            return Ok(Arc::clone(store));
        }
        let store = Arc::new(store_of(&self.0.places.read()?));
        Ok(Arc::clone(self.0.store.get_or_init(|| store)))
    }
}

fn store_of(certificates: &Certificates) -> RootCertStore {
    let mut store = RootCertStore::empty();
    let (added, ignored) = store.add_parsable_certificates(certificates.iter().cloned());
    tracing::debug!(added, ignored, "read the certificates that are trusted");
    if added == 0 {
        tracing::warn!("no certificates are trusted here, so no TLS server can be: install ca-certificates");
    }
    store
}

fn pem(certificate: &[u8]) -> String {
    let text = STANDARD.encode(certificate);
    let mut block = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(PEM_LINE) {
        // Base64 is ASCII.
        block.push_str(&String::from_utf8_lossy(line));
        block.push('\n');
    }
    block.push_str("-----END CERTIFICATE-----\n");
    block
}
