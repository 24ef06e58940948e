//! Long answers, piece by piece.

use super::Client;
use crate::exit::Failure;
use bytes::Bytes;
use reqwest::{Method, Response};
use std::time::Duration;
use tokio::time::timeout;

/// How long a download may stand still.
const IDLE: Duration = Duration::from_mins(2);

/// An answer that is being read.
pub(crate) struct Download {
    client: Client,
    response: Response,
    /// Bytes that are still to come, if it was told.
    left: Option<u64>,
}

impl Client {
    /// Begins to read a long answer.
    pub(crate) async fn download(&self, path: &str) -> Result<Download, Failure> {
        let sent = timeout(IDLE, self.send(self.request(Method::GET, path))).await;
        let response = sent.map_err(|_| self.stands_still())??;
        let left = response.content_length();
        Ok(Download { client: self.clone(), response, left })
    }

    fn stands_still(&self) -> Failure {
        Failure::system(format!("{} has sent nothing for {} s: try again", self.base, IDLE.as_secs()))
    }
}

impl Download {
    /// The next piece; `None` at the end, which is not taken for one before all is there.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let chunk = timeout(IDLE, self.response.chunk()).await.map_err(|_| self.client.stands_still())?;
        let chunk = chunk.map_err(|fault| self.client.unreadable(&fault))?;
        let length = chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        self.left = self.left.map(|left| left.saturating_sub(length));
        match (chunk, self.left) {
            (None, Some(1..)) => {
                Err(Failure::system(format!("the answer of {} was cut off: try again", self.client.base)))
            }
            (chunk, _) => Ok(chunk),
        }
    }
}
