//! Where certificates are.

use crate::CertificateError;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The bundles of Debian, Fedora, openSUSE, `OpenELEC`, RHEL and Alpine.
const FILES: [&str; 6] = [
    "etc/ssl/certs/ca-certificates.crt",
    "etc/pki/tls/certs/ca-bundle.crt",
    "etc/ssl/ca-bundle.pem",
    "etc/pki/tls/cacert.pem",
    "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "etc/ssl/cert.pem",
];
/// Directories of single certificates: of most, of Fedora and RHEL, of Android.
const DIRECTORIES: [&str; 3] = ["etc/ssl/certs", "etc/pki/tls/certs", "system/etc/security/cacerts"];
/// Bytes of one file. A bundle of all public authorities has a fortieth of it.
const FILE_BYTES: u64 = 8 << 20;
/// Entries of one directory that are looked at.
const ENTRIES: usize = 10_000;

/// Where certificates are looked for: all of it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The system's bundles; those that don't exist are passed over.
    files: Vec<PathBuf>,
    /// The system's directories; those that don't exist are passed over.
    directories: Vec<PathBuf>,
    /// A bundle that somebody named.
    named_file: Option<PathBuf>,
    /// Directories that somebody named.
    named_directories: Vec<PathBuf>,
}

/// Distinct certificates; the same one is usually in a bundle and, by two names, in a directory.
pub type Certificates = HashSet<CertificateDer<'static>>;

impl Default for Places {
    /// Those of this system.
    fn default() -> Self {
        Self::beneath(Path::new("/"))
    }
}

impl Places {
    /// The nine documented places beneath `root`, which is `/` outside of tests.
    pub fn beneath(root: &Path) -> Self {
        Self {
            files: FILES.iter().map(|file| root.join(file)).collect(),
            directories: DIRECTORIES.iter().map(|directory| root.join(directory)).collect(),
            named_file: None,
            named_directories: Vec::new(),
        }
    }

    /// Adds a bundle, and directories separated by colons; empty ones are none.
    #[must_use]
    pub fn and(mut self, file: &str, directories: &str) -> Self {
        self.named_file = (!file.is_empty()).then(|| file.into());
        let named = directories.split(':').filter(|directory| !directory.is_empty());
        self.named_directories = named.map(PathBuf::from).collect();
        self
    }

    /// Leaves out of what was named what is the system's own place.
    #[must_use]
    pub fn without_named_again(mut self) -> Self {
        let real = |path: &PathBuf| fs::canonicalize(path).ok();
        let own: HashSet<PathBuf> = self.files.iter().chain(&self.directories).filter_map(real).collect();
        let is_own = |path: &PathBuf| real(path).is_some_and(|path| own.contains(&path));
        self.named_file.take_if(|path| is_own(path));
        self.named_directories.retain(|path| !is_own(path));
        self
    }

    /// Refuses what was named and is of no use. Reads nothing else, and keeps nothing.
    pub fn check(&self) -> Result<(), CertificateError> {
        if let Some(path) = &self.named_file
            && !certificates_in(&text_of(path)?).any(|certificate| is_usable(&certificate))
        {
            return Err(CertificateError::Empty { path: path.clone() });
        }
        self.check_listed(self.named_directories.iter().any(|path| fs::read_dir(path).is_ok()))
    }

    /// Every certificate there is. Blocking.
    pub fn read(&self) -> Result<Certificates, CertificateError> {
        let mut all = self.named()?;
        for file in &self.files {
            match bundle(file) {
                Ok(certificates) => all.extend(certificates),
                Err(fault) if is_missing(&fault) => {}
                Err(fault) => tracing::debug!(%fault, "certificates are passed over"),
            }
        }
        for directory in &self.directories {
            all.extend(within(directory).unwrap_or_default());
        }
        Ok(all)
    }

    /// Those in what was named. Blocking.
    pub fn named(&self) -> Result<Certificates, CertificateError> {
        let mut all = Certificates::new();
        if let Some(path) = &self.named_file {
            all.extend(bundle(path)?);
            if !all.iter().any(is_usable) {
                return Err(CertificateError::Empty { path: path.clone() });
            }
        }
        // A list names what may be there: one that is there is enough.
        let listed: Vec<_> = self.named_directories.iter().filter_map(|path| within(path).ok()).collect();
        self.check_listed(!listed.is_empty())?;
        all.extend(listed.into_iter().flatten());
        Ok(all)
    }

    /// Refuses a list of directories of which none is there.
    fn check_listed(&self, any: bool) -> Result<(), CertificateError> {
        if any || self.named_directories.is_empty() {
            return Ok(());
        }
        let paths: Vec<_> = self.named_directories.iter().map(|path| path.display().to_string()).collect();
        Err(CertificateError::NoDirectory { paths: paths.join(":") })
    }
}

fn is_missing(fault: &CertificateError) -> bool {
    matches!(fault, CertificateError::Unreadable { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

/// Whether it can be the root of a chain.
pub(crate) fn is_usable(certificate: &CertificateDer<'static>) -> bool {
    RootCertStore::empty().add(certificate.clone()).is_ok()
}

/// The certificates of every file of a directory. What else may be there is passed over.
fn within(directory: &Path) -> io::Result<Certificates> {
    let entries = fs::read_dir(directory)?;
    let mut all = Certificates::new();
    for entry in entries.take(ENTRIES).filter_map(Result::ok) {
        let path = entry.path();
        if path.is_file() {
            match bundle(&path) {
                Ok(certificates) => all.extend(certificates),
                Err(fault) => tracing::debug!(%fault, "a file among certificates is passed over"),
            }
        }
    }
    Ok(all)
}

/// The certificates of a file, whatever else it has.
fn bundle(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    Ok(certificates_in(&text_of(path)?).collect())
}

fn certificates_in(text: &[u8]) -> impl Iterator<Item = CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(text).filter_map(Result::ok)
}

fn text_of(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let unreadable = |source| CertificateError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(unreadable(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file")));
    }
    let mut text = Vec::new();
    file.take(FILE_BYTES + 1).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES {
        return Err(CertificateError::TooLarge { path: path.to_owned(), limit: FILE_BYTES });
    }
    Ok(text)
}
