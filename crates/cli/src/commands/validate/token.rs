//! Whether the control plane takes the agent's secret.

use crate::agent_config::Connection;
use crate::exit::{Exit, Failure, chain};
use reqwest::{Response, StatusCode, Url, header, redirect};
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;
use tls::Roots;
use wire::headers::Credentials;
use wire::paths::TEST_AUTH;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the call may take as a whole.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Checks that the control plane takes the secret of `connection`.
pub(super) async fn check(connection: &Connection, roots: &Roots) -> Result<(), Failure> {
    if connection.registration.is_some() && connection.password.expose_secret().is_empty() {
        // What the agent shows is known once it has registered, which only a start does.
        return Ok(());
    }
    let answer = ask(&connection.url, &connection.password, roots, TIMEOUT).await;
    let fault = match answer.map(|answer| answer.status()) {
        Ok(StatusCode::OK | StatusCode::NO_CONTENT) => return Ok(()),
        Ok(StatusCode::UNAUTHORIZED) => {
            "failed to authorize with frontend, is executors.accessToken set correctly in the site-config?"
                .to_owned()
        }
        Ok(status) => {
            format!("failed to validate authorization token: unexpected status code {}", status.as_u16())
        }
        Err(fault) => format!("failed to validate authorization token: {}", told(&connection.url, &fault)),
    };
    Err(Failure { exit: Exit::Failed, message: fault })
}

/// Why there was no answer from `url`, in one clause.
pub(super) fn told(url: &Url, fault: &reqwest::Error) -> String {
    let place =
        format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default());
    let causes = std::iter::successors(Some(fault as &dyn std::error::Error), |fault| fault.source());
    let cause = causes.last().map(ToString::to_string).unwrap_or_default();
    match fault {
        fault if fault.is_timeout() => format!("no answer from {place} in time"),
        fault if fault.is_connect() => format!("{place} can't be reached: {cause}"),
        fault => chain(fault),
    }
}

/// Asks the control plane at `url` whether it takes `secret`, within `limit`.
pub(crate) async fn ask(
    url: &Url,
    secret: &SecretString,
    roots: &Roots,
    limit: Duration,
) -> Result<Response, reqwest::Error> {
    get(url, TEST_AUTH, secret, roots, limit).await
}

/// What is at `path` below `url`, for the executor that has `secret`, within `limit`. Follows no redirect.
pub(super) async fn get(
    url: &Url,
    path: &str,
    secret: &SecretString,
    roots: &Roots,
    limit: Duration,
) -> Result<Response, reqwest::Error> {
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(limit)
        .redirect(redirect::Policy::none())
        .tls_backend_preconfigured(roots.client_config())
        .build()?;
    let answer = client
        .get(below(url, path))
        .header(header::AUTHORIZATION, Credentials::Shared(secret.expose_secret()).to_header())
        .header(header::CONTENT_TYPE, "application/json")
        .body("null")
        .send()
        .await;
    // Errors are shown, and a query is the operator's own business.
    answer.map_err(|mut fault| {
        if let Some(url) = fault.url_mut() {
            url.set_query(None);
        }
        fault
    })
}

/// `path` below the base URL, whose own path is kept.
pub(crate) fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_the_base_is_kept() {
        for (base, url) in [
            ("https://sg.example.com", "https://sg.example.com/.executors/test/auth"),
            ("https://sg.example.com/base/", "https://sg.example.com/base/.executors/test/auth"),
        ] {
            assert_eq!(below(&base.parse().unwrap(), TEST_AUTH).as_str(), url);
        }
    }
}
