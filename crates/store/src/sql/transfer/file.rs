//! The file between two databases: a line of JSON says what it is, one line is each row, and the last one proves that
//! nothing is missing and nothing was changed on the way.

use super::TransferError;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{BufRead, Read, Write};

/// Bytes of a line at most: the largest thing in a row is a job's specification.
const MAX_LINE: u64 = 64 << 20;
/// How such files are written now.
const FORMAT: u32 = 1;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    #[serde(rename = "executorExport")]
    format: u32,
    /// The latest change of the schema that the rows are in.
    schema: String,
}

/// The last line.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct End {
    /// How many rows of each table there are.
    pub(super) rows: BTreeMap<String, u64>,
    /// The latest number that each table gave, where it numbers its rows.
    pub(super) last: BTreeMap<String, i64>,
    /// SHA-256 of all lines before this one.
    sha256: String,
}

#[derive(Deserialize)]
struct EndLine {
    end: End,
}

/// Writes such a file.
pub(super) struct Sink<'w> {
    out: &'w mut (dyn Write + Send),
    digest: Sha256,
}

impl<'w> Sink<'w> {
    pub(super) fn begin(out: &'w mut (dyn Write + Send), schema: &str) -> Result<Self, TransferError> {
        let mut sink = Self { out, digest: Sha256::new() };
        let head = serde_json::to_string(&Head { format: FORMAT, schema: schema.to_owned() });
        sink.line(&head.map_err(TransferError::json)?)?;
        Ok(sink)
    }

    /// Adds a row, which is JSON in one line already.
    pub(super) fn row(&mut self, table: &str, row: &str) -> Result<(), TransferError> {
        self.line(&format!("{{\"{table}\":{row}}}"))
    }

    pub(super) fn end(mut self, end: End) -> Result<(), TransferError> {
        let sha256 = hex::encode(self.digest.clone().finalize());
        let line = serde_json::json!({ "end": End { sha256, ..end } }).to_string();
        self.line(&line)?;
        self.out.flush().map_err(TransferError::Output)
    }

    fn line(&mut self, line: &str) -> Result<(), TransferError> {
        for bytes in [line.as_bytes(), b"\n"] {
            self.digest.update(bytes);
            self.out.write_all(bytes).map_err(TransferError::Output)?;
        }
        Ok(())
    }
}

/// Reads such a file.
pub(super) struct Source<'r> {
    input: &'r mut (dyn BufRead + Send),
    digest: Sha256,
    line: u64,
    text: Vec<u8>,
}

/// A line of it.
pub(super) enum Line {
    Row { table: String, row: Box<RawValue> },
    End(End),
}

impl<'r> Source<'r> {
    /// Refuses what was written by a version with another schema.
    pub(super) fn begin(input: &'r mut (dyn BufRead + Send), schema: &str) -> Result<Self, TransferError> {
        let mut source = Self { input, digest: Sha256::new(), line: 0, text: Vec::new() };
        source.read()?;
        let head: Head = serde_json::from_slice(&source.text).map_err(|_| TransferError::NoExport)?;
        if head.format != FORMAT || head.schema != schema {
            return Err(TransferError::OtherVersion { theirs: head.schema, ours: schema.to_owned() });
        }
        source.digest.update(&source.text);
        Ok(source)
    }

    /// The next line. The last one was proved when it comes.
    pub(super) fn next(&mut self) -> Result<Line, TransferError> {
        self.read()?;
        if self.text.starts_with(b"{\"end\":") {
            let EndLine { end } = serde_json::from_slice(&self.text).map_err(|fault| self.broken(&fault))?;
            if end.sha256 != hex::encode(self.digest.clone().finalize()) {
                return Err(TransferError::Changed);
            }
            return Ok(Line::End(end));
        }
        self.digest.update(&self.text);
        let row: BTreeMap<String, Box<RawValue>> =
            serde_json::from_slice(&self.text).map_err(|fault| self.broken(&fault))?;
        let mut row = row.into_iter();
        match (row.next(), row.next()) {
            (Some((table, row)), None) => Ok(Line::Row { table, row }),
            _ => Err(self.broken(&"it is not one row")),
        }
    }

    pub(super) fn broken(&self, fault: &dyn std::fmt::Display) -> TransferError {
        TransferError::Line { line: self.line, fault: fault.to_string() }
    }

    fn read(&mut self) -> Result<(), TransferError> {
        self.text.clear();
        self.line += 1;
        let read = (&mut *self.input).take(MAX_LINE).read_until(b'\n', &mut self.text);
        read.map_err(TransferError::Input)?;
        if self.text.last() != Some(&b'\n') {
            let ends = "the file ends here, before its last line: it is not whole";
            let long = format!("it is longer than {MAX_LINE} bytes");
            let fault: &dyn std::fmt::Display =
                if self.text.len() as u64 == MAX_LINE { &long } else { &ends };
            return Err(self.broken(fault));
        }
        Ok(())
    }
}
