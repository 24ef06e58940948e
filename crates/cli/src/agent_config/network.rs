//! What jobs of the daemonless runtime get for a network.

use crate::env::EnvReader;
use runtimes::oci::{NetworkChoice, NetworkOptions};

const BY: &str = "EXECUTOR_OCI_NETWORK";
const ALLOWED: &str = "EXECUTOR_OCI_NETWORK_ALLOW";

/// Reads it. What is faulty is noted in `env`.
pub(super) fn read(env: &mut EnvReader<'_>) -> NetworkOptions {
    let by = env.text(BY).map_or(Ok(NetworkChoice::Auto), |text| {
        text.parse().map_err(|rule: String| format!("invalid value {text:?} for {BY}: {rule}"))
    });
    let by = by.unwrap_or_else(|fault| {
        env.fault(fault);
        NetworkChoice::Auto
    });
    let listed = env.text(ALLOWED).unwrap_or_default();
    let mut allowed = Vec::new();
    for network in listed.split(',').map(str::trim).filter(|network| !network.is_empty()) {
        match network.parse() {
            Ok(network) => allowed.push(network),
            Err(rule) => env.fault(format!("invalid value {network:?} in {ALLOWED}: {rule}")),
        }
    }
    NetworkOptions { by, allowed }
}
