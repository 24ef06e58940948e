//! A private authority, and TLS in front of a server that speaks none.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// An authority that nobody trusts until told to.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A server's certificate and its key, both PEM.
pub struct ServerCertificate {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl Authority {
    /// A new one of this name.
    pub fn new(name: &str) -> Self {
        Self::of(name, CertificateParams::default())
    }

    /// One that was valid for the year 2000.
    pub fn expired(name: &str) -> Self {
        let mut params = CertificateParams::default();
        (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1));
        Self::of(name, params)
    }

    fn of(name: &str, mut params: CertificateParams) -> Self {
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Its certificate, to be trusted.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for servers of these names and addresses.
    pub fn server(&self, names: &[&str]) -> ServerCertificate {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(names).expect("good names");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        ServerCertificate { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// How a server at 127.0.0.1 and localhost speaks TLS.
    pub fn server_config(&self) -> ServerConfig {
        let server = self.server(&["127.0.0.1", "localhost"]);
        let certificate = CertificateDer::from_pem_slice(server.certificate.as_bytes()).expect("PEM");
        let key = PrivateKeyDer::from_pem_slice(server.key.as_bytes()).expect("PEM");
        ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring speaks TLS")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("certificate and key fit")
    }
}

/// TLS on a port of its own, in front of a plain server. Ends when it is dropped.
pub struct TlsFront {
    /// Where it listens.
    pub address: SocketAddr,
    server: AbortHandle,
}

impl TlsFront {
    /// Passes what comes to `plain`, under a certificate of `authority`.
    /// Must be called within a tokio runtime.
    pub fn start(authority: &Authority, plain: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it has an address");
        listener.set_nonblocking(true).expect("a socket can be made so");
        let listener = TcpListener::from_std(listener).expect("there is a runtime");
        let acceptor = TlsAcceptor::from(Arc::new(authority.server_config()));
        let server = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                let acceptor = acceptor.clone();
                connections.spawn(async move {
                    // A client that does not trust us leaves, as it should.
                    let Ok(mut secret) = acceptor.accept(stream).await else { return };
                    let Ok(mut behind) = TcpStream::connect(plain).await else { return };
                    let _ = copy_bidirectional(&mut secret, &mut behind).await;
                });
            }
        });
        Self { address, server: server.abort_handle() }
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.server.abort();
    }
}
