//! Whom this process believes over TLS: the system's certificates, and those that the environment names.

use crate::env::EnvReader;
use crate::exit::{Exit, Failure};
use crate::for_jobs;
use std::path::Path;
use tls::{CertificateError, Places, Roots};

/// Reads `SSL_CERT_FILE` and `SSL_CERT_DIR`. What they name and is of no use is a fault.
pub(crate) fn read(env: &mut EnvReader<'_>) -> Roots {
    let roots = named(env);
    if let Err(fault) = roots.check() {
        let name = match fault {
            CertificateError::NoDirectory { .. } => "SSL_CERT_DIR",
            _ => "SSL_CERT_FILE",
        };
        env.fault(format!("invalid {name}: {fault}"));
    }
    roots
}

/// The same, where somebody else reports the faults.
pub(crate) fn named(env: &EnvReader<'_>) -> Roots {
    let text = |name| env.text(name).unwrap_or_default();
    Roots::new(Places::default().and(&text("SSL_CERT_FILE"), &text("SSL_CERT_DIR")))
}

/// Writes all of them as one file that every user of a container may read, whole or not at all.
pub(crate) fn write(roots: &Roots, path: &Path) -> Result<(), Failure> {
    let bundle = roots.bundle().map_err(|fault| Failure::chain(Exit::System, &fault))?;
    for_jobs::write("the certificates", bundle.as_bytes(), path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Variables;

    fn faults(pairs: &[(&str, &str)]) -> String {
        let variables = Variables::of(pairs);
        let mut env = EnvReader::new(&variables, "executor");
        read(&mut env);
        env.finish().err().map(|faults| faults.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_is_named_and_of_no_use_is_a_fault() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        let (file, dir) = (file.to_str().unwrap(), dir.path().to_str().unwrap());
        let told = faults(&[("SSL_CERT_FILE", file)]);
        assert!(
            told.starts_with("invalid SSL_CERT_FILE: the certificate file ") && told.contains(file),
            "{told}"
        );
        std::fs::write(file, "nothing").unwrap();
        let told = faults(&[("SSL_CERT_FILE", file), ("SSL_CERT_DIR", dir)]);
        assert!(told.contains("holds no usable certificate"), "{told}");
        let told = faults(&[("SSL_CERT_DIR", "/nowhere:/no/where")]);
        assert!(told.starts_with("invalid SSL_CERT_DIR: ") && told.contains("/nowhere:/no/where"), "{told}");
        std::fs::write(file, testkit::tls::Authority::new("ours").pem()).unwrap();
        for good in [&[("SSL_CERT_FILE", file)][..], &[("SSL_CERT_DIR", dir)], &[("SSL_CERT_FILE", "")], &[]]
        {
            assert_eq!(faults(good), "", "{good:?}");
        }
    }
}
