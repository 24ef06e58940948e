//! Whom this process believes.

use super::finding::{Finding, fatal, ok, warning};
use super::known::Known;
use super::sizes::counted;
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use std::path::Path;
use tls::Places;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Fewer authorities than this are no public ones: there are more than a hundred.
const PUBLIC_AUTHORITIES: usize = 20;
/// Certificates that are named one by one.
const NAMED: usize = 5;

/// Blocking: some hundred small files.
pub(super) fn findings(known: &Known) -> Vec<Finding> {
    let [file, directories] = &known.certificates;
    let mut findings = vec![system(Path::new("/"))];
    if !file.is_empty() || !directories.is_empty() {
        findings.push(named(Places::default().and(file, directories), Timestamp::now().as_second()));
    }
    findings
}

fn system(root: &Path) -> Finding {
    let count = Places::beneath(root).read().map_or(0, |all| all.len());
    let seen = format!("the system's places hold {}", counted(count as u64, "authority certificate"));
    if count >= PUBLIC_AUTHORITIES {
        return ok("certificates.system", seen);
    }
    let remedy = "install ca-certificates; mount an authority's certificate as a file beside the others, or name it by \
                  SSL_CERT_FILE, but don't mount anything over /etc/ssl/certs";
    warning("certificates.system", format!("{seen}: public servers can't be trusted"), remedy)
}

fn named(places: Places, now: i64) -> Finding {
    const ID: &str = "certificates.named";
    if let Err(fault) = places.check() {
        let told = fault.to_string();
        let (seen, remedy) = told.rsplit_once("; ").unwrap_or((&told, "name a file of certificates in PEM"));
        return fatal(ID, seen, remedy);
    }
    // Among the system's some have always expired, which is for its packages to mend and nobody's trouble.
    let all = places.without_named_again().named().unwrap_or_default();
    if all.is_empty() {
        return ok(ID, "SSL_CERT_FILE and SSL_CERT_DIR name places of the system");
    }
    let mut stale: Vec<String> = all.iter().filter_map(|certificate| stale(certificate, now)).collect();
    stale.sort();
    if stale.is_empty() {
        let named = counted(all.len() as u64, "certificate");
        return ok(ID, format!("SSL_CERT_FILE and SSL_CERT_DIR name {named}, none expired"));
    }
    let more = stale.len().saturating_sub(NAMED);
    stale.truncate(NAMED);
    if more > 0 {
        stale.push(format!("{more} more"));
    }
    let remedy =
        "replace them by their authorities' present ones: servers may be refused, by programs in jobs too";
    warning(ID, stale.join("; "), remedy)
}

/// What is wrong with when a certificate is valid.
fn stale(certificate: &CertificateDer<'_>, now: i64) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let validity = parsed.validity();
    let day = |second: i64| {
        Timestamp::from_second(second)
            .map_or_else(|_| "?".to_owned(), |at| at.strftime("%Y-%m-%d").to_string())
    };
    let (from, until) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    if now > until {
        return Some(format!("{} expired on {}", parsed.subject(), day(until)));
    }
    (now < from).then(|| format!("{} is not valid before {}", parsed.subject(), day(from)))
}

#[cfg(test)]
mod tests {
    use super::super::finding::Severity;
    use super::*;
    use std::fs;
    use testkit::tls::Authority;

    /// Such certificates are valid from 1975 to 4096 unless somebody says otherwise.
    const BEFORE: i64 = 0;
    const NOW: i64 = 1_800_000_000;
    const AFTER: i64 = 80_000_000_000;

    #[test]
    fn what_is_named_is_judged_by_the_clock() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        fs::write(&file, Authority::new("our authority").pem()).unwrap();
        let places = || Places::default().and(file.to_str().unwrap(), "");
        assert_eq!(named(places(), NOW).severity, Severity::Ok);
        for (now, told) in [(AFTER, "expired on 4096-01-01"), (BEFORE, "not valid before 1975-01-01")] {
            let finding = named(places(), now);
            assert_eq!(finding.severity, Severity::Warning);
            assert!(finding.seen.contains("our authority") && finding.seen.contains(told), "{finding:?}");
        }
    }

    #[test]
    fn what_is_named_and_missing_is_fatal() {
        let finding = named(Places::default().and("/nowhere/ca.pem", ""), NOW);
        assert_eq!(finding.severity, Severity::Fatal);
        assert!(finding.seen.contains("/nowhere/ca.pem") && !finding.remedy.is_empty(), "{finding:?}");
    }

    #[test]
    fn an_expired_one_of_the_system_s_own_is_nobody_s_trouble() {
        let root = tempfile::tempdir().unwrap();
        let place = root.path().join("etc/ssl/certs");
        fs::create_dir_all(&place).unwrap();
        let bundle = place.join("ca-certificates.crt");
        fs::write(&bundle, Authority::new("public").pem()).unwrap();
        let link = root.path().join("link.pem");
        std::os::unix::fs::symlink(&bundle, &link).unwrap();
        let after = |file: &Path, directories: &Path| {
            let (file, directories) = (file.to_str().unwrap(), directories.to_str().unwrap());
            named(Places::beneath(root.path()).and(file, directories), AFTER)
        };
        let nowhere = Path::new("");
        for (file, directory) in
            [(&*bundle, nowhere), (&*link, nowhere), (nowhere, &*place), (&*bundle, &*place)]
        {
            let finding = after(file, directory);
            assert_eq!(finding.severity, Severity::Ok, "{finding:?}");
        }
        let ours = place.join("ours.pem");
        fs::write(&ours, Authority::new("ours").pem()).unwrap();
        let finding = after(&ours, &place);
        assert!(finding.seen.contains("ours") && !finding.seen.contains("public"), "{finding:?}");
    }

    #[test]
    fn a_mount_over_the_public_authorities_is_seen() {
        let root = tempfile::tempdir().unwrap();
        let place = root.path().join("etc/ssl/certs");
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("ours.pem"), Authority::new("ours").pem()).unwrap();
        let finding = system(root.path());
        assert_eq!(finding.severity, Severity::Warning);
        assert!(finding.seen.contains("1 authority certificate"), "{finding:?}");
    }
}
