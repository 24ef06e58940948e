//! From a download, which waits, to unpacking, which blocks.

use bytes::Bytes;
use std::io::{self, Read};
use tokio::sync::mpsc;

/// Chunks under way: enough to keep both sides busy, few enough for memory.
const CHUNKS: usize = 16;

/// The end that waits.
pub(super) struct Sender(mpsc::Sender<Message>);

/// The end that blocks.
pub(super) struct Reader {
    messages: mpsc::Receiver<Message>,
    chunk: Bytes,
    ended: bool,
}

enum Message {
    Chunk(Bytes),
    /// A sender that is dropped without this was cancelled, and what it sent is not whole.
    End,
}

pub(super) fn pipe() -> (Sender, Reader) {
    let (sender, messages) = mpsc::channel(CHUNKS);
    (Sender(sender), Reader { messages, chunk: Bytes::new(), ended: false })
}

impl Sender {
    /// Whether the reader still listens.
    pub(super) async fn send(&self, chunk: Bytes) -> bool {
        self.0.send(Message::Chunk(chunk)).await.is_ok()
    }

    pub(super) async fn end(self) {
        // A reader that is gone has failed and says why itself.
        let _ = self.0.send(Message::End).await;
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() && !self.ended {
            match self.messages.blocking_recv() {
                Some(Message::Chunk(chunk)) => self.chunk = chunk,
                Some(Message::End) => self.ended = true,
                None => {
                    return Err(io::Error::new(
                        io::ErrorKind::ConnectionAborted,
                        "the download was given up",
                    ));
                }
            }
        }
        let taken = self.chunk.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&self.chunk.split_to(taken));
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_an_ended_stream_is_whole() {
        for end in [true, false] {
            let (sender, mut reader) = pipe();
            let reading = tokio::task::spawn_blocking(move || {
                let mut all = Vec::new();
                reader.read_to_end(&mut all).map(|_| all)
            });
            assert!(sender.send(Bytes::from_static(b"one ")).await);
            assert!(sender.send(Bytes::from_static(b"two")).await);
            if end {
                sender.end().await;
            } else {
                drop(sender);
            }
            let read = reading.await.expect("the reader lives");
            assert_eq!(read.ok().as_deref(), end.then_some(&b"one two"[..]));
        }
    }
}
