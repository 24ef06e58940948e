//! Gathers what heartbeats carry besides: our own metrics and those of exporters nearby, as documented.
//!
//! All of it happens here, at its own pace. A heartbeat takes what was gathered last and waits for nobody:
//! an exporter that is slow or gone costs its own metrics only.

use crate::config::{AgentConfig, Exporters};
use crate::error::{AgentError, chain};
use exposition::Families;
use futures_util::future::join_all;
use reqwest::Client;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};
use url::Url;

/// How long an exporter may take, as documented.
const LIMIT: Duration = Duration::from_secs(2);
/// The most text of one exporter. Three of these fit into a heartbeat that our server takes.
const MOST_TEXT: usize = 512 << 10;
/// What the samples of a registry's machine are marked with.
const OF_REGISTRY: &str = "docker-registry";
/// The label that they are marked with.
const INSTANCE: &str = "sg_instance";
/// What the families of an exporter begin with that tell of nothing but the exporter.
const OF_EXPORTERS: [&str; 3] = ["go_", "promhttp_", "process_"];

/// Gathers while it lives.
pub(crate) struct Forwarder {
    _task: AbortOnDropHandle<()>,
}

impl Forwarder {
    pub(crate) fn start(config: Arc<AgentConfig>) -> Result<Self, AgentError> {
        let mut sources = sources(&config)?;
        let task = tokio::spawn(async move {
            loop {
                gather(&config, &mut sources).await;
                sleep(config.heartbeat_interval).await;
            }
        });
        Ok(Self { _task: AbortOnDropHandle::new(task) })
    }
}

async fn gather(config: &Arc<AgentConfig>, sources: &mut [Source]) {
    let texts = join_all(sources.iter_mut().map(Source::ask)).await;
    let mut families = Families::default();
    for (text, source) in texts.iter().zip(&*sources) {
        add_exported(&mut families, text, source.label);
    }
    let forwarded = families.into_text();
    let told = Arc::clone(config);
    // It looks at files of the system.
    let own = tokio::task::spawn_blocking(move || told.monitor.own_metrics(&told)).await;
    if let Ok(own) = own {
        config.monitor.gathered(own + &forwarded);
    }
}

/// Adds what an exporter said, `instance` noted with each of its samples that tells none.
fn add_exported(families: &mut Families, text: &str, instance: Option<&str>) {
    let wanted = |name: &str| !OF_EXPORTERS.iter().any(|start| name.starts_with(start));
    families.add(text, wanted, |sample| {
        let instance = instance.filter(|_| sample.label(INSTANCE).is_none());
        Some(instance.map(|instance| format!("{INSTANCE}=\"{instance}\"")).unwrap_or_default())
    });
}

/// Somebody who tells metrics.
struct Source {
    name: &'static str,
    url: Url,
    client: Client,
    label: Option<&'static str>,
    /// Whether the last answer was none.
    fails: bool,
}

fn sources(config: &AgentConfig) -> Result<Vec<Source>, AgentError> {
    let source = |(name, url, label): (_, Url, _)| {
        let client = client(config, &url).map_err(AgentError::Client)?;
        Ok(Source { name, url, client, label, fails: false })
    };
    addresses(&config.exporters).into_iter().map(source).collect()
}

fn addresses(exporters: &Exporters) -> Vec<(&'static str, Url, Option<&'static str>)> {
    let Exporters { node, registry } = exporters;
    let node = node.iter().map(|base| ("node exporter", below(base, "metrics", None), None));
    let registry = registry.iter().flat_map(|base| {
        [("exporter of the registry", "module=registry"), ("exporter of its machine", "module=node")]
            .map(|(name, module)| (name, below(base, "proxy", Some(module)), Some(OF_REGISTRY)))
    });
    node.chain(registry).collect()
}

impl Exporters {
    /// Where each is asked.
    pub fn addresses(&self) -> impl Iterator<Item = Url> {
        addresses(self).into_iter().map(|(_, url, _)| url)
    }
}

fn client(config: &AgentConfig, url: &Url) -> reqwest::Result<Client> {
    let client = Client::builder()
        .timeout(LIMIT)
        .redirect(reqwest::redirect::Policy::none())
        .tls_backend_preconfigured(config.roots.client_config());
    // A proxy would not reach what listens on this machine only.
    if is_loopback(url) { client.no_proxy().build() } else { client.build() }
}

fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(addresses::is_loopback_host)
}

fn below(base: &Url, path: &str, query: Option<&str>) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url.set_query(query);
    url
}

impl Source {
    /// What it says; nothing when it fails, which is told once.
    async fn ask(&mut self) -> String {
        // Its address may hold a password.
        let source = self.name;
        let asked = fetch(&self.client, &self.url).await;
        let failed_before = std::mem::replace(&mut self.fails, asked.is_err());
        match asked {
            Ok(text) => {
                if failed_before {
                    info!(source, "an exporter answers again");
                }
                return text;
            }
            Err(error) if failed_before => debug!(source, error, "an exporter does not answer"),
            Err(error) => {
                warn!(source, error, "an exporter does not answer: heartbeats go without its metrics");
            }
        }
        String::new()
    }
}

async fn fetch(client: &Client, url: &Url) -> Result<String, String> {
    let failed = |error: reqwest::Error| chain(&error.without_url());
    let mut answer = client.get(url.clone()).send().await.map_err(failed)?;
    if answer.status() != http::StatusCode::OK {
        return Err(format!("it answers {}", answer.status().as_u16()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > MOST_TEXT {
            return Err(format!("its answer is longer than {MOST_TEXT} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    String::from_utf8(body).map_err(|_| "its answer is no text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_paths_are_asked() {
        let base: Url = "http://jane:pw@registry:9999/x/".parse().unwrap();
        assert_eq!(below(&base, "metrics", None).as_str(), "http://jane:pw@registry:9999/x/metrics");
        let proxied = below(&base, "proxy", Some("module=node"));
        assert_eq!(proxied.as_str(), "http://jane:pw@registry:9999/x/proxy?module=node");
    }

    #[test]
    fn exporters_tell_nothing_of_themselves_and_those_of_a_registry_are_marked() {
        let mut families = Families::default();
        add_exported(&mut families, "up 1\ngo_threads 7\nprocess_cpu_seconds_total 3\n", None);
        add_exported(&mut families, "up 0\nup{sg_instance=\"own\"} 1\n", Some(OF_REGISTRY));
        assert_eq!(
            families.into_text(),
            "# TYPE up untyped\nup 1\nup{sg_instance=\"docker-registry\"} 0\nup{sg_instance=\"own\"} 1\n"
        );
    }

    #[test]
    fn this_machine_is_known() {
        for (url, expect) in [
            ("http://127.0.0.1:9100", true),
            ("http://localhost:9100", true),
            ("http://[::1]:9100", true),
            ("http://10.0.0.1:9100", false),
            ("http://localhost.example:9100", false),
        ] {
            assert_eq!(is_loopback(&url.parse().unwrap()), expect, "{url}");
        }
    }
}
