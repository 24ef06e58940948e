//! The forms in which programs print a secret.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use std::collections::BTreeSet;
use std::fmt::Write;

/// Forms that are cut out of a longer encoding are used only from this length, in bytes: shorter
/// ones are found in unrelated text.
const SHORTEST_FRAGMENT: usize = 6;

/// A longer secret, in bytes, is looked for as it is and line by line only: each form costs memory and
/// time in proportion.
const LONGEST_TRANSFORMED: usize = 8 << 10;

/// The `xxd` program breaks its plain output into lines of this many characters.
const XXD_LINE: usize = 60;

/// The `base64` program breaks its output into lines of this many characters.
const BASE64_LINE: usize = 76;

/// RFC 3986's unreserved characters stay as they are.
const STRICT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// What JavaScript's `encodeURIComponent` does.
const COMPONENT: &AsciiSet = &STRICT.remove(b'!').remove(b'\'').remove(b'(').remove(b')').remove(b'*');
/// What Python's `quote` does.
const PATH: &AsciiSet = &STRICT.remove(b'/');

/// Every form of `secret`, the plain one included. Empty for an empty secret.
pub(super) fn of(secret: &str) -> BTreeSet<Vec<u8>> {
    let mut forms = BTreeSet::new();
    if secret.is_empty() {
        return forms;
    }
    forms.insert(secret.as_bytes().to_vec());
    lines(secret, &mut forms);
    if secret.len() > LONGEST_TRANSFORMED {
        return forms;
    }
    url(secret, &mut forms);
    base64(secret.as_bytes(), &mut forms);
    hex(secret.as_bytes(), &mut forms);
    quoted(secret, &mut forms);
    forms
}

/// A secret of several lines may be printed with something before each of them.
fn lines(secret: &str, forms: &mut BTreeSet<Vec<u8>>) {
    let lines = secret.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_FRAGMENT);
    forms.extend(lines.map(|line| line.as_bytes().to_vec()));
}

fn url(secret: &str, forms: &mut BTreeSet<Vec<u8>>) {
    for set in [STRICT, COMPONENT, PATH] {
        let upper = percent_encode(secret.as_bytes(), set).to_string();
        let lower = lower_case_escapes(&upper);
        for encoded in [upper, lower] {
            forms.insert(encoded.replace("%20", "+").into_bytes());
            forms.insert(encoded.into_bytes());
        }
    }
}

/// `%2F` becomes `%2f`; the rest stays.
fn lower_case_escapes(encoded: &str) -> String {
    let mut out = String::with_capacity(encoded.len());
    let mut escaped = 0;
    for c in encoded.chars() {
        out.push(if escaped > 0 { c.to_ascii_lowercase() } else { c });
        escaped = if c == '%' { 2 } else { i32::max(escaped - 1, 0) };
    }
    out
}

/// Base64 turns three bytes into four characters, so a secret inside a longer text has one of three
/// alignments. The characters at either end also depend on its neighbours and are left out.
fn base64(secret: &[u8], forms: &mut BTreeSet<Vec<u8>>) {
    for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
        for before in 0..3_usize {
            let mut text = vec![0; before];
            text.extend_from_slice(secret);
            let encoded = engine.encode(&text);
            let first = (before * 8).div_ceil(6);
            let last = text.len() * 8 / 6;
            if last >= first + SHORTEST_FRAGMENT {
                forms.insert(encoded.as_bytes()[first..last].to_vec());
            }
        }
    }
    for whole in [STANDARD.encode(secret), URL_SAFE.encode(secret)] {
        forms.insert(wrapped(&whole, BASE64_LINE));
        forms.insert(whole.trim_end_matches('=').as_bytes().to_vec());
        forms.insert(whole.into_bytes());
    }
}

fn wrapped(encoded: &str, line: usize) -> Vec<u8> {
    let lines: Vec<&[u8]> = encoded.as_bytes().chunks(line).collect();
    lines.join(&b'\n')
}

fn hex(secret: &[u8], forms: &mut BTreeSet<Vec<u8>>) {
    let mut lower = String::with_capacity(secret.len() * 2);
    for byte in secret {
        let _ = write!(lower, "{byte:02x}");
    }
    if lower.len() >= SHORTEST_FRAGMENT {
        forms.insert(wrapped(&lower, XXD_LINE));
        forms.insert(lower.to_ascii_uppercase().into_bytes());
        forms.insert(lower.into_bytes());
    }
}

/// As JSON and shells quote it, without the outer quotes.
fn quoted(secret: &str, forms: &mut BTreeSet<Vec<u8>>) {
    if let Ok(json) = serde_json::to_string(secret) {
        let inner = &json[1..json.len() - 1];
        forms.insert(inner.as_bytes().to_vec());
        forms.insert(inner.replace('/', "\\/").into_bytes());
        let html_safe = inner.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
        forms.insert(html_safe.into_bytes());
    }
    forms.insert(secret.replace('\'', r"'\''").into_bytes());
    forms.insert(secret.replace('\'', r#"'"'"'"#).into_bytes());
    forms.insert(backslashed(secret).into_bytes());
}

/// As `printf %q` writes it.
fn backslashed(secret: &str) -> String {
    let mut out = String::with_capacity(secret.len());
    for c in secret.chars() {
        if c.is_ascii() && !c.is_ascii_alphanumeric() && !"%+-./:=@_".contains(c) && !c.is_control() {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
