//! Whether the control plane takes the agent's secret.

use crate::agent_config::Connection;
use crate::exit::{Exit, Failure, chain};
use reqwest::{StatusCode, Url, header, redirect};
use secrecy::ExposeSecret;
use std::time::Duration;
use tls::Roots;
use wire::headers::Credentials;
use wire::paths::TEST_AUTH;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the call may take as a whole.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Asks the control plane.
pub(super) async fn check(connection: &Connection, roots: &Roots) -> Result<(), Failure> {
    let fault = match ask(connection, roots).await {
        Ok(StatusCode::OK | StatusCode::NO_CONTENT) => return Ok(()),
        Ok(StatusCode::UNAUTHORIZED) => {
            "failed to authorize with frontend, is executors.accessToken set correctly in the site-config?"
                .to_owned()
        }
        Ok(status) => {
            format!("failed to validate authorization token: unexpected status code {}", status.as_u16())
        }
        Err(fault) => format!("failed to validate authorization token: {}", chain(&fault)),
    };
    Err(Failure { exit: Exit::Failed, message: fault })
}

async fn ask(connection: &Connection, roots: &Roots) -> Result<StatusCode, reqwest::Error> {
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT)
        .redirect(redirect::Policy::none())
        .tls_backend_preconfigured(roots.client_config())
        .build()?;
    let credentials = Credentials::Shared(connection.password.expose_secret()).to_header();
    let answer = client
        .get(below(&connection.url, TEST_AUTH))
        .header(header::AUTHORIZATION, credentials)
        .header(header::CONTENT_TYPE, "application/json")
        .body("null")
        .send()
        .await?;
    Ok(answer.status())
}

/// `path` below the base URL, whose own path is kept.
fn below(base: &Url, path: &str) -> Url {
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
