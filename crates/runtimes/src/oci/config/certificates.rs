//! The host's certificates in a step, where an operator wants them there.

use oci_spec::OciSpecError;
use oci_spec::runtime::{Mount, MountBuilder};
use std::path::PathBuf;

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

/// `copy`, on the job's own disk, at its place, not to be changed. A step's table of mounts tells where what is
/// mounted lies in its file system: the bundle itself would tell of the host.
pub(super) fn mount(copy: PathBuf) -> Result<Mount, OciSpecError> {
    let options = ["bind", "ro", "nosuid", "nodev", "noexec"].map(str::to_owned);
    MountBuilder::default().destination(PLACE).typ("bind").source(copy).options(options).build()
}

/// Variables of an image's own would name fewer authorities; those of the step win.
pub(in crate::oci) fn variables() -> impl Iterator<Item = (&'static str, &'static str)> {
    NAMES.into_iter().map(|name| (name, PLACE))
}
