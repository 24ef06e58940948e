//! Certificates in every place, against real handshakes.

use rustls::CertificateError::{BadSignature, UnknownIssuer};
use rustls::{ClientConfig, ClientConnection, ServerConnection};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use testkit::tls::Authority;
use tls::{CertificateError, Places, Roots};

const FILES: [&str; 6] = [
    "etc/ssl/certs/ca-certificates.crt",
    "etc/pki/tls/certs/ca-bundle.crt",
    "etc/ssl/ca-bundle.pem",
    "etc/pki/tls/cacert.pem",
    "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "etc/ssl/cert.pem",
];
const DIRECTORIES: [&str; 3] = ["etc/ssl/certs", "etc/pki/tls/certs", "system/etc/security/cacerts"];

/// Shakes hands in memory with a server of `authority`.
fn shake(config: ClientConfig, authority: &Authority) -> Result<(), rustls::Error> {
    let name = "localhost".try_into().expect("a good name");
    let mut client = ClientConnection::new(Arc::new(config), name)?;
    let mut server_config = authority.server_config();
    server_config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut server = ServerConnection::new(Arc::new(server_config))?;
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).expect("memory can be written");
        }
        server.read_tls(&mut &*wire).expect("memory can be read");
        server.process_new_packets()?;
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).expect("memory can be written");
        }
        client.read_tls(&mut &*wire).expect("memory can be read");
        client.process_new_packets()?;
    }
    assert_eq!(client.alpn_protocol(), Some(&b"http/1.1"[..]));
    Ok(())
}

fn trusts(roots: &Roots, authority: &Authority) -> bool {
    match shake(roots.client_config(), authority) {
        Ok(()) => true,
        Err(rustls::Error::InvalidCertificate(UnknownIssuer | BadSignature)) => false,
        Err(other) => panic!("{other}"),
    }
}

fn write(path: &Path, text: &str) -> PathBuf {
    fs::create_dir_all(path.parent().expect("it has a directory")).expect("the directory is made");
    fs::write(path, text).expect("it is written");
    path.to_owned()
}

#[test]
fn each_of_the_nine_places_is_read() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let single = DIRECTORIES.map(|directory| format!("{directory}/ours.pem"));
    for place in FILES.iter().copied().chain(single.iter().map(String::as_str)) {
        let root = tempfile::tempdir().expect("a temporary directory");
        let nobody = Roots::new(Places::beneath(root.path()));
        assert!(!trusts(&nobody, &ours), "nothing is there yet");
        write(&root.path().join(place), ours.pem());
        let roots = Roots::new(Places::beneath(root.path()));
        assert!(trusts(&roots, &ours), "{place}");
        assert!(!trusts(&roots, &other), "{place}");
    }
}

#[test]
fn what_is_named_is_added_to_what_the_system_has() {
    let [system, file, first, second] = ["system", "file", "first", "second"].map(Authority::new);
    let root = tempfile::tempdir().expect("a temporary directory");
    let at = |path: &str| root.path().join(path);
    write(&at(FILES[0]), system.pem());
    let named = write(&at("named.pem"), &format!("a comment\n{}", file.pem()));
    write(&at("first/a.crt"), first.pem());
    write(&at("second/b"), second.pem());
    let listed = format!("{}:{}:{}", at("first").display(), at("absent").display(), at("second").display());
    let roots = Roots::new(Places::beneath(root.path()).and(&named.display().to_string(), &listed));
    roots.check().expect("all that was named is there");
    for authority in [&system, &file, &first, &second] {
        assert!(trusts(&roots, authority));
    }
    assert!(!trusts(&roots, &Authority::new("system")), "a name alone is not believed");
    let bundle = roots.bundle().expect("it can be written");
    assert_eq!(bundle.matches("BEGIN CERTIFICATE").count(), 4);
    for authority in [&system, &file, &first, &second] {
        assert!(bundle.contains(authority.pem().replace("\r\n", "\n").trim()));
    }
}

#[test]
fn rubbish_among_the_systems_own_is_passed_over() {
    let ours = Authority::new("ours");
    let root = tempfile::tempdir().expect("a temporary directory");
    let at = |path: &str| root.path().join(path);
    write(&at("etc/ssl/certs/README"), "not a certificate");
    write(&at("etc/ssl/certs/broken.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    write(&at("etc/ssl/certs/java/cacerts"), "binary");
    std::os::unix::fs::symlink("/nowhere", at("etc/ssl/certs/dangling.pem")).expect("a link");
    write(&at("etc/ssl/certs/large.pem"), &"x".repeat(9 << 20));
    write(&at("etc/ssl/certs/ours.pem"), ours.pem());
    std::os::unix::fs::symlink("ours.pem", at("etc/ssl/certs/01234567.0")).expect("a link");
    let roots = Roots::new(Places::beneath(root.path()));
    roots.check().expect("nothing was named");
    assert!(trusts(&roots, &ours));
    assert_eq!(
        roots.bundle().expect("it can be written").matches("BEGIN").count(),
        1,
        "a link is no other certificate"
    );
}

#[test]
fn what_is_named_and_of_no_use_is_refused() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let at = |path: &str| root.path().join(path).display().to_string();
    write(&root.path().join("empty"), "");
    write(&root.path().join("broken"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    write(&root.path().join("large"), &"x".repeat(9 << 20));
    let refused = |file: &str, directories: &str| {
        let roots = Roots::new(Places::beneath(root.path()).and(file, directories));
        assert!(roots.bundle().is_err());
        let shaken = shake(roots.client_config(), &Authority::new("any"));
        assert!(matches!(shaken, Err(rustls::Error::General(_))), "{shaken:?}");
        roots.check().expect_err("it is of no use")
    };
    for (name, rule) in [
        ("absent", "No such file"),
        ("", "it is not a file"),
        ("empty", "no usable certificate"),
        ("broken", "no usable certificate"),
        ("large", "8388608"),
    ] {
        let error = refused(&at(name), "").to_string();
        assert!(error.contains(rule) && error.contains(&at(name)), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
    let error = refused("", &format!("{}:{}", at("absent"), at("empty")));
    assert!(matches!(error, CertificateError::NoDirectory { .. }), "{error}");
}

#[test]
fn a_server_is_believed_for_its_own_names_only() {
    let ours = Authority::new("ours");
    let root = tempfile::tempdir().expect("a temporary directory");
    write(&root.path().join(FILES[0]), ours.pem());
    let config = Arc::new(Roots::new(Places::beneath(root.path())).client_config());
    let name = "elsewhere.test".try_into().expect("a good name");
    let mut client = ClientConnection::new(config, name).expect("a client");
    let mut server = ServerConnection::new(Arc::new(ours.server_config())).expect("a server");
    let mut wire = Vec::new();
    client.write_tls(&mut wire).expect("memory can be written");
    server.read_tls(&mut &*wire).expect("memory can be read");
    server.process_new_packets().expect("a good hello");
    wire.clear();
    server.write_tls(&mut wire).expect("memory can be written");
    client.read_tls(&mut &*wire).expect("memory can be read");
    let refused = client.process_new_packets().expect_err("the name is another");
    assert!(refused.to_string().contains("not valid for name"), "{refused}");
}

#[test]
fn nothing_is_read_before_it_is_needed() {
    let ours = Authority::new("ours");
    let root = tempfile::tempdir().expect("a temporary directory");
    let roots = Roots::new(Places::beneath(root.path()));
    let clone = roots.clone();
    let config = clone.client_config();
    write(&root.path().join(FILES[5]), ours.pem());
    shake(config, &ours).expect("it was there when it was needed");
    fs::remove_file(root.path().join(FILES[5])).expect("it is removed");
    assert!(trusts(&roots, &ours), "and is not read again");
}
