//! Exporters of metrics that travel with heartbeats.

use super::finding::{Finding, ok, warning};
use super::known::Known;
use reqwest::{Client, redirect};
use std::time::Duration;
use tls::Roots;
use tokio::task::JoinSet;
use url::Url;

const ID: &str = "config.exporter";
const LIMIT: Duration = Duration::from_secs(3);

pub(super) async fn findings(known: &Known) -> Vec<Finding> {
    let mut asking = JoinSet::new();
    for (name, url) in known.exporters.clone() {
        let roots = known.agent.roots.clone();
        asking.spawn(async move {
            match check(name, &url) {
                Ok(url) => judge(name, &url, ask(&url, &roots).await),
                Err(finding) => finding,
            }
        });
    }
    asking.join_all().await
}

/// The address to ask, or what is wrong with the text.
fn check(name: &str, text: &str) -> Result<Url, Finding> {
    let remedy = format!("set {name} to scheme://host:port, without /metrics");
    let url = text.parse::<Url>().ok().filter(|url| url.has_host() && url.scheme().starts_with("http"));
    let Some(url) = url else { return Err(warning(ID, format!("{name} is no URL"), remedy)) };
    if url.path().trim_end_matches('/').ends_with("/metrics") {
        return Err(warning(ID, format!("{name} is {url}: /metrics would be there twice"), remedy));
    }
    let mut asked = url;
    asked.set_path(&format!("{}/metrics", asked.path().trim_end_matches('/')));
    Ok(asked)
}

async fn ask(url: &Url, roots: &Roots) -> Result<u16, String> {
    let client = Client::builder()
        .timeout(LIMIT)
        .redirect(redirect::Policy::none())
        .tls_backend_preconfigured(roots.client_config());
    let answered = async { client.build()?.get(url.clone()).send().await };
    answered.await.map(|answer| answer.status().as_u16()).map_err(|error| crate::exit::chain(&error))
}

fn judge(name: &str, url: &Url, answered: Result<u16, String>) -> Finding {
    let remedy = format!("start the exporter, correct its port, or unset {name}");
    match answered {
        Ok(200) => ok(ID, format!("the exporter at {url} answers")),
        Ok(status) => warning(ID, format!("the exporter at {url} answers {status}"), remedy),
        Err(why) => warning(ID, format!("no answer from the exporter at {url}: {why}"), remedy),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Severity;
    use super::*;

    #[test]
    fn metrics_are_asked_for_once() {
        let name = "NODE_EXPORTER_URL";
        assert_eq!(check(name, "http://127.0.0.1:9100").unwrap().as_str(), "http://127.0.0.1:9100/metrics");
        assert_eq!(check(name, "http://a.test/b/").unwrap().as_str(), "http://a.test/b/metrics");
        for bad in ["http://127.0.0.1:9100/metrics", "127.0.0.1:9100", "node-exporter"] {
            let finding = check(name, bad).unwrap_err();
            assert!(finding.severity == Severity::Warning && finding.remedy.contains(name), "{finding:?}");
        }
    }

    #[test]
    fn only_200_is_an_answer() {
        let url = "http://127.0.0.1:9100/metrics".parse().unwrap();
        assert_eq!(judge("X", &url, Ok(200)).severity, Severity::Ok);
        assert_eq!(judge("X", &url, Ok(404)).severity, Severity::Warning);
        assert_eq!(judge("X", &url, Err("refused".to_owned())).severity, Severity::Warning);
    }
}
