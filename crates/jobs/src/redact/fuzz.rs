//! The redactor against a naive one, and against encoders that know nothing of it.
//!
//! `PROPTEST_CASES=1000000 cargo test -p jobs --release fuzz` tries many more than the usual run.

use super::{Redactor, forms};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use proptest::prelude::*;
use proptest::sample::Index;
use std::cmp::Reverse;

/// Stands where a secret was; in no secret and no text.
const MARK: &str = "\u{1}";

fn redactor(secrets: &[String]) -> Redactor {
    Redactor::new(secrets.iter().map(|secret| (secret.as_str(), MARK)))
}

/// What comes out of a stream that is cut into pieces of these lengths, again and again.
fn streamed(redactor: &Redactor, text: &[u8], lengths: &[usize]) -> Vec<u8> {
    let (mut stream, mut out, mut at) = (redactor.stream(), Vec::new(), 0);
    for length in lengths.iter().cycle() {
        let end = text.len().min(at + length.max(&1));
        stream.push(&text[at..end], &mut out);
        at = end;
        if at == text.len() {
            break;
        }
    }
    stream.finish(&mut out);
    out
}

/// The same by trying every form at every place.
fn naive(secrets: &[String], text: &[u8]) -> Vec<u8> {
    let all: Vec<forms::Forms> = secrets.iter().map(|secret| forms::of(secret)).collect();
    let exact = |at: usize| {
        let all = all.iter().flat_map(|forms| &forms.exact);
        all.filter(move |form| text[at..].starts_with(form)).map(move |form| at + form.len()).max()
    };
    let encoded = |at: usize| {
        let all = all.iter().flat_map(|forms| &forms.encodings);
        let heads = all.flat_map(|one| one.heads().map(|(from, head)| (&one.text()[from..], head.len())));
        heads.filter_map(move |(wanted, head)| end_of(wanted, head, text, at)).max()
    };
    let places = (0..text.len()).filter_map(|at| Some((at, exact(at).max(encoded(at))?)));
    let mut places: Vec<(usize, usize)> = places.collect();
    places.sort_by_key(|(start, end)| (*start, Reverse(*end)));
    let (mut out, mut done) = (Vec::new(), 0);
    for (start, end) in places {
        if start >= done {
            out.extend_from_slice(&text[done..start]);
            out.extend_from_slice(MARK.as_bytes());
        }
        done = done.max(end);
    }
    out.extend_from_slice(&text[done..]);
    out
}

/// Where `wanted` ends that begins at `at` with so much of it on one line, if it does.
fn end_of(wanted: &[u8], head: usize, text: &[u8], mut at: usize) -> Option<usize> {
    if !text[at..].starts_with(&wanted[..head]) {
        return None;
    }
    let (mut next, mut of_line) = (0, 0);
    while next < wanted.len() {
        if text.get(at) == Some(&wanted[next]) {
            (at, next, of_line) = (at + 1, next + 1, of_line + 1);
            continue;
        }
        let rest = text.get(at..)?;
        let newline = if rest.starts_with(b"\n") { 1 } else { 2 };
        if of_line < head || !(rest.starts_with(b"\n") || rest.starts_with(b"\r\n")) {
            return None;
        }
        at += newline;
        at += text[at..].iter().take(16).take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        of_line = 0;
        if wanted[next] == b' ' {
            next += 1;
        }
    }
    Some(at)
}

/// Secrets of which some are in others, begin with the end of others, or have several lines.
fn entangled() -> impl Strategy<Value = Vec<String>> {
    let base = prop_oneof!["[ab]{8,24}", "[a-c\n]{8,40}", "[aü🦀=/'\"\\\\ +\n]{4,16}", "[!-~]{8,32}"];
    let cuts = prop::collection::vec((any::<Index>(), 1..16_usize), 1..4);
    (base, cuts).prop_map(|(base, cuts)| {
        let chars: Vec<char> = base.chars().collect();
        let cut = |(from, length): (Index, usize)| {
            chars[from.index(chars.len())..].iter().take(length).collect::<String>()
        };
        cuts.into_iter().map(cut).collect()
    })
}

/// Pieces of all forms of `secrets`, whole and not, among other things.
fn text_about(secrets: Vec<String>) -> impl Strategy<Value = (Vec<String>, Vec<u8>)> {
    let all: Vec<forms::Forms> = secrets.iter().map(|secret| forms::of(secret)).collect();
    let encodings = all.iter().flat_map(|forms| forms.encodings.iter().map(|one| one.text().to_vec()));
    let known: Vec<Vec<u8>> =
        all.iter().flat_map(|forms| forms.exact.iter().cloned()).chain(encodings).collect();
    let others = ["\n", "\r\n", "\n  ", "\r", " ", "a", "Q", "\u{fffd}", "ü", "🦀"].map(str::as_bytes);
    let other = prop::sample::select([&others[..], &[b"\xff", b"\xc3", b"\xf0\x9f", b"\0"]].concat());
    let piece = (any::<Index>(), any::<Index>(), any::<Index>(), 0..6_usize).prop_map(
        move |(which, from, to, how)| {
            let form = &known[which.index(known.len())];
            let (from, to) = (from.index(form.len() + 1), to.index(form.len() + 1));
            match how {
                0..=2 => form.clone(),
                3 => form[..to].to_vec(),
                4 => form[from..].to_vec(),
                _ => form[from.min(to)..from.max(to)].to_vec(),
            }
        },
    );
    let part = prop_oneof![3 => piece, 2 => other.prop_map(<[u8]>::to_vec)];
    let text = prop::collection::vec(part, 0..10).prop_map(|parts| parts.concat());
    text.prop_map(move |text| (secrets.clone(), text))
}

/// How programs print a secret, told by themselves rather than by [`forms`].
fn printed(secret: &str, before: &str, after: &str) -> Vec<(&'static str, String)> {
    let around = format!("{before}{secret}{after}");
    let hex =
        |between: &str| secret.bytes().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(between);
    let percent = secret.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    let percent = percent.collect::<String>();
    let json = serde_json::to_string(&around).unwrap_or_default();
    vec![
        ("plain", around.clone()),
        ("percent", format!("{before}{percent}{after}")),
        ("form", format!("{before}{}{after}", percent.replace("%20", "+"))),
        ("hex", hex("")),
        ("hex apart", hex(" ")),
        ("hex with colons", hex(":").to_uppercase()),
        ("json", json),
        ("single quotes", around.replace('\'', r"'\''")),
        ("reversed", around.lines().map(|line| line.chars().rev().collect::<String>() + "\n").collect()),
        ("base64", STANDARD.encode(&around)),
        ("base64url", URL_SAFE.encode(&around)),
    ]
}

proptest! {
    /// However a stream is cut, what comes out is what the naive redactor makes of the whole: no byte of a
    /// secret is left, and none that is of no secret is gone.
    #[test]
    fn every_stream_is_redacted_as_the_whole_is_by_a_naive_redactor(
        (secrets, text) in entangled().prop_flat_map(text_about),
        lengths in prop::collection::vec(prop_oneof![1..4_usize, 1..64_usize], 1..4),
    ) {
        let redactor = redactor(&secrets);
        let whole = streamed(&redactor, &text, &[text.len()]);
        let expected = naive(&secrets, &text);
        prop_assert_eq!(
            String::from_utf8_lossy(&whole), String::from_utf8_lossy(&expected),
            "of {:?} in {:?}", secrets, String::from_utf8_lossy(&text)
        );
        let cut = streamed(&redactor, &text, &lengths);
        prop_assert_eq!(whole, cut, "of {:?} in {:?}", secrets, String::from_utf8_lossy(&text));
    }

    /// What programs print of a secret is gone, but for what base64 shares with its neighbours.
    #[test]
    fn nothing_is_left_of_what_programs_print(
        secret in prop_oneof!["[ -~]{9,40}", "[!-~ü🦀€]{9,20}", "[a-zA-Z0-9+/]{16,60}"],
        before in "[ .,;]{0,40}",
        after in "[ .,;]{0,40}",
        lengths in prop::collection::vec(1..64_usize, 1..4),
    ) {
        let redactor = redactor(std::slice::from_ref(&secret));
        for (name, text) in printed(&secret, &before, &after) {
            let out = String::from_utf8(streamed(&redactor, text.as_bytes(), &lengths)).unwrap();
            prop_assert!(out.contains(MARK), "{}: {:?} is left as it is", name, text);
            let shown = out.replace(MARK, "");
            if name.starts_with("base64") {
                let most = text.len() - (secret.len() * 8 / 6 - 1);
                prop_assert!(shown.len() <= most, "{}: {:?} of {:?}", name, out, text);
            } else {
                let of_secret = shown.trim_matches('"').trim_matches([' ', '.', ',', ';', '\n']);
                prop_assert_eq!(of_secret, "", "{}: {:?} of {:?}", name, out, text);
            }
        }
    }
}
