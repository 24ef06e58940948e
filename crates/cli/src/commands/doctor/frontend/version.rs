//! Which release the control plane is of.

use super::super::finding::{Finding, info};
use super::CALL_LIMIT;
use crate::commands::validate::below;
use reqwest::{Client, StatusCode, redirect};
use serde::Deserialize;
use tls::Roots;
use url::Url;

/// What stock instances tell everybody: the client of theirs that fits them, and so which release they are of.
const STOCK: &str = "/.api/src-cli/version";
/// What ours tell whoever has an API token.
const OURS: &str = "/api/v1/version";

/// What could be learnt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Release {
    Stock(String),
    /// One of ours, which tells it to clients only.
    Ours,
    Untold,
}

#[derive(Deserialize)]
struct Told {
    version: String,
}

pub(super) async fn look(url: &Url, roots: &Roots) -> Release {
    let client = Client::builder()
        .timeout(CALL_LIMIT)
        .redirect(redirect::Policy::none())
        .tls_backend_preconfigured(roots.client_config())
        .build();
    let Ok(client) = client else { return Release::Untold };
    let stock = async {
        let answer = client
            .get(below(url, STOCK))
            .send()
            .await
            .ok()
            .filter(|answer| answer.status() == StatusCode::OK)?;
        answer.json::<Told>().await.ok()
    };
    let ours = async {
        let answer = client.get(below(url, OURS)).send().await.ok()?;
        let kind = answer.headers().get(reqwest::header::CONTENT_TYPE)?.to_str().ok()?.to_owned();
        (answer.status() == StatusCode::UNAUTHORIZED && kind.contains("problem+json")).then_some(())
    };
    match tokio::join!(stock, ours) {
        (Some(Told { version }), _) => Release::Stock(version),
        (None, Some(())) => Release::Ours,
        (None, None) => Release::Untold,
    }
}

pub(super) fn judge(release: &Release) -> Finding {
    const ID: &str = "frontend.version";
    const OWN: &str = env!("CARGO_PKG_VERSION");
    match release {
        Release::Stock(src) => info(
            ID,
            format!(
                "a stock instance that recommends src {src}; this executor {OWN} is no release of that family, says \
                 so, and takes both forms of a job's payload"
            ),
        ),
        Release::Ours => info(ID, format!("a control plane of this family; this executor is {OWN}")),
        Release::Untold => {
            info(ID, format!("the control plane does not tell its release; this executor is {OWN}"))
        }
    }
}
