//! What answered.

use super::super::finding::{Finding, fatal, info, ok};
use reqwest::header::{CONTENT_TYPE, DATE, HeaderName, LOCATION, SERVER};
use reqwest::{Response, StatusCode};
use std::time::{Duration, SystemTime};
use url::Url;

/// Bytes of an answer that are looked at.
const BEGINNING: usize = 512;

/// An answer, as far as it is looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) location: Option<String>,
    pub(super) kind: String,
    pub(super) server: String,
    pub(super) date: Option<String>,
    pub(super) beginning: String,
    /// When it was here, by this host's clock.
    pub(super) at: Option<SystemTime>,
}

impl Answer {
    pub(super) async fn read(mut response: Response, at: SystemTime) -> Result<Self, reqwest::Error> {
        let header = |name: HeaderName| {
            let value = response.headers().get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let mut answer = Self {
            status: response.status().as_u16(),
            location: header(LOCATION),
            kind: header(CONTENT_TYPE).unwrap_or_default(),
            server: header(SERVER).unwrap_or_default(),
            date: header(DATE),
            beginning: String::new(),
            at: Some(at),
        };
        let mut beginning = Vec::new();
        while beginning.len() < BEGINNING {
            let Some(chunk) = response.chunk().await? else { break };
            beginning.extend_from_slice(&chunk[..chunk.len().min(BEGINNING - beginning.len())]);
        }
        answer.beginning = String::from_utf8_lossy(&beginning).into_owned();
        Ok(answer)
    }

    /// A page for people: of a proxy, a login, a load balancer, another program.
    fn is_page(&self) -> bool {
        self.kind.contains("text/html") || self.beginning.trim_start().starts_with('<')
    }
}

/// Judges an answer to the question whether the shared secret is taken.
pub(super) fn judge(url: &Url, answer: &Answer, has_secret: bool) -> Vec<Finding> {
    let status = answer.status;
    let called =
        StatusCode::from_u16(status).map_or_else(|_| status.to_string(), |status| status.to_string());
    let is_it = |told: &str| ok("frontend.answer", format!("a control plane answers at {url}{told}"));
    let is_not = |seen: String, remedy: &str| vec![fatal("frontend.answer", seen, remedy)];
    let who = match answer.server.as_str() {
        "" => String::new(),
        server => format!(" of {server:?}"),
    };
    match status {
        300..=399 => vec![redirect(url, answer, &called)],
        407 => is_not(
            format!("the proxy on the way wants a login ({called})"),
            "put user and password into the proxy's URL, or the control plane's host into NO_PROXY",
        ),
        _ if answer.is_page() && status < 500 => is_not(
            format!("a web page{who} answers at {url} ({called}), and no control plane"),
            "EXECUTOR_FRONTEND_URL must lead to the control plane itself: past logins, portals and error pages of \
             proxies",
        ),
        200 | 204 if has_secret => {
            vec![is_it(""), ok("frontend.token", "the control plane takes the shared secret")]
        }
        401 if has_secret => vec![is_it(""), refused()],
        200 | 204 | 401 => vec![is_it(""), info("frontend.token", "no secret is set, so none was shown")],
        403 => is_not(
            format!("somebody{who} refuses the call ({called})"),
            "let firewalls and proxies in front of the control plane pass /.executors/",
        ),
        404 | 405 | 410 => is_not(
            format!("what answers{who} at {url} knows no executors ({called})"),
            "correct host, port and path of EXECUTOR_FRONTEND_URL; the instance must be one that has executors",
        ),
        500 => vec![
            is_it(" with an error of its own (500)"),
            fatal(
                "frontend.token",
                "the control plane can't judge the shared secret (500): it may have none",
                "set executors.accessToken in the site configuration, or read the control plane's log",
            ),
        ],
        _ => is_not(
            format!("what answers{who} at {url} is out of order ({called})"),
            "look at the control plane and at what is in front of it, then ask again",
        ),
    }
}

fn refused() -> Finding {
    fatal(
        "frontend.token",
        "the control plane refuses the shared secret (401)",
        "EXECUTOR_FRONTEND_PASSWORD must be what executors.accessToken is in the site configuration; it is shown there \
         only before it is saved",
    )
}

/// An agent follows none: its secret is for the one whom it was told.
fn redirect(url: &Url, answer: &Answer, called: &str) -> Finding {
    let Some(to) = answer.location.as_deref().and_then(|to| url.join(to).ok()) else {
        let remedy = "EXECUTOR_FRONTEND_URL must lead to the control plane itself";
        return fatal("frontend.answer", format!("{url} leads elsewhere ({called}), and not where"), remedy);
    };
    let mut shown = to.clone();
    shown.set_query(None);
    let kept = to.path().strip_suffix(wire::paths::TEST_AUTH);
    let remedy = match kept {
        Some(path) => {
            shown.set_path(path);
            format!("set EXECUTOR_FRONTEND_URL to {shown}")
        }
        None => "set EXECUTOR_FRONTEND_URL to where the control plane itself is; this looks like a login"
            .to_owned(),
    };
    let mut to = to;
    to.set_query(None);
    fatal("frontend.answer", format!("{url} leads to {to} ({called}), which is not followed"), remedy)
}

/// Connected, and then nothing.
pub(super) fn silent(url: &Url, limit: Duration) -> Finding {
    fatal(
        "frontend.answer",
        format!("no answer from {url} within {} s", limit.as_secs_f64()),
        "look whether a firewall drops what is sent there, and whether the control plane is overloaded",
    )
}

pub(super) fn none(url: &Url, why: &str) -> Finding {
    fatal(
        "frontend.answer",
        format!("no answer from {url}: {why}"),
        "look at frontend.dns and frontend.reach, or at whether something else than HTTP is served there",
    )
}

#[cfg(test)]
mod tests {
    use super::super::super::finding::Severity;
    use super::*;

    fn judged(answer: &Answer) -> Vec<(&'static str, Severity)> {
        let url = "https://sg.example.com/base".parse().unwrap();
        judge(&url, answer, true).iter().map(|finding| (finding.id, finding.severity)).collect()
    }

    fn status(status: u16) -> Answer {
        Answer { status, ..Answer::default() }
    }

    #[test]
    fn each_kind_of_answer_is_told_from_the_others() {
        use Severity::{Fatal, Ok};
        let page = Answer { kind: "text/html; charset=utf-8".to_owned(), ..status(200) };
        let unmarked = Answer { beginning: "\n<!doctype html>".to_owned(), ..status(401) };
        for (answer, expected) in [
            (status(200), vec![("frontend.answer", Ok), ("frontend.token", Ok)]),
            (status(204), vec![("frontend.answer", Ok), ("frontend.token", Ok)]),
            (status(401), vec![("frontend.answer", Ok), ("frontend.token", Fatal)]),
            (status(500), vec![("frontend.answer", Ok), ("frontend.token", Fatal)]),
            (status(302), vec![("frontend.answer", Fatal)]),
            (status(403), vec![("frontend.answer", Fatal)]),
            (status(404), vec![("frontend.answer", Fatal)]),
            (status(407), vec![("frontend.answer", Fatal)]),
            (status(429), vec![("frontend.answer", Fatal)]),
            (status(503), vec![("frontend.answer", Fatal)]),
            (page, vec![("frontend.answer", Fatal)]),
            (unmarked, vec![("frontend.answer", Fatal)]),
        ] {
            assert_eq!(judged(&answer), expected, "{answer:?}");
        }
    }

    #[test]
    fn a_redirect_tells_the_url_to_set() {
        let url: Url = "http://sg.example.com".parse().unwrap();
        for (location, remedy) in [
            (
                "https://sg.example.com/.executors/test/auth?key=hunter2",
                "set EXECUTOR_FRONTEND_URL to https://sg.example.com/",
            ),
            ("https://a.test/base/.executors/test/auth", "set EXECUTOR_FRONTEND_URL to https://a.test/base"),
            (
                "/sign-in?returnTo=hunter2",
                "set EXECUTOR_FRONTEND_URL to where the control plane itself is; this looks like a login",
            ),
        ] {
            let answer = Answer { location: Some(location.to_owned()), ..status(301) };
            let finding = judge(&url, &answer, true).remove(0);
            assert_eq!(finding.remedy, remedy);
            assert!(!finding.seen.contains("hunter2"), "{}", finding.seen);
        }
    }

    #[test]
    fn a_secret_that_is_not_set_is_not_judged() {
        let url = "https://sg.example.com".parse().unwrap();
        assert_eq!(judge(&url, &status(401), false)[1].severity, Severity::Info);
    }
}
