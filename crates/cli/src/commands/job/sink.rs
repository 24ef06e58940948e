//! Where a job's text is printed to.

use crate::exit::Failure;
use crate::terminal::Sanitizer;
use std::io::{BufWriter, Write};

/// Bytes that are written at once.
const BUFFER: usize = 64 << 10;

/// One of our streams, buffered. On a terminal, control sequences are taken out.
pub(super) struct Sink {
    sanitizer: Option<Sanitizer>,
    stream: BufWriter<Box<dyn Write + Send>>,
}

impl Sink {
    pub(super) fn new(terminal: bool, stream: Box<dyn Write + Send>) -> Self {
        Self {
            sanitizer: terminal.then(Sanitizer::default),
            stream: BufWriter::with_capacity(BUFFER, stream),
        }
    }

    pub(super) fn write(&mut self, text: &str) -> Result<(), Failure> {
        let clean = self.sanitizer.as_mut().map(|sanitizer| sanitizer.clean(text));
        done(self.stream.write_all(clean.as_deref().unwrap_or(text).as_bytes()))
    }

    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        done(self.stream.flush())
    }
}

/// A reader that went away is no fault of ours.
fn done(written: std::io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(fault) if fault.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::system(format!("the output can't be written: {fault}")))
        }
        _ => Ok(()),
    }
}
