use crate::harness::{Bench, NoProgress, step};
use images::Progress;
use runtimes::{ExitStatus, Limits, Output, RuntimeError, Stream};
use std::io;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Counts bytes and sums them up, so that no byte may change or move between streams.
#[derive(Default)]
struct Tally {
    lengths: [u64; 2],
    largest: usize,
    odd: u64,
    expected: u8,
    fail_after: Option<u64>,
}

#[async_trait::async_trait]
impl Output for Tally {
    async fn write(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        let total = &mut self.lengths[usize::from(stream == Stream::Stderr)];
        *total += bytes.len() as u64;
        self.largest = self.largest.max(bytes.len());
        self.odd += bytes.iter().filter(|byte| **byte != self.expected).count() as u64;
        match self.fail_after {
            Some(limit) if *total > limit => Err(io::Error::other("the log is full")),
            _ => Ok(()),
        }
    }

    fn progress(&self) -> &dyn Progress {
        &NoProgress
    }
}

pub(crate) async fn both_streams_are_exact(bench: &mut Bench) {
    let mut sandbox = bench.open(Limits::default()).await;
    let ran = sandbox.try_sh(r"printf 'a\0\377b\r\n'; printf 'err\0\200' >&2").await;
    assert_eq!(
        (ran.stdout.as_bytes()[..2].to_vec(), ran.stderr.starts_with("err\0")),
        (b"a\0".to_vec(), true)
    );
    sandbox.close().await;
}

pub(crate) async fn a_long_line_and_much_output_pass(bench: &mut Bench) {
    let mut sandbox = bench.open(Limits::default()).await;
    for (mebibytes, redirect) in [(64_u64, ""), (200, ">&2")] {
        let script = format!("head -c {} /dev/zero | tr '\\0' x {redirect}", mebibytes << 20);
        let mut tally = Tally { expected: b'x', ..Tally::default() };
        let exit =
            sandbox.0.run(step(&["sh", "-c", &script]), &mut tally, &CancellationToken::new()).await.unwrap();
        assert_eq!(exit.status, ExitStatus::Code(0));
        assert_eq!(tally.lengths.iter().sum::<u64>(), mebibytes << 20);
        assert_eq!(tally.lengths[usize::from(!redirect.is_empty())], mebibytes << 20);
        assert!(tally.odd == 0 && tally.largest <= 64 << 10);
    }
    sandbox.close().await;
}

pub(crate) async fn an_output_that_fails_ends_the_step(bench: &mut Bench) {
    let mut sandbox = bench.open(Limits::default()).await;
    let mut tally = Tally { expected: b'x', fail_after: Some(1 << 20), ..Tally::default() };
    let begun = Instant::now();
    let endless = step(&["sh", "-c", "cat /dev/zero | tr '\\0' x"]);
    let failed = sandbox.0.run(endless, &mut tally, &CancellationToken::new()).await;
    assert!(matches!(failed, Err(RuntimeError::Io { .. })), "{failed:?}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    sandbox.sh("true").await;
    sandbox.close().await;
}
