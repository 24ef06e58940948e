//! The text of one entry until it is delivered: in memory while it is small, then in a file
//! without a name, and of what goes beyond the limit, its own or its job's, only the end.

use super::quota::{Quota, Share};
use super::tail::Tail;
use crate::text::begin;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

/// Text up to this length needs no file.
const IN_MEMORY: usize = 16 << 10;
/// How much of the end is kept of a text that is too long.
const LONGEST_TAIL: u64 = 64 << 10;
/// Room for the marker line.
const MARKER: u64 = 512;

/// Grows at its end and can be read anywhere.
#[derive(Debug)]
pub(super) struct Spool {
    dir: PathBuf,
    limit: u64,
    /// How much is kept from the beginning.
    head_limit: u64,
    head: Head,
    head_len: u64,
    head_ends_line: bool,
    /// What did not fit into the head any more.
    tail: Option<Tail>,
    /// What its file may take of the disk.
    share: Share,
    /// Why the head takes no more, if it is not for its limit.
    stopped: Option<Stopped>,
    /// Marker and tail, once the text is complete.
    epilogue: String,
}

#[derive(Debug)]
enum Stopped {
    /// Its job's texts take all that they may together.
    Quota,
    Fault(io::Error),
}

#[derive(Debug)]
enum Head {
    Memory(Vec<u8>),
    /// Unlinked from the start: it can't outlive us and nobody else can open it.
    File(File),
    /// From byte `begin` on, at `at` in a file that has more than this text.
    Kept {
        file: Arc<File>,
        at: u64,
        begin: u64,
    },
}

impl Spool {
    /// An empty text of at most `limit` bytes, markers included, with files in `dir` that take of `quota`.
    pub(super) fn new(dir: PathBuf, limit: u64, quota: &Quota) -> Self {
        let tail = tail_limit(limit);
        Self {
            dir,
            limit,
            head_limit: limit.saturating_sub(tail + MARKER),
            head: Head::Memory(Vec::new()),
            head_len: 0,
            head_ends_line: true,
            tail: None,
            share: quota.share(),
            stopped: None,
            epilogue: String::new(),
        }
    }

    /// A text of `len` bytes that was kept from its byte `begin` on, at `at` in `file`. It takes no more.
    pub(super) fn kept(file: Arc<File>, at: u64, begin: u64, len: u64) -> Self {
        let head = Head::Kept { file, at, begin };
        Self { head, head_len: len, head_limit: len, ..Self::new(PathBuf::new(), 0, &Quota::new(0)) }
    }

    /// How much can be read.
    pub(super) fn len(&self) -> u64 {
        self.head_len + self.epilogue.len() as u64
    }

    pub(super) fn push(&mut self, text: &str) {
        let rest = match self.tail {
            Some(_) => text,
            None => self.push_head(text),
        };
        if !rest.is_empty() {
            let limit = tail_limit(self.limit) as usize;
            self.tail.get_or_insert_with(|| Tail::new(limit)).push(rest);
        }
    }

    /// The text is complete: what was left out is told, and the end of it follows.
    pub(super) fn finish(&mut self) {
        let Some(tail) = self.tail.take() else { return };
        let (left_out, end) = tail.into_end();
        if !self.head_ends_line {
            self.epilogue.push('\n');
        }
        if left_out > 0 {
            let why = match &self.stopped {
                None => format!("the limit is {} bytes", self.limit),
                Some(Stopped::Quota) => {
                    let all = self.share.quota().limit();
                    format!("the limit of what waits of a job's whole log is {all} bytes")
                }
                Some(Stopped::Fault(fault)) => format!("they could not be stored: {fault}"),
            };
            let marker = format!("[executor: {left_out} bytes of output are left out here; {why}]\n");
            self.epilogue.push_str(&marker);
        }
        self.epilogue.push_str(&end);
    }

    /// The text from `offset` on, at most `limit` bytes, cut at a character's end.
    pub(super) fn read(&self, offset: u64, limit: usize) -> io::Result<String> {
        let bytes = if offset < self.head_len {
            let len = usize::try_from(self.head_len - offset).map_or(limit, |rest| rest.min(limit));
            self.read_head(offset, len)?
        } else {
            let start = usize::try_from(offset - self.head_len).unwrap_or(usize::MAX);
            let rest = self.epilogue.as_bytes().get(start..).unwrap_or_default();
            rest[..rest.len().min(limit)].to_vec()
        };
        cut_at_character(bytes)
    }

    /// Appends to the head and gives back what does not fit.
    fn push_head<'a>(&mut self, text: &'a str) -> &'a str {
        let room = usize::try_from(self.head_limit - self.head_len).unwrap_or(usize::MAX);
        let wanted = begin(text, room).len();
        let granted = self.grant(wanted);
        let (fits, rest) = text.split_at(begin(text, granted).len());
        if let Err(fault) = self.write_head(fits.as_bytes()) {
            // A full or broken disk of ours is no reason to fail a job; its log has a hole then.
            tracing::warn!(%fault, "failed to spool log text; only its end is kept from here on");
            self.stop(Stopped::Fault(fault));
            return text;
        }
        self.head_len += fits.len() as u64;
        if granted < wanted {
            self.stop(Stopped::Quota);
        }
        if let Some(last) = fits.as_bytes().last() {
            self.head_ends_line = *last == b'\n';
        }
        rest
    }

    /// How many of `wanted` more bytes there is room for: what stays in memory takes nothing of the disk.
    fn grant(&mut self, wanted: usize) -> usize {
        let needed = self.head_len + wanted as u64;
        let in_memory = if matches!(self.head, Head::Memory(_)) { IN_MEMORY as u64 } else { 0 };
        if needed <= in_memory {
            return wanted;
        }
        let granted = self.share.grow_to(needed).max(in_memory).min(needed) - self.head_len;
        usize::try_from(granted).unwrap_or(wanted)
    }

    /// The head takes no more.
    fn stop(&mut self, why: Stopped) {
        self.stopped = Some(why);
        self.head_limit = self.head_len;
    }

    fn write_head(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.head {
            Head::Memory(memory) if memory.len() + bytes.len() <= IN_MEMORY => {
                memory.extend_from_slice(bytes);
                Ok(())
            }
            Head::Memory(memory) => {
                let file = tempfile::tempfile_in(&self.dir)?;
                file.write_all_at(memory, 0)?;
                file.write_all_at(bytes, self.head_len)?;
                self.head = Head::File(file);
                Ok(())
            }
            Head::File(file) => file.write_all_at(bytes, self.head_len),
            Head::Kept { .. } if bytes.is_empty() => Ok(()),
            Head::Kept { .. } => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
        }
    }

    fn read_head(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        match &self.head {
            Head::Memory(memory) => Ok(memory[offset as usize..offset as usize + len].to_vec()),
            Head::File(file) => {
                let mut bytes = vec![0; len];
                file.read_exact_at(&mut bytes, offset)?;
                Ok(bytes)
            }
            Head::Kept { file, at, begin } => {
                let after = offset.checked_sub(*begin).ok_or_else(|| {
                    io::Error::other(format!(
                        "the text was kept from byte {begin} on only, not from {offset}"
                    ))
                })?;
                let mut bytes = vec![0; len];
                file.read_exact_at(&mut bytes, at + after)?;
                Ok(bytes)
            }
        }
    }
}

fn tail_limit(limit: u64) -> u64 {
    LONGEST_TAIL.min(limit / 4)
}

fn cut_at_character(mut bytes: Vec<u8>) -> io::Result<String> {
    if let Err(fault) = std::str::from_utf8(&bytes)
        && fault.error_len().is_none()
    {
        bytes.truncate(fault.valid_up_to());
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("the offset is inside a character"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spool(limit: u64) -> Spool {
        Spool::new(std::env::temp_dir(), limit, &Quota::new(u64::MAX))
    }

    fn all(spool: &Spool, piece: usize) -> String {
        let mut text = String::new();
        while (text.len() as u64) < spool.len() {
            text += &spool.read(text.len() as u64, piece).unwrap();
        }
        text
    }

    #[test]
    fn text_is_read_back_as_it_was_written_from_memory_and_from_the_file() {
        for lines in [10, 10_000] {
            let mut spool = spool(1 << 30);
            let mut expect = String::new();
            for n in 0..lines {
                let line = format!("stdout: zeile ü {n}\n");
                spool.push(&line);
                expect += &line;
            }
            spool.finish();
            assert!(all(&spool, 1_001) == expect);
        }
    }

    #[test]
    fn beyond_the_limit_the_end_is_kept_and_the_hole_is_told() {
        let limit = 100_000;
        let mut spool = spool(limit);
        let mut total = 0;
        for n in 0..100_000 {
            let line = format!("stdout: line {n}\n");
            total += line.len() as u64;
            spool.push(&line);
        }
        spool.finish();
        let text = all(&spool, 4_096);
        assert!(text.len() as u64 <= limit, "{} bytes", text.len());
        let (head, rest) = text.split_once("[executor: ").unwrap();
        let (marker, tail) = rest.split_once('\n').unwrap();
        let left_out: u64 = marker.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(
            marker,
            format!("{left_out} bytes of output are left out here; the limit is 100000 bytes]")
        );
        let shown = head.trim_end_matches('\n').len() + tail.len();
        assert!(
            total - left_out - shown as u64 <= 1,
            "the count is right, give or take the cut line's newline"
        );
        assert!(tail.starts_with("stdout: line ") && tail.ends_with("stdout: line 99999\n"), "{tail}");
    }

    #[test]
    fn a_disk_that_takes_nothing_leaves_a_hole_and_no_error() {
        let mut spool = Spool::new("/nowhere/at/all".into(), 1 << 20, &Quota::new(u64::MAX));
        spool.push(&"x".repeat(1_000));
        for _ in 0..1_000 {
            spool.push(&format!("{}\n", "y".repeat(1_000)));
        }
        spool.finish();
        let text = all(&spool, 1 << 20);
        assert!(text.contains("they could not be stored: "), "{}", &text[..2_000]);
    }

    #[test]
    fn texts_that_share_a_quota_keep_their_beginning_and_their_end() {
        let quota = Quota::new(200_000);
        let written = |name: &str| {
            let mut spool = Spool::new(std::env::temp_dir(), 1 << 20, &quota);
            for n in 0..20_000 {
                spool.push(&format!("stdout: {name} {n}\n"));
            }
            spool.finish();
            spool
        };
        let spools = ["one", "two", "three"].map(written);
        let [one, two, three] = spools.each_ref().map(|spool| all(spool, 4_096));
        let marker = "bytes of output are left out here; the limit of what waits of a job's whole log is 200000 bytes]\n";
        assert!(one.starts_with("stdout: one 0\n") && one.len() > 190_000, "{} bytes", one.len());
        for (name, text) in [("one", &one), ("two", &two), ("three", &three)] {
            assert!(text.starts_with(&format!("stdout: {name} 0\n")), "{name}");
            assert!(text.ends_with(&format!("stdout: {name} 19999\n")), "{name}");
            assert!(text.contains(marker), "{name}");
        }
        let on_disk = |spool: &Spool| match &spool.head {
            Head::File(file) => file.metadata().unwrap().len(),
            _ => 0,
        };
        let taken: u64 = spools.iter().map(on_disk).sum();
        assert!((190_000..=200_000).contains(&taken), "{taken}");
        assert!(two.len() > IN_MEMORY && two.len() < 100_000, "{} bytes", two.len());
        drop(spools);
        assert_eq!(quota.free(), quota.limit(), "what was delivered makes room");
    }

    #[test]
    fn a_short_text_needs_nothing_of_the_quota() {
        let mut spool = Spool::new(std::env::temp_dir(), 1 << 20, &Quota::new(0));
        spool.push("all of it\n");
        spool.finish();
        assert_eq!(all(&spool, 4_096), "all of it\n");
    }
}
