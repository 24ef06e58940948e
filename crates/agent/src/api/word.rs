//! Which refusals are the control plane's own word.
//!
//! Proxies, load balancers and sign-in pages in front of it answer in its place while it, or they, can't serve. What they
//! say is about the way, not about the call; and their statuses are the same. So only the documented forms count, to
//! the letter, and everything else may pass.

use http::StatusCode;
use serde_json::{Map, Value};
use wire::additions::TRY_IS_OVER;

/// What a log call about a job that is not the caller's is told, perhaps after the name of the part that says so.
const UNKNOWN_JOB: &str = "unknown job";
/// A token of a job that has ended, was given to somebody else, or is another one.
const INVALID_TOKEN: &str = "invalid token";
/// A final call about a job that is not the caller's.
const NO_JOB_TO_MARK: &str = "null";
/// How the word on a request that can't be read begins.
const UNREADABLE: &str = "Failed to unmarshal payload: ";
/// What is asked for is not there.
const NOT_THERE: [&str; 2] = ["workspace file does not exist", "repository not found"];

/// What the control plane itself says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// The job is not, or no longer, this agent's.
    Lost,
    /// This call is answered so however often it is made.
    Refused,
}

/// What an answer other than the wanted one says, if it is the control plane's own.
pub(super) fn word(status: StatusCode, body: &[u8]) -> Option<Word> {
    let text = std::str::from_utf8(body).ok()?.trim();
    let error = error_of(text);
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if text == INVALID_TOKEN => Some(Word::Lost),
        StatusCode::CONFLICT if text == TRY_IS_OVER => Some(Word::Lost),
        StatusCode::NOT_FOUND if text == NO_JOB_TO_MARK => Some(Word::Lost),
        StatusCode::INTERNAL_SERVER_ERROR if error.as_deref().is_some_and(names_no_job) => Some(Word::Lost),
        StatusCode::NOT_FOUND if NOT_THERE.contains(&text) => Some(Word::Refused),
        StatusCode::BAD_REQUEST if text.starts_with(UNREADABLE) || error.is_some() => Some(Word::Refused),
        _ => None,
    }
}

/// The message of `{"error":"…"}`; others have more to say in theirs.
fn error_of(text: &str) -> Option<String> {
    let object: Map<String, Value> = serde_json::from_str(text).ok()?;
    let only = object.get("error").filter(|_| object.len() == 1)?;
    only.as_str().map(str::to_owned)
}

fn names_no_job(error: &str) -> bool {
    error.strip_suffix(UNKNOWN_JOB).is_some_and(|layers| layers.is_empty() || layers.ends_with(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: u16, body: &str) -> Option<Word> {
        word(StatusCode::from_u16(code).unwrap(), body.as_bytes())
    }

    #[test]
    fn the_documented_forms_count() {
        for (code, body, expected) in [
            (401, "invalid token\n", Word::Lost),
            (403, "invalid token\n", Word::Lost),
            (404, "null", Word::Lost),
            (409, &format!("{TRY_IS_OVER}\n"), Word::Lost),
            (500, r#"{"error":"unknown job"}"#, Word::Lost),
            (500, r#"{"error":"dbworkerstore.AddExecutionLogEntry: unknown job"}"#, Word::Lost),
            (404, "workspace file does not exist\n", Word::Refused),
            (404, "repository not found\n", Word::Refused),
            (400, "Failed to unmarshal payload: unexpected end of JSON input\n", Word::Refused),
            (400, r#"{"error":"the key of a log entry has 2000 bytes"}"#, Word::Refused),
        ] {
            assert_eq!(of(code, body), Some(expected), "{code} {body}");
        }
    }

    #[test]
    fn whatever_else_is_said_is_not_the_control_planes_word() {
        let bodies = [
            "",
            "{}",
            "<html>default backend - 404</html>",
            "404 page not found\n",
            "<h1>unknown job</h1>",
            r#"{"error":"Not Found","status":404}"#,
            r#"{"message":"no Route matched"}"#,
        ];
        for code in [301, 302, 401, 403, 404, 405, 409, 410, 413, 429, 500, 501, 502, 503, 504] {
            for body in bodies {
                assert_eq!(of(code, body), None, "{code} {body}");
            }
        }
        for (code, body) in [
            (400, ""),
            (400, r#"{"error":"Bad Request","status":400}"#),
            (404, "invalid token"),
            (410, "null"),
            (403, "null"),
            (502, r#"{"error":"unknown job"}"#),
        ] {
            assert_eq!(of(code, body), None, "{code} {body}");
        }
        assert_eq!(of(500, r#"{"error":"not an unknown job"}"#), None);
        assert_eq!(word(StatusCode::NOT_FOUND, b"\xff"), None);
    }
}
