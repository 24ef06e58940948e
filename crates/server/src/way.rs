//! The way that a request came: from whom, for which host, and whether by https.
//!
//! A proxy is believed if it is one of those that the operator named. Whatever anybody else says of it is not looked at; nor is the
//! header `Forwarded`: proxies that set the others pass it on as whoever called made it up.

use crate::app::App;
use crate::peer::{Peer, Remote};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// How a request came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Way {
    /// By https, to us or as far as a proxy that is believed says.
    pub(crate) secure: bool,
    /// For which host and port, as the browser has it.
    pub(crate) host: String,
}

/// Notes in the request how it came.
pub(crate) async fn note(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let remote = request.extensions().get::<Remote>().map(|remote| remote.0);
    let (way, from) = way(request.headers(), remote, &app.trusted_proxies, app.tls.is_some());
    if let Some(from) = from {
        request.extensions_mut().insert(Remote(from));
        request.extensions_mut().insert(Peer::of(from));
    }
    request.extensions_mut().insert(way);
    next.run(request).await
}

/// `tls`: it came to us by https, which says nothing of how it came to a proxy.
fn way(headers: &HeaderMap, remote: Option<IpAddr>, trusted: &[IpNet], tls: bool) -> (Way, Option<IpAddr>) {
    let believed = |address: &IpAddr| trusted.iter().any(|net| net.contains(&address.to_canonical()));
    let said = |name: HeaderName| headers.get_all(name).iter().next_back()?.to_str().ok();
    let host = said(HOST).unwrap_or_default();
    let Some(proxy) = remote.filter(believed) else {
        return (Way { secure: tls, host: host.to_owned() }, remote);
    };
    let secure = said(FORWARDED_PROTO).is_some_and(|proto| last(proto).eq_ignore_ascii_case("https"));
    let host = said(FORWARDED_HOST).map_or(host, last);
    // Each proxy adds whom it heard: the last one that is no proxy of ours is whom we can know.
    let mut heard: Vec<Option<IpAddr>> = headers.get_all(FORWARDED_FOR).iter().flat_map(addresses).collect();
    let mut from = proxy;
    while believed(&from) {
        // What stands before something that is no address is anybody's claim.
        let Some(Some(before)) = heard.pop() else { break };
        from = before;
    }
    (Way { secure, host: host.to_owned() }, Some(from))
}

/// The addresses of one line; `None` for what is none.
fn addresses(line: &HeaderValue) -> Vec<Option<IpAddr>> {
    let Ok(line) = line.to_str() else { return vec![None] };
    line.split(',').map(|part| address(part.trim())).collect()
}

/// An address, with its port where a proxy tells that too: `192.0.2.7:5678`, `[2001:db8::7]:80`, `[2001:db8::7]`.
fn address(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(with_port).or_else(bracketed)
}

fn last(list: &str) -> &str {
    list.rsplit(',').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked_at(remote: &str, said: &[(HeaderName, &str)]) -> (Way, String) {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, "ci.example:7080".parse().unwrap());
        for (name, value) in said {
            headers.append(name.clone(), value.parse().unwrap());
        }
        let trusted = ["10.1.0.0/16".parse().unwrap()];
        let (way, from) = way(&headers, Some(remote.parse().unwrap()), &trusted, false);
        (way, from.unwrap().to_string())
    }

    #[test]
    fn what_comes_to_us_by_https_is_safe_unless_it_came_to_a_proxy_first() {
        let secure = |remote: &str| {
            let remote = Some(remote.parse().unwrap());
            way(&HeaderMap::new(), remote, &["10.1.0.0/16".parse().unwrap()], true).0.secure
        };
        assert_eq!(["192.0.2.7", "10.1.2.3"].map(secure), [true, false]);
    }

    #[test]
    fn only_a_proxy_that_was_named_is_believed() {
        let said = [(FORWARDED_PROTO, "https"), (FORWARDED_FOR, "192.0.2.7"), (FORWARDED_HOST, "ci.example")];
        let (way, from) = looked_at("10.1.2.3", &said);
        assert_eq!((way.secure, way.host.as_str(), from.as_str()), (true, "ci.example", "192.0.2.7"));
        let (way, from) = looked_at("10.2.2.3", &said);
        assert_eq!((way.secure, way.host.as_str(), from.as_str()), (false, "ci.example:7080", "10.2.2.3"));
    }

    #[test]
    fn who_comes_by_several_proxies_is_the_last_that_is_none_of_them() {
        let from = |lines: &[&str]| {
            let said: Vec<_> = lines.iter().map(|line| (FORWARDED_FOR, *line)).collect();
            looked_at("::ffff:10.1.0.1", &said).1
        };
        assert_eq!(from(&["198.51.100.1, 192.0.2.7, 10.1.0.9"]), "192.0.2.7", "the first is anybody's claim");
        assert_eq!(from(&["198.51.100.1", "192.0.2.7"]), "192.0.2.7");
        assert_eq!(from(&["198.51.100.1, x, 192.0.2.7"]), "192.0.2.7", "the proxy's word is the last one");
        assert_eq!(from(&["198.51.100.1, x, 10.1.0.9"]), "10.1.0.9");
        assert_eq!(from(&["ä", "192.0.2.7"]), "192.0.2.7");
        assert_eq!(from(&["192.0.2.7, ä"]), "::ffff:10.1.0.1");
        assert_eq!(
            from(&["198.51.100.1, 192.0.2.7:5678, 10.1.0.9:80"]),
            "192.0.2.7",
            "proxies may tell ports"
        );
        assert_eq!(from(&["[2001:db8::7]:80"]), "2001:db8::7");
        assert_eq!(from(&["[2001:db8::7]"]), "2001:db8::7");
        for odd in [
            "192.0.2.7:",
            "192.0.2.7:x",
            "192.0.2.7:99999",
            "[192.0.2.7]",
            "2001:db8::7]:80",
            "unknown",
            "_hidden",
            "",
        ] {
            assert_eq!(from(&["198.51.100.1", odd]), "::ffff:10.1.0.1", "{odd:?} is no address");
        }
        assert_eq!(from(&["10.1.0.9"]), "10.1.0.9", "nobody else was named");
        assert_eq!(from(&[]), "::ffff:10.1.0.1");
        assert!(!looked_at("10.1.0.1", &[(FORWARDED_PROTO, "https, http")]).0.secure);
    }

    #[test]
    fn what_proxies_pass_on_unread_is_not_believed() {
        let forwarded = (http::header::FORWARDED, "for=192.0.2.7;host=evil.example;proto=https");
        let (way, from) = looked_at("10.1.2.3", std::slice::from_ref(&forwarded));
        assert_eq!((way.secure, way.host.as_str(), from.as_str()), (false, "ci.example:7080", "10.1.2.3"));
        assert_eq!(looked_at("10.1.2.3", &[(FORWARDED_FOR, "192.0.2.9"), forwarded]).1, "192.0.2.9");
    }
}
