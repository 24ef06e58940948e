//! The way from git to a repository's source.
//!
//! A user names the source, and its names, its redirects and their names are somebody else's. None of
//! them may lead to an address that [`addresses`] forbids. A look beforehand would not do: the next
//! answer of a name server may be another. So for HTTP git is given a proxy of ours, which lives as long
//! as the command, resolves each name itself and connects to nothing else than what it looked at.
//!
//! Where the operator has set a proxy, that one decides; we look at what the source's name leads to from
//! here, and git follows no redirects. The same look is all there is for `ssh` and `git`, which know no
//! redirects and could tell a stranger nothing of what a web server answers.

use super::fault::GitFault;
use super::socks::{Socks, check};
use hyper_util::client::proxy::matcher::Matcher;
use percent_encoding::percent_decode_str;
use tokio::process::Command;
use url::Url;

/// How git gets to a source.
pub(super) enum Way {
    /// There is nothing in between, or nothing more to do.
    Open,
    /// Through the operator's proxy.
    Proxied,
    /// Through ours.
    Guarded(Socks),
}

impl Way {
    /// The way to a source that was checked: a path or a URL.
    pub(super) async fn to(source: &str) -> Result<Self, GitFault> {
        let Ok(url) = Url::parse(source) else { return Ok(Self::Open) };
        let web = matches!(url.scheme(), "http" | "https");
        if web && !is_proxied(&url) {
            return Ok(Self::Guarded(Socks::open().await?));
        }
        look_at(&url).await?;
        Ok(if web { Self::Proxied } else { Self::Open })
    }

    /// Settings, given before the subcommand, that keep git on this way.
    pub(super) fn settings(&self, command: &mut Command) {
        match self {
            Self::Open => {}
            Self::Proxied => {
                command.args(["-c", "http.followRedirects=false"]);
            }
            Self::Guarded(socks) => {
                // Hosts that are named there would be connected to directly.
                command.env_remove("NO_PROXY").env_remove("no_proxy");
                command.arg("-c").arg(format!("http.proxy={}", socks.url()));
            }
        }
    }

    /// What git's failure comes of, if this is what knows it.
    pub(super) fn explained(&self, fault: GitFault) -> GitFault {
        match (self, fault) {
            (Self::Guarded(socks), fault @ GitFault::Refused { .. }) => socks.explained(fault),
            (Self::Proxied, GitFault::Refused { cause }) if cause.contains("error: 30") => {
                let cause =
                    format!("{cause}: redirects are not followed through a proxy, name where it leads");
                GitFault::Refused { cause }
            }
            (_, fault) => fault,
        }
    }
}

/// Whether the environment names a proxy for `url`.
fn is_proxied(url: &Url) -> bool {
    url.as_str().parse().is_ok_and(|url| Matcher::from_env().intercept(&url).is_some())
}

/// Refuses a host that leads to a forbidden address. One that leads nowhere from here may still be known
/// to a proxy, or to the configuration of `ssh`.
async fn look_at(url: &Url) -> Result<(), GitFault> {
    let host = percent_decode_str(url.host_str().unwrap_or_default()).decode_utf8_lossy();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let Ok(found) = tokio::net::lookup_host((host, 0)).await else { return Ok(()) };
    check(host, &found.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_looked_at_is_refused_in_every_disguise() {
        for source in [
            "ssh://git@169.254.169.254/x",
            "ssh://[fe80::1]/x",
            "git://0xa9fea9fe/x",
            "git://2852039166:80/x",
            "git://0251.0376.0251.0376/x",
            "git://169.254.43518/x",
            "git://%31%36%39.254.169.254/x",
            "git://[::ffff:169.254.169.254]/x",
        ] {
            let refused = Way::to(source).await.err();
            assert!(matches!(refused, Some(GitFault::Forbidden { .. })), "{source}: {refused:?}");
        }
        for source in ["ssh://git@127.0.0.1/x", "git://10.0.0.1/x", "git://[::1]:9/x", "/srv/git/x"] {
            assert!(matches!(Way::to(source).await, Ok(Way::Open)), "{source}");
        }
    }
}
