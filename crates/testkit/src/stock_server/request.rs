//! Requests as they came in.

use serde_json::Value;
use std::io::{self, BufRead, Read};
use std::time::Instant;

/// The longest head and the longest body that are read.
const LONGEST_HEAD: u64 = 64 << 10;
const LONGEST_BODY: u64 = 256 << 20;

/// A request, byte for byte.
#[derive(Debug, Clone)]
pub struct Request {
    /// Such as `POST`.
    pub method: String,
    /// Path and query as they were sent.
    pub target: String,
    /// Names and values as they were sent, in their order.
    pub headers: Vec<(String, String)>,
    /// The body without its transfer coding.
    pub body: Vec<u8>,
    /// When all of it was there.
    pub at: Instant,
}

impl Request {
    /// The next request of a connection; none when the client has closed it.
    pub(super) fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let Some(head) = read_head(from)? else { return Ok(None) };
        let mut lines = head.lines();
        let first: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
        let [method, target, "HTTP/1.1"] = first[..] else { return Err(bad("its first line")) };
        let headers = lines
            .map(|line| {
                let (name, value) = line.split_once(':').ok_or_else(|| bad("a header without a colon"))?;
                Ok((name.to_owned(), value.trim().to_owned()))
            })
            .collect::<io::Result<_>>()?;
        let mut request = Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers,
            body: Vec::new(),
            at: Instant::now(),
        };
        request.body = match (request.header("transfer-encoding"), request.header("content-length")) {
            (Some("chunked"), _) => read_chunks(from)?,
            (Some(_), _) => return Err(bad("a transfer coding other than chunked")),
            (None, Some(length)) => {
                read_exactly(from, length.parse().map_err(|_| bad("its content-length"))?)?
            }
            (None, None) => Vec::new(),
        };
        request.at = Instant::now();
        Ok(Some(request))
    }

    /// A header's value, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Which call it is: the last segment of a queue call, `ping` for a heartbeat without jobs and metrics, as an
    /// idle one for several queues may be as well, `file` for a download, `info/refs` and `git-upload-pack` for
    /// git, else the path.
    pub fn call(&self) -> &str {
        let path = self.path();
        let last = path.rsplit('/').next().unwrap_or_default();
        match () {
            () if path.contains("/.executors/queue/") && last == "heartbeat" => {
                let body = self.json();
                let names_jobs = ["jobIds", "jobIdsByQueue"].iter().any(|key| body.get(key).is_some());
                if names_jobs || body["prometheusMetrics"] != "" { last } else { "ping" }
            }
            () if path.contains("/.executors/queue/") => last,
            () if path.contains("/.executors/files/") => "file",
            () if path.contains("/.executors/git/") && path.ends_with("/info/refs") => "info/refs",
            () if path.contains("/.executors/git/") => last,
            () => path,
        }
    }

    /// The body as JSON, `null` if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn read_head(from: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut head = Vec::new();
    let mut bounded = from.take(LONGEST_HEAD);
    while !head.ends_with(b"\r\n\r\n") {
        if bounded.read_until(b'\n', &mut head)? == 0 {
            return if head.is_empty() { Ok(None) } else { Err(bad("a head without an end")) };
        }
    }
    let text = String::from_utf8(head).map_err(|_| bad("a head that is not UTF-8"))?;
    Ok(Some(text.trim_end().to_owned()))
}

fn read_chunks(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        from.take(LONGEST_HEAD).read_line(&mut line)?;
        let length = u64::from_str_radix(line.trim_end(), 16).map_err(|_| bad("the length of a chunk"))?;
        if body.len() as u64 + length > LONGEST_BODY {
            return Err(bad("a body that is too long"));
        }
        body.append(&mut read_exactly(from, length)?);
        from.take(2).read_until(b'\n', &mut Vec::new())?;
        if length == 0 {
            return Ok(body);
        }
    }
}

fn read_exactly(from: &mut impl BufRead, length: u64) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if length > LONGEST_BODY || from.take(length).read_to_end(&mut body)? as u64 != length {
        return Err(bad("a body that is too long or cut short"));
    }
    Ok(body)
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a request has a fault: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_one_after_the_other() {
        let mut bytes: &[u8] = b"POST /base/.executors/queue/batches/dequeue?a=b HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}\
            POST /.executors/git/a/b/git-upload-pack HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n";
        let first = Request::read(&mut bytes).unwrap().unwrap();
        assert_eq!(
            (first.call(), first.header("content-length"), first.text()),
            ("dequeue", Some("2"), "{}".into())
        );
        assert_eq!(first.path(), "/base/.executors/queue/batches/dequeue");
        let second = Request::read(&mut bytes).unwrap().unwrap();
        assert_eq!((second.call(), second.text()), ("git-upload-pack", "abcd".into()));
        assert!(Request::read(&mut bytes).unwrap().is_none());
    }

    #[test]
    fn a_request_that_is_cut_short_is_a_fault() {
        for text in ["GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc", "GET /\r\n\r\n"]
        {
            assert!(Request::read(&mut text.as_bytes()).is_err(), "{text}");
        }
    }
}
