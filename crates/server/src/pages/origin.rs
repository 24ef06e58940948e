//! Whether a form was sent from a page of ours.

use crate::way::Way;
use http::header::ORIGIN;
use http::{HeaderMap, HeaderName};

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether the browser says that a page of ours sent this. One that does not say so is not believed.
pub(super) fn is_ours(headers: &HeaderMap, way: &Way) -> bool {
    match headers.get(FETCH_SITE) {
        Some(site) => site == "same-origin",
        // Browsers tell that on https and to this machine only, and the origin always.
        None => headers
            .get(ORIGIN)
            .and_then(|origin| origin.to_str().ok()?.split_once("://"))
            .is_some_and(|(scheme, host)| is_of(way, scheme, host)),
    }
}

/// Whoever stands between a browser and a page without https can write that page, so it is another's than the one with https.
fn is_of(way: &Way, scheme: &str, host: &str) -> bool {
    let ours = if way.secure { "https" } else { "http" };
    !way.host.is_empty() && host.eq_ignore_ascii_case(&way.host) && scheme.eq_ignore_ascii_case(ours)
}

/// Whether a page of somebody else's led here. The browser then keeps the session's cookie to itself.
pub(super) fn is_led_by_others(headers: &HeaderMap) -> bool {
    headers.get(FETCH_SITE).is_some_and(|site| site == "cross-site" || site == "same-site")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_page_of_this_host_is_ours() {
        let way = Way { secure: false, host: "10.0.0.5:7080".to_owned() };
        for (site, origin, ours) in [
            (Some("same-origin"), None, true),
            (Some("same-origin"), Some("https://evil.example"), true),
            (Some("same-site"), None, false),
            (Some("cross-site"), Some("http://10.0.0.5:7080"), false),
            (Some("none"), None, false),
            (None, Some("http://10.0.0.5:7080"), true),
            (None, Some("https://10.0.0.5:7080"), false),
            (None, Some("http://10.0.0.5"), false),
            (None, Some("https://evil.example"), false),
            (None, Some("null"), false),
            (None, None, false),
        ] {
            let mut headers = HeaderMap::new();
            let mut add = |name, value: Option<&'static str>| {
                value.map(|value| headers.insert(name, http::HeaderValue::from_static(value)))
            };
            add(FETCH_SITE, site);
            add(ORIGIN, origin);
            assert_eq!(is_ours(&headers, &way), ours, "{site:?} {origin:?}");
        }
        for (secure, origin, ours) in [
            (true, "https://ci.example", true),
            (true, "HTTPS://CI.example", true),
            (true, "http://ci.example", false),
            (false, "http://ci.example", true),
            (false, "https://ci.example", false),
        ] {
            let headers = HeaderMap::from_iter([(ORIGIN, http::HeaderValue::from_static(origin))]);
            let way = Way { secure, host: "ci.example".to_owned() };
            assert_eq!(is_ours(&headers, &way), ours, "{secure} {origin}");
        }
        let nowhere = Way { secure: false, host: String::new() };
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, http::HeaderValue::from_static("http://"));
        assert!(!is_ours(&headers, &nowhere));
    }
}
