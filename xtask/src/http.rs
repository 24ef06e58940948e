//! Just enough HTTP to talk to a server on this machine, so that this program builds quickly.

use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long to wait for an answer.
const TIMEOUT: Duration = Duration::from_mins(2);

/// A server and the right to use it.
pub(crate) struct Api {
    address: String,
    token: String,
}

impl Api {
    pub(crate) fn new(url: &str, token: String) -> Result<Self> {
        let address = url.strip_prefix("http://").with_context(|| format!("{url} is not http"))?;
        Ok(Self { address: address.trim_end_matches('/').to_owned(), token })
    }

    pub(crate) fn get(&self, path: &str) -> Result<serde_json::Value> {
        Ok(serde_json::from_str(&self.call("GET", path, "")?)?)
    }

    pub(crate) fn get_text(&self, path: &str) -> Result<String> {
        self.call("GET", path, "")
    }

    pub(crate) fn post(&self, path: &str, body: &serde_json::Value) -> Result<serde_json::Value> {
        Ok(serde_json::from_str(&self.call("POST", path, &body.to_string())?)?)
    }

    fn call(&self, method: &str, path: &str, body: &str) -> Result<String> {
        let mut stream =
            TcpStream::connect(&self.address).with_context(|| format!("no answer from {}", self.address))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let Self { address, token } = self;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer without a head")?;
        let status = head.split(' ').nth(1).unwrap_or_default();
        if !status.starts_with('2') {
            bail!("{method} {path} answered {status}: {body}");
        }
        Ok(body.to_owned())
    }
}
