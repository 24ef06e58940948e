//! TLS with a certificate and a key out of files, which are read again when they change.

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio_rustls::TlsAcceptor;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Where a certificate and its key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and after it those that lead to its authority, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// A certificate and a key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One of the files can't be read, or holds something else.
    #[error("can't use {path} for TLS: {fault}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        fault: String,
    },
    /// The key is another certificate's.
    #[error(
        "the key {key} does not belong to the certificate {certificate}: name the two that were made together"
    )]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's.
        key: PathBuf,
    },
}

/// What is known of the certificate that is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// From when it is valid, in seconds since 1970.
    pub valid_from: i64,
    /// Until when.
    pub valid_until: i64,
    /// The names of servers that it is for; addresses are left out.
    pub names: Vec<String>,
}

impl TlsFiles {
    /// Reads them, and looks whether they go together.
    pub fn check(&self) -> Result<Shown, TlsError> {
        self.read().map(|(_, shown)| shown)
    }

    fn read(&self) -> Result<(Arc<ServerConfig>, Shown), TlsError> {
        let bad = |path: &Path, fault: &dyn std::fmt::Display| TlsError::File {
            path: path.to_owned(),
            fault: fault.to_string(),
        };
        let certificate = |fault: &dyn std::fmt::Display| bad(&self.certificate, fault);
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect)
            .map_err(|fault| certificate(&fault))?;
        let first = chain.first().ok_or_else(|| certificate(&"it holds no certificate in PEM"))?;
        let shown = Shown::of(first).ok_or_else(|| certificate(&"its first certificate can't be read"))?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|fault| bad(&self.key, &fault))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|fault| certificate(&fault))?.with_no_client_auth();
        let mut config = builder.with_single_cert(chain, key).map_err(|fault| match fault {
            rustls::Error::InconsistentKeys(_) => {
                TlsError::Mismatch { certificate: self.certificate.clone(), key: self.key.clone() }
            }
            fault => bad(&self.key, &fault),
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok((Arc::new(config), shown))
    }

    fn stamps(&self) -> [Option<Stamp>; 2] {
        [&self.certificate, &self.key].map(|path| std::fs::metadata(path).ok().map(|meta| Stamp::of(&meta)))
    }
}

impl Shown {
    fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let names = parsed.subject_alternative_name().ok().flatten().map(|names| {
            let names = names.value.general_names.iter().filter_map(|name| match name {
                GeneralName::DNSName(name) => Some((*name).to_owned()),
                _ => None,
            });
            names.collect()
        });
        Some(Self {
            valid_from: parsed.validity().not_before.timestamp(),
            valid_until: parsed.validity().not_after.timestamp(),
            names: names.unwrap_or_default(),
        })
    }
}

/// What tells one version of a file from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(meta: &Metadata) -> Self {
        Self { inode: meta.ino(), length: meta.len(), modified: (meta.mtime(), meta.mtime_nsec()) }
    }
}

/// The certificate as it is now.
pub(crate) struct Tls {
    files: TlsFiles,
    seen: Mutex<Seen>,
}

struct Seen {
    stamps: [Option<Stamp>; 2],
    config: Arc<ServerConfig>,
    shown: Shown,
}

impl Tls {
    pub(crate) fn open(files: TlsFiles) -> Result<Self, TlsError> {
        crate::private_files::warn_if_readable_by_others(&files.key);
        let stamps = files.stamps();
        let (config, shown) = files.read()?;
        Ok(Self { files, seen: Mutex::new(Seen { stamps, config, shown }) })
    }

    /// What a new connection is shown. A change takes effect with the next one; what can't be used is told, and what was last
    /// good stays: of two files, one is always the first to change.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current().0)
    }

    /// What is known of it.
    pub(crate) fn shown(&self) -> Shown {
        self.current().1
    }

    fn current(&self) -> (Arc<ServerConfig>, Shown) {
        let stamps = self.files.stamps();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.stamps != stamps {
            seen.stamps = stamps;
            match self.files.read() {
                Ok((config, shown)) => {
                    let file = self.files.certificate.display();
                    tracing::info!(%file, "the certificate was read again");
                    (seen.config, seen.shown) = (config, shown);
                }
                Err(fault) => tracing::warn!(error = %fault, "the certificate that was last good stays"),
            }
        }
        (Arc::clone(&seen.config), seen.shown.clone())
    }
}
