//! How fast secrets are looked for, on one core, and what memory the longest takes whose forms are made ready: `cargo bench -p
//! jobs`.

#![expect(clippy::print_stdout, reason = "the figures are what this is for")]

use jobs::Redactor;
use jobs::redact::LONG_SECRET;
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;

const SECRETS: u64 = 20;
/// Bytes of one secret.
const LENGTH: usize = 40;
/// How long one figure is measured, in seconds of the processor.
const TIME: f64 = 1.0;
const WORDS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// `length` characters of base64, the same for the same seed.
fn random(seed: u64, length: usize) -> String {
    random_of(WORDS, seed, length)
}

fn random_of(characters: &[u8], seed: u64, length: usize) -> String {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(characters[(state >> 33) as usize % characters.len()])
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// Seconds that this thread has had a processor for.
fn used() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The most memory that this process ever had, in bytes.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let told = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next());
    told.and_then(|kib| kib.parse::<f64>().ok()).map_or(f64::NAN, |kib| kib * 1024.0)
}

/// Of nothing else yet, so that what is used again does not hide it.
fn memory_of_a_long_secret() {
    let printable: Vec<u8> = (b' '..=b'~').collect();
    let secret = random_of(&printable, 0, LONG_SECRET);
    let before = peak();
    black_box(Redactor::new([(secret.as_str(), "[hidden]")]));
    println!("a secret of {LONG_SECRET} printable characters: {:.0} MB at most", (peak() - before) / 1e6);
}

fn main() {
    memory_of_a_long_secret();
    let secrets: Vec<String> = (1..=SECRETS).map(|seed| random(seed, LENGTH)).collect();
    let begun = used();
    let redactor = Redactor::new(secrets.iter().map(|secret| (secret.as_str(), "[hidden]")));
    println!("{SECRETS} secrets of {LENGTH} bytes: ready in {:.1} ms", (used() - begun) * 1e3);
    let prose = "a line of a log, about eighty bytes long, with nothing secret in it, really.\n".repeat(700);
    let base64 = (0..700).map(|seed| random(seed, 76) + "\n").collect::<String>();
    let secret = format!("{}{}\n", &prose[..76], secrets[0]).repeat(400);
    for (name, text) in [("prose", prose), ("base64", base64), ("a secret in every line", secret)] {
        for piece in [64 << 10, 100] {
            let (mut stream, mut out, mut bytes) = (redactor.stream(), Vec::new(), 0);
            let begun = used();
            while used() - begun < TIME {
                text.as_bytes().chunks(piece).for_each(|piece| stream.push(piece, &mut out));
                bytes += text.len();
                black_box(&out);
                out.clear();
            }
            let rate = bytes as f64 / 1e6 / (used() - begun);
            println!("  {name}, in writes of {piece} bytes: {rate:.0} MB/s");
        }
    }
}
