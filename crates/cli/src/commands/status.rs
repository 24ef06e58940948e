//! `executor server status`.

use super::print;
use crate::client::Client;
use crate::exit::Outcome;
use serde_json::json;
use server::api::VersionView;

/// One that does not answer is told as with every other call.
pub(crate) async fn run(client: &Client, json: bool) -> Outcome {
    let VersionView { version } = client.get("/api/v1/version").await?;
    let ours = env!("CARGO_PKG_VERSION");
    let url = client.url();
    let differs = if version == ours { String::new() } else { format!("; this program is {ours}") };
    let told = format!("the control plane at {url} answers, and is version {version}{differs}");
    print::tell(json, &json!({"url": url, "version": version, "clientVersion": ours}), &told)
}
