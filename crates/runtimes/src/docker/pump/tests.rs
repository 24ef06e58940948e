use super::*;
use crate::Stream;
use images::Progress;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

struct Counted {
    answer: Paused,
    paused: AtomicUsize,
    went_on: AtomicUsize,
}

impl Counted {
    fn new(answer: Paused) -> Self {
        Self { answer, paused: AtomicUsize::new(0), went_on: AtomicUsize::new(0) }
    }

    fn counts(&self) -> (usize, usize) {
        (self.paused.load(Ordering::SeqCst), self.went_on.load(Ordering::SeqCst))
    }
}

#[async_trait]
impl Brake for Counted {
    async fn pause(&self) -> Paused {
        self.paused.fetch_add(1, Ordering::SeqCst);
        self.answer
    }

    async fn go_on(&self) {
        self.went_on.fetch_add(1, Ordering::SeqCst);
    }
}

/// Takes nothing until it may.
struct Gate {
    open: CancellationToken,
    bytes: usize,
    fail: bool,
}

impl Progress for Gate {
    fn line(&self, _: &str) {}
}

#[async_trait]
impl Output for Gate {
    async fn write(&mut self, _: Stream, bytes: &[u8]) -> io::Result<()> {
        self.open.cancelled().await;
        self.bytes += bytes.len();
        if self.fail { Err(io::Error::other("the log is full")) } else { Ok(()) }
    }

    fn progress(&self) -> &dyn Progress {
        self
    }
}

fn gate(open: &CancellationToken) -> Gate {
    Gate { open: open.clone(), bytes: 0, fail: false }
}

const PIECE: usize = 32 << 10;

/// Writes `pieces`, and ends.
async fn write(mut wire: DuplexStream, pieces: usize) {
    let mut frame = vec![1, 0, 0, 0];
    frame.extend((PIECE as u32).to_be_bytes());
    frame.extend(vec![b'x'; PIECE]);
    for _ in 0..pieces {
        if wire.write_all(&frame).await.is_err() {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_keeps_up_never_pauses_the_step() {
    let (theirs, ours) = duplex(PIECE);
    let (brake, open) = (Counted::new(Paused::Yes), CancellationToken::new());
    open.cancel();
    let mut out = gate(&open);
    let released = CancellationToken::new();
    let (pumped, ()) = tokio::join!(pump(ours, &mut out, &brake, &released), write(theirs, 500));
    pumped.unwrap();
    assert_eq!((out.bytes, brake.counts()), (500 * PIECE, (0, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_stands_still_pauses_the_step_and_everything_is_read() {
    let (theirs, ours) = duplex(PIECE);
    let (brake, open) = (Counted::new(Paused::Yes), CancellationToken::new());
    let mut out = gate(&open);
    let released = CancellationToken::new();
    // More than is held back: what was on its way when the step was paused must not wait.
    let pieces = (HIGH + (1 << 20)) / PIECE;
    let writer = async {
        write(theirs, pieces).await;
        let before = brake.counts();
        open.cancel();
        before
    };
    let (pumped, before) = tokio::join!(pump(ours, &mut out, &brake, &released), writer);
    pumped.unwrap();
    assert_eq!(before, (1, 0));
    assert_eq!(out.bytes, pieces * PIECE);
}

#[tokio::test(start_paused = true)]
async fn a_step_goes_on_when_the_receiver_has_caught_up() {
    let (theirs, ours) = duplex(PIECE);
    let (brake, open) = (Counted::new(Paused::Yes), CancellationToken::new());
    let mut out = gate(&open);
    let released = CancellationToken::new();
    let writer = async {
        let (mut theirs, first) = (theirs, HIGH / PIECE + 1);
        let mut frame = vec![2, 0, 0, 0];
        frame.extend((PIECE as u32).to_be_bytes());
        frame.extend(vec![b'x'; PIECE]);
        for _ in 0..first {
            theirs.write_all(&frame).await.unwrap();
        }
        while brake.counts() != (1, 0) {
            tokio::time::sleep(PATIENCE).await;
        }
        open.cancel();
        while brake.counts() != (1, 1) {
            tokio::time::sleep(PATIENCE).await;
        }
        first
    };
    let (pumped, first) = tokio::join!(pump(ours, &mut out, &brake, &released), writer);
    pumped.unwrap();
    assert_eq!(out.bytes, first * PIECE);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_shall_end_is_let_go_and_not_paused_again() {
    let (theirs, ours) = duplex(PIECE);
    let (brake, open) = (Counted::new(Paused::Yes), CancellationToken::new());
    let mut out = gate(&open);
    let released = CancellationToken::new();
    let ending = async {
        while brake.counts() != (1, 0) {
            tokio::time::sleep(PATIENCE).await;
        }
        released.cancel();
        while brake.counts() != (1, 1) {
            tokio::time::sleep(PATIENCE).await;
        }
        tokio::time::sleep(PATIENCE * 10).await;
        let counts = brake.counts();
        open.cancel();
        counts
    };
    let pieces = 3 * HIGH / PIECE;
    let (pumped, (), counts) =
        tokio::join!(pump(ours, &mut out, &brake, &released), write(theirs, pieces), ending);
    pumped.unwrap();
    assert_eq!((counts, out.bytes), ((1, 1), pieces * PIECE));
}

#[tokio::test(start_paused = true)]
async fn where_nothing_can_be_paused_the_step_waits_by_itself() {
    let (theirs, ours) = duplex(PIECE);
    let (brake, open) = (Counted::new(Paused::No), CancellationToken::new());
    let mut out = gate(&open);
    let released = CancellationToken::new();
    let written = std::sync::atomic::AtomicBool::new(false);
    let writer = async {
        write(theirs, 3 * HIGH / PIECE).await;
        written.store(true, Ordering::SeqCst);
    };
    let opening = async {
        tokio::time::sleep(PATIENCE * 10).await;
        let early = written.load(Ordering::SeqCst);
        open.cancel();
        early
    };
    let (pumped, (), early) = tokio::join!(pump(ours, &mut out, &brake, &released), writer, opening);
    pumped.unwrap();
    assert!(!early, "more was read than may wait");
    assert_eq!(out.bytes, 3 * HIGH / PIECE * PIECE);
}

#[tokio::test(start_paused = true)]
async fn either_end_may_fail() {
    let (theirs, ours) = duplex(PIECE);
    let (brake, open) = (Counted::new(Paused::Yes), CancellationToken::new());
    open.cancel();
    let mut out = Gate { fail: true, ..gate(&open) };
    let released = CancellationToken::new();
    let (pumped, ()) = tokio::join!(pump(ours, &mut out, &brake, &released), write(theirs, 3));
    assert!(matches!(pumped, Err(Cut::Output(_))));

    let (mut theirs, ours) = duplex(PIECE);
    let mut out = gate(&open);
    let cutting = async {
        theirs.write_all(&[1, 0, 0, 0, 0, 0, 0, 9, b'h', b'i']).await.unwrap();
        drop(theirs);
    };
    let (pumped, ()) = tokio::join!(pump(ours, &mut out, &brake, &released), cutting);
    assert!(matches!(pumped, Err(Cut::Engine(_))));
    assert_eq!(out.bytes, 2, "what came before the cut is passed on");
}
