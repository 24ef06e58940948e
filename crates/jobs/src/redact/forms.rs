//! The forms in which programs print a secret.

use super::LONG_SECRET;
use super::encoding::Encoding;
use super::quotes;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use std::collections::BTreeSet;
use std::fmt::Write;

/// Forms that are cut out of a longer encoding are used only from this length, in bytes: shorter
/// ones are found in unrelated text.
pub(super) const SHORTEST_FRAGMENT: usize = 6;

/// The `xxd` program breaks its plain output into lines of this many characters.
const XXD_LINE: usize = 60;

/// The `base64` program and OpenSSL break their output into lines of this many characters.
const BASE64_LINES: [usize; 2] = [76, 64];

/// RFC 3986's unreserved characters stay as they are.
const STRICT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// What JavaScript's `encodeURIComponent` does.
pub(super) const COMPONENT: &AsciiSet =
    &STRICT.remove(b'!').remove(b'\'').remove(b'(').remove(b')').remove(b'*');
/// What Python's `quote` does.
const PATH: &AsciiSet = &STRICT.remove(b'/');
/// What Go's `PathEscape` does.
const SEGMENT: &AsciiSet =
    &STRICT.remove(b'$').remove(b'&').remove(b'+').remove(b':').remove(b'=').remove(b'@');
/// What Go does to user and password of a URL.
const USER: &AsciiSet = &STRICT.remove(b'$').remove(b'&').remove(b'+').remove(b',').remove(b';').remove(b'=');
/// What JavaScript's `encodeURI` does.
const WHOLE: &AsciiSet = &COMPONENT
    .remove(b';')
    .remove(b',')
    .remove(b'/')
    .remove(b'?')
    .remove(b':')
    .remove(b'@')
    .remove(b'&')
    .remove(b'=')
    .remove(b'+')
    .remove(b'$')
    .remove(b'#');
/// What a form does.
const FORM: &AsciiSet = &STRICT.remove(b'*').add(b'~');

/// All forms of one secret.
#[derive(Default)]
pub(super) struct Forms {
    /// Looked for byte by byte.
    pub(super) exact: BTreeSet<Vec<u8>>,
    /// Looked for across the ends of lines.
    pub(super) encodings: BTreeSet<Encoding>,
}

/// Every form of `secret`, the plain one included. Empty for an empty secret.
pub(super) fn of(secret: &str) -> Forms {
    let mut forms = Forms::default();
    if secret.is_empty() {
        return forms;
    }
    forms.exact.insert(secret.as_bytes().to_vec());
    forms.lines(secret);
    if secret.len() > LONG_SECRET {
        return forms;
    }
    forms.url(secret);
    forms.base64(secret.as_bytes());
    forms.hex(secret.as_bytes());
    forms.exact.extend(quotes::of(secret).into_iter().map(String::into_bytes));
    forms.mirrored(secret);
    forms.wide(secret);
    forms
}

impl Forms {
    /// A secret of several lines may be printed with something before each of them.
    fn lines(&mut self, secret: &str) {
        let lines = secret.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_FRAGMENT);
        self.exact.extend(lines.map(|line| line.as_bytes().to_vec()));
    }

    fn url(&mut self, secret: &str) {
        for set in [STRICT, COMPONENT, PATH, SEGMENT, USER, WHOLE, FORM] {
            let upper = percent_encode(secret.as_bytes(), set).to_string();
            let lower = lower_case_escapes(&upper);
            for encoded in [upper, lower] {
                self.exact.insert(encoded.replace("%20", "+").into_bytes());
                self.exact.insert(encoded.into_bytes());
            }
        }
    }

    /// Base64 turns three bytes into four characters, so a secret inside a longer text has one of three
    /// alignments. The characters at either end also depend on its neighbours and are left out.
    fn base64(&mut self, secret: &[u8]) {
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            for before in 0..3_usize {
                let mut text = vec![0; before];
                text.extend_from_slice(secret);
                let encoded = engine.encode(&text);
                let first = (before * 8).div_ceil(6);
                let last = text.len() * 8 / 6;
                if last >= first + SHORTEST_FRAGMENT {
                    self.encoded(&encoded[first..last], Encoding::base64, &BASE64_LINES);
                }
            }
        }
        for whole in [STANDARD.encode(secret), URL_SAFE.encode(secret)] {
            self.encoded(whole.trim_end_matches('='), Encoding::base64, &BASE64_LINES);
            self.encoded(&whole, Encoding::base64, &BASE64_LINES);
        }
    }

    fn hex(&mut self, secret: &[u8]) {
        let digits = |between: &str| {
            let mut all = String::with_capacity(secret.len() * (2 + between.len()));
            for byte in secret {
                let _ = write!(all, "{}{byte:02x}", if all.is_empty() { "" } else { between });
            }
            all
        };
        let plain = digits("");
        if plain.len() < SHORTEST_FRAGMENT {
            return;
        }
        self.encoded(&plain.to_ascii_uppercase(), Encoding::hex, &[]);
        self.encoded(&plain, Encoding::hex, &[XXD_LINE]);
        // As od, OpenSSL and many debuggers print bytes.
        for between in [" ", ":"] {
            let apart = digits(between);
            self.encoded(&apart.to_ascii_uppercase(), Encoding::hex_apart, &[]);
            self.encoded(&apart, Encoding::hex_apart, &[]);
        }
    }

    /// Looks for `text` across the ends of lines; if it is too long or too short for that, as it is and in
    /// lines as long as the usual programs make them.
    fn encoded(&mut self, text: &str, make: fn(&[u8]) -> Option<Encoding>, lines: &[usize]) {
        if let Some(encoding) = make(text.as_bytes()) {
            self.encodings.insert(encoding);
            return;
        }
        self.exact.extend(lines.iter().map(|line| wrapped(text, *line)));
        self.exact.insert(text.as_bytes().to_vec());
    }

    /// Back to front, as a curious step prints it that was told that secrets are removed.
    fn mirrored(&mut self, secret: &str) {
        let lines = secret.lines().filter(|line| line.len() >= SHORTEST_FRAGMENT);
        self.exact.extend(lines.map(|line| line.chars().rev().collect::<String>().into_bytes()));
    }

    /// As UTF-16, of which some programs forget that nobody else writes it.
    fn wide(&mut self, secret: &str) {
        if secret.len() >= SHORTEST_FRAGMENT {
            self.exact.insert(secret.encode_utf16().flat_map(u16::to_le_bytes).collect());
            self.exact.insert(secret.encode_utf16().flat_map(u16::to_be_bytes).collect());
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

fn wrapped(encoded: &str, line: usize) -> Vec<u8> {
    let lines: Vec<&[u8]> = encoded.as_bytes().chunks(line).collect();
    lines.join(&b'\n')
}
