//! The host's certificates in a step, where an operator wants them there.

/// Where a step finds them: nothing of an image's own is covered.
pub(in crate::oci) const PLACE: &str = "/etc/executor/certificates.pem";
/// What tells programs where their certificates are: OpenSSL, Go and Rust; curl; Python; Node; git;
/// Cargo; the clients of AWS.
const NAMES: [&str; 7] = [
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
    "AWS_CA_BUNDLE",
];

/// Variables of an image's own would name fewer authorities; those of the step win.
pub(in crate::oci) fn variables() -> impl Iterator<Item = (&'static str, &'static str)> {
    NAMES.into_iter().map(|name| (name, PLACE))
}
