//! Mirrors of Docker Hub.

use reqwest::Url;
use std::fmt;
use std::str::FromStr;

/// A registry that has what Docker Hub has, or fetches it.
///
/// An operator chose it, so it may be anywhere and speak plain HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Without a slash at its end.
    address: String,
    /// Where its API is.
    base: Url,
}

/// Mirrors that may be set.
const MIRRORS: usize = 16;

impl Mirror {
    /// Reads a list of addresses, separated by commas, in the order in which they are tried. Says which is
    /// wrong, and why, in one line.
    pub fn list(text: &str) -> Result<Vec<Self>, String> {
        let addresses = text.split(',').map(str::trim).filter(|address| !address.is_empty());
        let all = addresses.map(str::parse).collect::<Result<Vec<Self>, _>>()?;
        if all.len() > MIRRORS {
            return Err(format!("{} mirrors are more than {MIRRORS}: name fewer", all.len()));
        }
        Ok(all)
    }

    /// Where its API is.
    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    /// Its host, and its port if it has one of its own: what its credentials are kept under.
    pub fn registry(&self) -> String {
        let host = self.base.host_str().unwrap_or_default();
        self.base.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }
}

impl fmt::Display for Mirror {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.address)
    }
}

impl FromStr for Mirror {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url: Url = text.parse().map_err(|error| match error {
            // Its words would say nothing of what is missing.
            url::ParseError::RelativeUrlWithoutBase => {
                format!("{text:?} has no scheme: write https://{text}")
            }
            error => format!("{text:?} is no address: {error}"),
        })?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(format!(
                "the mirror at {} has credentials in its address: keep them in a Docker configuration",
                url.host_str().unwrap_or_default()
            ));
        }
        let rule = match url.scheme() {
            "http" | "https" if !url.has_host() => "it has no host",
            "http" | "https" if url.query().is_some() || url.fragment().is_some() => {
                "it may have no query and no fragment"
            }
            "http" | "https" => "",
            // `host:5000` parses as a scheme and a path.
            _ => "it must begin with https:// or http://",
        };
        if !rule.is_empty() {
            return Err(format!("{text:?} is no address of a mirror: {rule}"));
        }
        let address = url.as_str().trim_end_matches('/').to_owned();
        let base = format!("{address}/v2/").parse().map_err(|error| format!("{text:?}: {error}"))?;
        Ok(Self { address, base })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_order() {
        let text = "https://mirror.gcr.io, http://10.0.1.4:5000/,,https://a.test/docker/hub";
        let all = Mirror::list(text).expect("they are good");
        let shown: Vec<_> = all
            .iter()
            .map(|mirror| (mirror.to_string(), mirror.base().to_string(), mirror.registry()))
            .collect();
        let expected = [
            ("https://mirror.gcr.io", "https://mirror.gcr.io/v2/", "mirror.gcr.io"),
            ("http://10.0.1.4:5000", "http://10.0.1.4:5000/v2/", "10.0.1.4:5000"),
            ("https://a.test/docker/hub", "https://a.test/docker/hub/v2/", "a.test"),
        ];
        assert_eq!(shown, expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned())));
        assert_eq!(Mirror::list("").expect("none"), []);
    }

    #[test]
    fn what_is_no_mirror_is_told() {
        for (text, rule) in [
            ("mirror.test", "write https://mirror.test"),
            ("mirror.test:5000", "must begin with"),
            ("ftp://mirror.test", "must begin with"),
            ("https://", "no address"),
            ("https://mirror.test/?a=b", "no query"),
            ("https://mirror.test/#a", "no query"),
            ("https://jane:hunter2@mirror.test/", "credentials in its address"),
            (&"https://m.test,".repeat(17), "more than 16"),
        ] {
            let error = Mirror::list(text).expect_err(text);
            assert!(error.contains(rule) && !error.contains("hunter2"), "{error}");
        }
    }
}
