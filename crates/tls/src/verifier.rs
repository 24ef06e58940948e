//! Verifying servers by a store that is read when it is first needed.

use crate::Roots;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use std::sync::{Arc, OnceLock};

/// Passes everything on to the library's own verifier. All it adds is when that one is made.
#[derive(Debug)]
pub(crate) struct Verifier {
    roots: Roots,
    provider: Arc<CryptoProvider>,
    usual: OnceLock<Arc<WebPkiServerVerifier>>,
}

impl Verifier {
    pub(crate) fn new(roots: Roots, provider: Arc<CryptoProvider>) -> Self {
        Self { roots, provider, usual: OnceLock::new() }
    }

    fn usual(&self) -> Result<&Arc<WebPkiServerVerifier>, Error> {
        if let Some(usual) = self.usual.get() {
            return Ok(usual);
        }
        let store = self.roots.store().map_err(|error| Error::General(error.to_string()))?;
        if store.is_empty() {
            // The library makes none for an empty store.
            return Err(CertificateError::UnknownIssuer.into());
        }
        let usual = WebPkiServerVerifier::builder_with_provider(store, Arc::clone(&self.provider))
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        Ok(self.usual.get_or_init(|| usual))
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.usual()?.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
