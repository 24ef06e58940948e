//! Handing out what jobs left: as a file to be saved, and nothing that a browser would show or run.

use super::problem::Refusal;
use super::sent;
use crate::answers::{self, Reader};
use crate::app::App;
use crate::auth::principal::Caller;
use crate::body;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, TryStreamExt, stream};
use http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    ETAG, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::io;
use std::ops::Range;
use store::NewObject;
use tokio_util::io::StreamReader;

/// What stays as it is in the second form of a file's name (RFC 8187).
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What is handed out: objects one after the other, as one file.
pub(super) struct Download {
    /// The objects.
    pub(super) objects: Vec<NewObject>,
    /// What to call it.
    pub(super) name: String,
    /// What tells one content from another.
    pub(super) tag: String,
}

/// Which bytes are asked for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    All,
    Part(Range<u64>),
    Impossible,
}

impl Download {
    /// Answers with all of it, or with the part that `Range` names. While it is being sent it has room for what of it is in memory.
    pub(super) async fn answer(
        self,
        app: &App,
        caller: &Caller,
        headers: &HeaderMap,
    ) -> Result<Response, Refusal> {
        let size = self.objects.iter().map(|object| object.size).sum();
        let (status, range) = match asked(headers, size) {
            Asked::All => (StatusCode::OK, 0..size),
            Asked::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
            Asked::Impossible => return Ok(impossible(size)),
        };
        let length = range.end - range.start;
        let mut answer = HeaderMap::new();
        let constant = HeaderValue::from_static;
        answer.insert(CONTENT_TYPE, constant("application/octet-stream"));
        answer.insert(X_CONTENT_TYPE_OPTIONS, constant("nosniff"));
        answer.insert(CONTENT_SECURITY_POLICY, constant("default-src 'none'; sandbox"));
        answer.insert(ACCEPT_RANGES, constant("bytes"));
        answer.insert(CONTENT_LENGTH, length.into());
        let made = [
            (CONTENT_DISPOSITION, disposition(&self.name)),
            (ETAG, format!("\"{}\"", self.tag)),
            (CONTENT_RANGE, format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1))),
        ];
        for (name, value) in made {
            if let Ok(value) = HeaderValue::try_from(value)
                && (name != CONTENT_RANGE || status == StatusCode::PARTIAL_CONTENT)
            {
                answer.insert(name, value);
            }
        }
        let room =
            app.answers.room(&Reader::from(caller), body::held(app, length)).ok_or_else(sent::no_room)?;
        let body = answers::in_room(body_of(app, &self.objects, range).await?, room);
        Ok((status, answer, body).into_response())
    }
}

/// The body, whose beginning is there: what can't be had is told while it still can be.
async fn body_of(app: &App, objects: &[NewObject], range: Range<u64>) -> Result<Body, Refusal> {
    let mut pieces = Vec::new();
    let mut begin = 0;
    for object in objects {
        let end = begin + object.size;
        let of_it = range.start.max(begin)..range.end.min(end);
        if of_it.start < of_it.end {
            pieces.push((object.key.clone(), of_it.start - begin..of_it.end - begin));
        }
        begin = end;
    }
    let source = app.store.objects().clone();
    let streams = pieces.into_iter().map(move |(key, range)| source.stream(key, range));
    let mut content = Box::pin(stream::iter(streams).flatten());
    let Some(first) = content.next().await.transpose()? else { return Ok(Body::empty()) };
    let content = stream::iter([Ok(first)]).chain(content).map_err(io::Error::other);
    Ok(body::streamed(StreamReader::new(content), app.limits.body_read, &app.tasks))
}

/// One range is understood; whoever asks for several is given all, as they must be able to take.
fn asked(headers: &HeaderMap, size: u64) -> Asked {
    let range = headers.get(RANGE).and_then(|value| value.to_str().ok());
    let range = range.and_then(|value| value.strip_prefix("bytes=")).filter(|range| !range.contains(','));
    let Some((begin, end)) = range.and_then(|range| range.trim().split_once('-')) else { return Asked::All };
    let range = match (begin.parse::<u64>(), end.parse::<u64>()) {
        (Ok(begin), Ok(last)) if begin <= last => begin..size.min(last.saturating_add(1)),
        (Ok(begin), Err(_)) if end.is_empty() => begin..size,
        (Err(_), Ok(last)) if begin.is_empty() => size.saturating_sub(last)..size,
        _ => return Asked::All,
    };
    if range.start < range.end { Asked::Part(range) } else { Asked::Impossible }
}

fn impossible(size: u64) -> Response {
    let range = HeaderValue::try_from(format!("bytes */{size}"));
    let range = range.unwrap_or(HeaderValue::from_static("bytes */*"));
    (StatusCode::RANGE_NOT_SATISFIABLE, [(CONTENT_RANGE, range)]).into_response()
}

/// A name to save it under: for old clients in letters that mean nothing to anybody, for others as it is.
fn disposition(name: &str) -> String {
    let safe = |letter: char| letter.is_ascii_alphanumeric() || "-._ ".contains(letter);
    let plain: String = name.chars().map(|letter| if safe(letter) { letter } else { '_' }).collect();
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{}", utf8_percent_encode(name, PLAIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(range: &str) -> Asked {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, range.parse().unwrap());
        asked(&headers, 10)
    }

    #[test]
    fn one_range_is_understood() {
        assert_eq!(asked(&HeaderMap::new(), 10), Asked::All);
        assert_eq!(of("bytes=2-4"), Asked::Part(2..5));
        assert_eq!(of("bytes=2-99"), Asked::Part(2..10));
        assert_eq!(of("bytes=9-"), Asked::Part(9..10));
        assert_eq!(of("bytes=-3"), Asked::Part(7..10));
        assert_eq!(of("bytes=-30"), Asked::Part(0..10));
        assert_eq!(of("bytes=10-"), Asked::Impossible);
        assert_eq!(of("bytes=-0"), Asked::Impossible);
        for other in
            ["bytes=1-2,4-5", "bytes=4-2", "lines=1-2", "bytes=x-", "bytes=-", "bytes=18446744073709551615-"]
        {
            let expected = if other.ends_with("5-") { Asked::Impossible } else { Asked::All };
            assert_eq!(of(other), expected, "{other}");
        }
        assert_eq!(of("bytes=0-18446744073709551615"), Asked::Part(0..10));
    }

    #[test]
    fn a_name_can_do_nothing() {
        let told = disposition("a\"; x=\r\n../ä.txt");
        assert_eq!(
            told,
            "attachment; filename=\"a__ x___.._\u{5f}.txt\"; filename*=UTF-8''a%22%3B%20x%3D%0D%0A..%2F%C3%A4.txt"
        );
        assert!(HeaderValue::try_from(told).is_ok());
    }
}
