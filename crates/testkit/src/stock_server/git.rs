//! Repositories, served by git's own CGI program.

use super::answer::Answer;
use super::request::Request;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Serves one request for a repository.
pub(super) struct Backend {
    /// Where repositories are, by name.
    pub(super) root: PathBuf,
    /// The path below it.
    pub(super) below: String,
}

impl Backend {
    pub(super) fn answer(&self, request: &Request) -> Answer {
        let header = |name| request.header(name).unwrap_or_default();
        let query = request.target.split_once('?').map_or("", |(_, query)| query);
        let child = Command::new("git")
            .arg("http-backend")
            .env("GIT_PROJECT_ROOT", &self.root)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("PATH_INFO", &self.below)
            .env("QUERY_STRING", query)
            .env("REQUEST_METHOD", &request.method)
            .env("CONTENT_TYPE", header("content-type"))
            .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
            .env("GIT_PROTOCOL", header("git-protocol"))
            .env("CONTENT_LENGTH", request.body.len().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else { return Answer::error(500, "git can't be started") };
        let fed = child.stdin.take().map(|mut stdin| stdin.write_all(&request.body));
        match (fed, child.wait_with_output()) {
            (Some(Ok(())), Ok(output)) => match answer_of(&output.stdout) {
                missing if missing.status == 404 => missing.body("repository not found\n"),
                answer => answer,
            },
            _ => Answer::error(500, "git broke"),
        }
    }
}

/// What a CGI program says, as an answer.
fn answer_of(output: &[u8]) -> Answer {
    let Some(split) = output.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Answer::error(500, "git said nothing");
    };
    let head = String::from_utf8_lossy(&output[..split]);
    let headers: Vec<(&str, &str)> = head.lines().filter_map(|line| line.split_once(": ")).collect();
    let status = headers.iter().find(|(name, _)| *name == "Status");
    let status = status.and_then(|(_, text)| text.get(..3)?.parse().ok()).unwrap_or(200);
    let plain = headers.into_iter().filter(|(name, _)| *name != "Status");
    plain
        .fold(Answer::status(status), |answer, (name, value)| answer.with(name, value))
        .body(&output[split + 4..])
}
