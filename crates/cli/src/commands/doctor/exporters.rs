//! Exporters of metrics that travel with heartbeats.

use super::finding::{Finding, ok, warning};
use super::known::Known;
use agent::Exporters;
use reqwest::{Client, redirect};
use std::time::Duration;
use tls::Roots;
use tokio::task::JoinSet;
use url::Url;

const ID: &str = "config.exporter";
/// The variable of the other names a proxy.
const NODE: &str = "NODE_EXPORTER_URL";
const LIMIT: Duration = Duration::from_secs(3);

pub(super) async fn findings(known: &Known) -> Vec<Finding> {
    let mut asking = JoinSet::new();
    let mut findings = Vec::new();
    for (name, text) in &known.exporters {
        match check(name, text) {
            Ok(addresses) => addresses.into_iter().for_each(|url| {
                let (name, roots) = (*name, known.agent.roots.clone());
                asking.spawn(async move { judge(name, &url, ask(&url, &roots).await) });
            }),
            Err(finding) => findings.push(finding),
        }
    }
    findings.extend(asking.join_all().await);
    findings.sort_by(|a, b| a.seen.cmp(&b.seen));
    findings
}

/// The addresses that an agent asks, or what is wrong with the text.
fn check(name: &str, text: &str) -> Result<Vec<Url>, Finding> {
    let remedy = format!("set {name} to scheme://host:port, without /metrics");
    let url = text.parse::<Url>().ok().filter(|url| url.has_host() && url.scheme().starts_with("http"));
    let Some(url) = url else { return Err(warning(ID, format!("{name} is no URL"), remedy)) };
    if url.path().trim_end_matches('/').ends_with("/metrics") {
        return Err(warning(ID, format!("{name} is {url}: /metrics would be there twice"), remedy));
    }
    let exporters = match name {
        NODE => Exporters { node: Some(url), registry: None },
        _ => Exporters { node: None, registry: Some(url) },
    };
    Ok(exporters.addresses().collect())
}

async fn ask(url: &Url, roots: &Roots) -> Result<u16, String> {
    let client = Client::builder()
        .timeout(LIMIT)
        .redirect(redirect::Policy::none())
        .tls_backend_preconfigured(roots.client_config());
    // As an agent asks: a proxy would not reach what listens on this machine only.
    let is_here = url.host_str().is_some_and(addresses::is_loopback_host);
    let client = if is_here { client.no_proxy() } else { client };
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
        let asked = |name, text| {
            let all = check(name, text).unwrap();
            all.iter().map(|url| url.as_str().to_owned()).collect::<Vec<_>>().join(" ")
        };
        let name = "NODE_EXPORTER_URL";
        assert_eq!(asked(name, "http://127.0.0.1:9100"), "http://127.0.0.1:9100/metrics");
        assert_eq!(asked(name, "http://a.test/b/"), "http://a.test/b/metrics");
        let both = "http://a.test/proxy?module=registry http://a.test/proxy?module=node";
        assert_eq!(asked("DOCKER_REGISTRY_NODE_EXPORTER_URL", "http://a.test"), both);
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
