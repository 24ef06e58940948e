//! Proxies on the way.

use super::super::finding::{Finding, info, ok, warning};
use super::network;
use hyper_util::client::proxy::matcher::Matcher;
use std::net::IpAddr;
use tokio::task::JoinSet;
use url::{Host, Url};

/// Hosts whose proxies are asked for, to learn which proxies there are.
const ELSEWHERE: [&str; 2] = ["http://example.com/", "https://example.com/"];

/// What the environment says of proxies, as every HTTP client of ours reads it.
pub(super) struct Proxies(Matcher);

impl Proxies {
    pub(super) fn of_this_process() -> Self {
        Self(Matcher::from_env())
    }

    /// The proxy on the way to `url`, without its credentials.
    pub(super) fn between(&self, url: &Url) -> Option<Url> {
        let intercept = self.0.intercept(&url.as_str().parse().ok()?)?;
        let mut proxy: Url = intercept.uri().to_string().parse().ok()?;
        let _ = proxy.set_username("").and_then(|()| proxy.set_password(None));
        Some(proxy)
    }

    fn all(&self) -> Vec<Url> {
        let mut all: Vec<Url> = ELSEWHERE.iter().filter_map(|url| self.between(&url.parse().ok()?)).collect();
        all.dedup();
        all
    }
}

pub(super) async fn findings(proxies: &Proxies, url: &Url, no_proxy: &str) -> Vec<Finding> {
    let on_the_way = proxies.between(url);
    let mut all = proxies.all();
    if let Some(proxy) = &on_the_way
        && !all.contains(proxy)
    {
        all.push(proxy.clone());
    }
    let mut asking = JoinSet::new();
    for proxy in all {
        asking.spawn(async move { (network::is_there(&proxy).await, proxy) });
    }
    let asked: Vec<(Url, bool)> =
        asking.join_all().await.into_iter().map(|(there, proxy)| (proxy, there)).collect();
    judge(url, on_the_way.as_ref(), &asked, no_proxy)
}

fn judge(url: &Url, on_the_way: Option<&Url>, asked: &[(Url, bool)], no_proxy: &str) -> Vec<Finding> {
    const ID: &str = "frontend.proxy";
    if asked.is_empty() {
        return vec![ok(ID, "no proxy is set")];
    }
    let mut findings = Vec::new();
    for (proxy, _) in asked.iter().filter(|(_, is_there)| !is_there) {
        let remedy = "correct HTTP_PROXY, HTTPS_PROXY or ALL_PROXY, or unset it: registries and the control plane are \
                      called through it";
        findings.push(warning(ID, format!("the proxy {proxy} can't be reached"), remedy));
    }
    match on_the_way {
        Some(proxy) if is_near(url) => {
            let host = url.host_str().unwrap_or_default();
            let wanted = if no_proxy.is_empty() { host.to_owned() } else { format!("{no_proxy},{host}") };
            let seen = format!("{host} is in a private network, and is called through the proxy {proxy}");
            findings.push(warning(ID, seen, format!("set NO_PROXY={wanted}")));
        }
        Some(proxy) => {
            findings.push(info(ID, format!("the control plane is called through the proxy {proxy}")));
        }
        None => findings.push(ok(ID, "a proxy is set, and the control plane is called without it")),
    }
    findings
}

/// A host that a proxy of a company rarely can reach: one without a domain, of a cluster, or of a private network.
fn is_near(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => {
            !name.contains('.') || [".local", ".svc", ".internal"].iter().any(|end| name.ends_with(end))
        }
        Some(Host::Ipv4(address)) => is_private(address.into()),
        Some(Host::Ipv6(address)) => is_private(address.into()),
        None => false,
    }
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_loopback() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::finding::Severity;
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn what_no_proxy_lacks_is_told() {
        let proxy = url("http://proxy.example.com:3128");
        let asked = [(proxy.clone(), true)];
        let found = judge(&url("http://sourcegraph-frontend:30080"), Some(&proxy), &asked, "10.0.0.0/8");
        assert_eq!(found[0].remedy, "set NO_PROXY=10.0.0.0/8,sourcegraph-frontend");
        let found = judge(&url("https://sg.example.com"), Some(&proxy), &asked, "");
        assert_eq!(found[0].severity, Severity::Info);
        let found = judge(&url("http://sourcegraph-frontend"), None, &asked, "sourcegraph-frontend");
        assert_eq!(found[0].severity, Severity::Ok);
    }

    #[test]
    fn a_dead_proxy_is_told() {
        let proxy = url("http://127.0.0.1:1");
        let found = judge(&url("https://sg.example.com"), None, &[(proxy, false)], "");
        assert_eq!(found[0].severity, Severity::Warning);
        assert!(found[0].seen.contains("http://127.0.0.1:1/"), "{found:?}");
        assert_eq!(judge(&url("https://sg.example.com"), None, &[], "").len(), 1);
    }

    #[test]
    fn credentials_of_a_proxy_are_left_out() {
        let matcher = Matcher::builder().all("http://jane:hunter2@proxy.test:3128").no("b.test").build();
        let proxies = Proxies(matcher);
        assert_eq!(proxies.between(&url("https://a.test")).unwrap().as_str(), "http://proxy.test:3128/");
        assert_eq!(proxies.between(&url("https://b.test")), None);
        assert_eq!(proxies.all().len(), 1);
    }
}
