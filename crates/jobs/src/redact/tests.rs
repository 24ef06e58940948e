use super::*;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

const SECRET: &str = "s3cr3t/pa ss+w&rd'x";

fn redactor() -> Redactor {
    Redactor::new([(SECRET, "[hidden]")])
}

/// Seconds that this thread has had a processor for: others may be busy.
fn used() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn in_pieces(redactor: &Redactor, text: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
    cuts.extend([0, text.len()]);
    cuts.sort_unstable();
    let (mut stream, mut out) = (redactor.stream(), Vec::new());
    for pair in cuts.windows(2) {
        stream.push(&text[pair[0]..pair[1]], &mut out);
    }
    stream.finish(&mut out);
    out
}

#[test]
fn each_form_is_replaced() {
    let json = serde_json::to_string(SECRET).unwrap();
    for (form, text) in [
        ("plain", SECRET.to_owned()),
        ("url", "s3cr3t%2Fpa%20ss%2Bw%26rd%27x".to_owned()),
        ("url, lower case", "s3cr3t%2fpa%20ss%2bw%26rd%27x".to_owned()),
        ("url, python", "s3cr3t/pa%20ss%2Bw%26rd%27x".to_owned()),
        ("form", "s3cr3t%2Fpa+ss%2Bw%26rd%27x".to_owned()),
        ("base64", STANDARD.encode(SECRET)),
        ("json", json[1..json.len() - 1].to_owned()),
        ("shell", SECRET.replace('\'', r"'\''")),
        ("printf %q", r"s3cr3t/pa\ ss+w\&rd\'x".to_owned()),
        ("xml", "s3cr3t/pa ss+w&amp;rd'x".to_owned()),
        ("xml attribute", "s3cr3t/pa ss+w&amp;rd&apos;x".to_owned()),
        ("html", "s3cr3t/pa ss+w&amp;rd&#39;x".to_owned()),
        ("xxd -p", "7333637233742f70612073732b772672642778".to_owned()),
        ("od -An -tx1", "73 33 63 72 33 74 2f 70 61 20 73 73 2b 77 26 72\n 64 27 78".to_owned()),
        ("openssl", "73:33:63:72:33:74:2F:70:61:20:73:73:2B:77:26:\n    72:64:27:78".to_owned()),
        ("rev", "x'dr&w+ss ap/t3rc3s".to_owned()),
        ("utf-16", SECRET.chars().flat_map(|c| [c, '\0']).collect()),
    ] {
        assert_eq!(redactor().redact(&format!("<{text}>")), "<[hidden]>", "{form}");
    }
}

#[test]
fn base64_is_found_at_every_alignment() {
    for before in ["", "a", "ab", "abc", "user:"] {
        let encoded = STANDARD.encode(format!("{before}{SECRET}:after"));
        let redacted = redactor().redact(&encoded);
        assert!(redacted.contains("[hidden]"), "{before:?}: {redacted}");
        let shown: Vec<u8> = redacted.split("[hidden]").flat_map(str::bytes).collect();
        // At most the bytes that share a base64 character with a neighbour may be guessed from the rest.
        assert!(shown.len() <= encoded.len() - SECRET.len() * 8 / 6 + 2, "{before:?}: {redacted}");
    }
}

#[test]
fn a_wrapped_base64_and_every_line_of_a_key_are_found() {
    let key =
        format!("-----BEGIN KEY-----\n{}\n{}\n-----END KEY-----\n", "A1b2".repeat(16), "C3d4".repeat(16));
    let redactor = Redactor::new([(key.as_str(), "[key]")]);
    let encoded = STANDARD.encode(&key);
    let wrapped: Vec<String> =
        encoded.as_bytes().chunks(76).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    assert_eq!(redactor.redact(&wrapped.join("\n")), "[key]");
    let indented = key.lines().map(|line| format!("  | {line}")).collect::<Vec<_>>().join("\n");
    let redacted = redactor.redact(&indented);
    assert!(!redacted.contains("A1b2") && !redacted.contains("C3d4"), "{redacted}");
}

/// Breaks `text` into lines of `width` characters, all but the first indented.
fn in_lines(text: &str, width: usize, between: &str) -> String {
    let lines: Vec<&str> =
        text.as_bytes().chunks(width).map(|line| std::str::from_utf8(line).unwrap()).collect();
    lines.join(between)
}

/// How many characters are left of `printed` beside replacements and the ends of lines.
fn shown(printed: &str) -> usize {
    let redacted = Redactor::new([(SECRET, "\u{1}")]).redact(printed);
    redacted.chars().filter(|c| c.is_ascii_alphanumeric() || "+/-_=".contains(*c)).count()
}

#[test]
fn an_encoded_secret_is_found_wherever_a_line_ends_in_it() {
    // All but what shares a character with a neighbour, and a beginning shorter than a head.
    let encoded = SECRET.len() * 8 / 6 - 1;
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap();
    for before in 0..160 {
        let text = format!("{}{SECRET}{}", "b".repeat(before), "a".repeat(70));
        for (width, between) in [(76, "\n"), (64, "\r\n"), (76, "\n    "), (10, "\n")] {
            let base64 = STANDARD.encode(&text);
            let left = shown(&in_lines(&base64, width, between));
            assert!(left <= base64.len() - encoded + 3, "{before} {width}: {left} of {}", base64.len());
        }
        let hex: String = text.bytes().flat_map(|byte| [byte >> 4, byte & 15]).map(digit).collect();
        let left = shown(&in_lines(&hex, 60, "\n"));
        assert!(left <= hex.len() - SECRET.len() * 2 + 7, "{before}: {left} of {}", hex.len());
    }
}

#[test]
fn the_end_of_a_line_hides_nothing_from_a_reader() {
    let redactor = redactor();
    let base64 = STANDARD.encode(SECRET);
    for line in ["done: s3\n", "abcd\n", "1234 73\n", &format!("{}\n", &base64[..3])] {
        let (mut stream, mut out) = (redactor.stream(), Vec::new());
        stream.push(line.as_bytes(), &mut out);
        assert_eq!(String::from_utf8_lossy(&out), line, "a line that has ended must show at once");
    }
}

#[test]
fn a_text_that_is_full_of_beginnings_takes_no_long_time() {
    let secret = "x".repeat(190);
    let redactor = Redactor::new([(secret.as_str(), "[x]")]);
    let (mut stream, mut out) = (redactor.stream(), Vec::new());
    let text = format!("{}\n", &STANDARD.encode("x".repeat(180))).repeat(100);
    let begun = used();
    for _ in 0..10 {
        stream.push(text.as_bytes(), &mut out);
    }
    assert!(used() - begun < 20.0, "it took {:.1} s", used() - begun);
}

/// A secret that begins inside another, and goes on behind it, leaves nothing either.
#[test]
fn secrets_that_overlap_go_as_one() {
    let redactor = Redactor::new([("user:hunter2", "[user]"), ("hunter2@host/db", "[url]")]);
    let text = b"at user:hunter2@host/db and hunter2@host/db and user:hunter2@host";
    let expected = "at [user] and [url] and [user]@host";
    for cut in 0..text.len() {
        let out = in_pieces(&redactor, text, &[cut]);
        assert_eq!(String::from_utf8_lossy(&out), expected, "cut at {cut}");
    }
    let key = Redactor::new([("first-line\nlast-line\n", "[key]"), ("last-line\nand more", "[more]")]);
    assert_eq!(key.redact("first-line\nlast-line\nand more"), "[key]");
}

#[test]
fn the_longest_of_overlapping_secrets_wins() {
    let redactor = Redactor::new([("token", "[short]"), ("token-of-acme", "[long]")]);
    assert_eq!(redactor.redact("token-of-acme token-of-other"), "[long] [short]-of-other");
}

#[test]
fn nothing_is_held_back_that_can_not_become_a_secret() {
    let (mut stream, mut out) = (redactor().stream(), Vec::new());
    stream.push(b"Password: ", &mut out);
    assert_eq!(out, b"Password: ", "a prompt must show at once");
}

#[test]
fn no_secrets_means_no_change_and_no_delay() {
    let (mut stream, mut out) = (Redactor::new([("", "[x]")]).stream(), Vec::new());
    stream.push(b"abc", &mut out);
    assert_eq!(out, b"abc");
}

#[test]
fn a_long_secret_is_found_however_it_is_cut() {
    let secret = "0123456789abcdef".repeat(100);
    let redactor = Redactor::new([(secret.as_str(), "[long]")]);
    let text = format!("before {secret} after {}", &secret[..1_000]);
    let expected = format!("before [long] after {}", &secret[..1_000]);
    for cut in [0, 1, 7, 20, 900, 1_600, 1_610, 2_000] {
        let out = in_pieces(&redactor, text.as_bytes(), &[cut, cut + 3, cut + 400]);
        assert_eq!(String::from_utf8_lossy(&out), expected, "cut at {cut}");
    }
}

/// A secret that repeats itself looks begun at every place.
#[test]
fn a_secret_that_repeats_itself_costs_no_more_than_another() {
    let secret = "x".repeat(60_000);
    let redactor = Redactor::new([(secret.as_str(), "[x]")]);
    let (mut stream, mut out) = (redactor.stream(), Vec::new());
    let begun = used();
    for _ in 0..100 {
        stream.push("x".repeat(59_000).as_bytes(), &mut out);
        stream.push(b"\n", &mut out);
    }
    assert!(used() - begun < 20.0, "it took {:.1} s", used() - begun);
    assert_eq!(out.len(), 100 * 59_001);
}

#[test]
fn debug_shows_no_secret() {
    let mut stream = redactor().stream();
    stream.push(b"s3cr3t/pa", &mut Vec::new());
    for text in [format!("{:?}", redactor()), format!("{stream:?}")] {
        assert!(!text.contains("s3cr3t") && !text.contains("115"), "{text}");
    }
}

proptest! {
    /// However a stream is cut, the result is that of the whole.
    #[test]
    fn cuts_make_no_difference(
        parts in prop::collection::vec("[ab=]{0,6}", 0..12),
        secrets in prop::collection::vec("[ab]{1,7}", 0..4),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let redactor = Redactor::new(secrets.iter().map(|secret| (secret.as_str(), "#")));
        let text = parts.concat();
        let whole = in_pieces(&redactor, text.as_bytes(), &[]);
        prop_assert_eq!(in_pieces(&redactor, text.as_bytes(), &cuts), whole);
    }

    /// The same of encodings that end and begin in the middle, on the same line or another.
    #[test]
    fn cuts_make_no_difference_to_what_is_encoded(
        secrets in prop::collection::vec("[ab]{6,9}", 1..3),
        parts in prop::collection::vec((any::<prop::sample::Index>(), 0..20_usize, 0..20_usize, 0..6_usize), 0..12),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let redactor = Redactor::new(secrets.iter().map(|secret| (secret.as_str(), "#")));
        let all = secrets.iter().map(|secret| forms::of(secret));
        let encodings: Vec<Vec<u8>> =
            all.flat_map(|forms| forms.encodings).map(|encoding| encoding.text().to_vec()).collect();
        let mut text = Vec::new();
        for (which, from, len, between) in parts {
            let encoding = which.get(&encodings);
            let from = from.min(encoding.len());
            text.extend_from_slice(&encoding[from..(from + len).min(encoding.len())]);
            text.extend_from_slice(["", "\n", "\r\n", "\n  ", "\r", "Q"][between].as_bytes());
        }
        let whole = in_pieces(&redactor, &text, &[]);
        prop_assert_eq!(in_pieces(&redactor, &text, &cuts), whole);
    }

    /// Of an encoded secret no more is shown than its first characters, wherever lines end and the
    /// stream is cut.
    #[test]
    fn no_encoded_secret_survives(
        secret in "[ -~]{9,60}",
        before in "[a-z \n]{0,100}",
        after in "[a-z \n]{0,100}",
        width in 8..90_usize,
        between in "\r?\n[ \t]{0,8}",
        cuts in prop::collection::vec(any::<usize>(), 0..6),
    ) {
        let redactor = Redactor::new([(secret.as_str(), "\u{1}")]);
        let encoded = STANDARD.encode(format!("{before}{secret}{after}"));
        let out = in_pieces(&redactor, in_lines(&encoded, width, &between).as_bytes(), &cuts);
        let out = String::from_utf8(out).unwrap();
        let left = out.chars().filter(|c| !c.is_whitespace() && *c != '\u{1}').count();
        let most = encoded.len() - (secret.len() * 8 / 6 - 1) + 3;
        prop_assert!(left <= most, "{left} characters where {most} are the most: {out:?}");
    }

    /// No secret survives in any of its forms, whatever surrounds it and however it is cut.
    #[test]
    fn no_secret_survives(
        secret in "[ -~]{6,40}",
        before in "[a-z \n]{0,20}",
        after in "[a-z \n]{0,20}",
        cuts in prop::collection::vec(any::<usize>(), 0..6),
    ) {
        let redactor = Redactor::new([(secret.as_str(), "\u{1}")]);
        let forms = forms::of(&secret);
        let encodings = forms.encodings.iter().map(|encoding| encoding.text().to_vec());
        for form in forms.exact.iter().cloned().chain(encodings) {
            let mut text = before.clone().into_bytes();
            text.extend_from_slice(&form);
            text.extend_from_slice(after.as_bytes());
            let out = in_pieces(&redactor, &text, &cuts);
            let found = out.windows(secret.len()).any(|window| window == secret.as_bytes());
            prop_assert!(!found, "{:?} in {:?}", secret, String::from_utf8_lossy(&out));
            prop_assert!(out.contains(&1), "{:?} is left as it is", String::from_utf8_lossy(&text));
        }
    }

    /// Text without any secret in it passes unchanged.
    #[test]
    fn other_text_is_untouched(text in "[a-z \n]{0,200}", cuts in prop::collection::vec(any::<usize>(), 0..6)) {
        let redactor = Redactor::new([("SECRET-VALUE", "#")]);
        prop_assert_eq!(in_pieces(&redactor, text.as_bytes(), &cuts), text.into_bytes());
    }
}
