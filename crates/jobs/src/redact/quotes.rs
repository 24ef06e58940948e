//! How JSON, XML, HTML and shells write a text, without the outer quotes.

use std::fmt::Write;

/// Every way to quote `text` that programs are known to use.
pub(super) fn of(text: &str) -> Vec<String> {
    let mut all = json(text);
    all.extend(markup(text));
    all.extend(shell(text));
    all
}

fn json(text: &str) -> Vec<String> {
    let Ok(quoted) = serde_json::to_string(text) else { return Vec::new() };
    let plain = &quoted[1..quoted.len() - 1];
    let ascii = escaped(plain, |c| !c.is_ascii(), false);
    vec![
        // Go, for a page to hold.
        escaped(plain, |c| "<>&\u{2028}\u{2029}".contains(c), false),
        // PHP, which does not trust a slash either.
        plain.replace('/', "\\/"),
        ascii.replace('/', "\\/"),
        // Python, and others with upper-case digits.
        ascii,
        escaped(plain, |c| !c.is_ascii(), true),
        // .NET, which trusts few.
        escaped(&plain.replace("\\\"", "\\u0022"), |c| !c.is_ascii() || "<>&'+`".contains(c), true),
        plain.to_owned(),
    ]
}

/// `text` with the characters that `which` names as JSON's escapes of UTF-16.
fn escaped(text: &str, which: impl Fn(char) -> bool, upper: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if !which(c) {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = if upper { write!(out, "\\u{unit:04X}") } else { write!(out, "\\u{unit:04x}") };
        }
    }
    out
}

fn markup(text: &str) -> impl Iterator<Item = String> {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let quotes = [
        ("\"", "'"),
        ("&quot;", "'"),
        ("&quot;", "&apos;"),
        ("&quot;", "&#39;"),
        ("&quot;", "&#039;"),
        ("&quot;", "&#x27;"),
        ("&#34;", "&#39;"),
    ];
    quotes.into_iter().map(move |(double, single)| text.replace('"', double).replace('\'', single))
}

fn shell(text: &str) -> Vec<String> {
    vec![
        // Single quotes, which hold none of their kind: bash one by one, others all that stand together.
        text.replace('\'', r"'\''"),
        text.replace('\'', r#"'"'"'"#),
        in_turn(text),
        // Double quotes, as bash lists what is exported.
        with_backslashes(text, |_, c| "\"$`\\".contains(c)),
        with_backslashes(text, |_, c| "\"$`\\!".contains(c)),
        // `printf %q` of bash, and of programs that are more careful.
        with_backslashes(text, is_backslashed_by_bash),
        with_backslashes(text, |_, c| c.is_ascii_punctuation() && !"%+-./:=@_".contains(c) || c == ' '),
        dollar(text, false),
        dollar(text, true),
    ]
}

/// Single quotes in double quotes and the rest in single ones: `it''s` as `it'"''"'s`.
fn in_turn(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = None;
    for c in text.chars() {
        match (before == Some('\''), c == '\'') {
            (false, true) => out.push_str("'\""),
            (true, false) => out.push_str("\"'"),
            _ => {}
        }
        out.push(c);
        before = Some(c);
    }
    if before == Some('\'') {
        out.push('"');
    }
    out
}

fn is_backslashed_by_bash(before: Option<char>, c: char) -> bool {
    match c {
        '#' => before.is_none(),
        '~' => matches!(before, None | Some('=' | ':')),
        _ => " '\"\\|&;()<>!{}*[?]^$`,".contains(c),
    }
}

/// A backslash before each character that `which` names, given the one before it.
fn with_backslashes(text: &str, which: impl Fn(Option<char>, char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = None;
    for c in text.chars() {
        if which(before, c) {
            out.push('\\');
        }
        out.push(c);
        before = Some(c);
    }
    out
}

/// As between `$'` and `'`; `ascii` where the locale knows no other characters.
fn dollar(text: &str, ascii: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\'' | '\\' => out.extend(['\\', c]),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '\u{1b}' => out.push_str("\\E"),
            c if c.is_ascii_control() || (ascii && !c.is_ascii()) => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    let _ = write!(out, "\\{byte:03o}");
                }
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What programs printed of it: Python's and PHP's JSON, Go, .NET, Python's and Go's HTML, bash and dash.
    #[test]
    fn a_text_is_quoted_as_programs_do() {
        let text = "#a~=~\"$`<&>/ö🦀''x\\+";
        let all = of(text);
        for known in [
            r#"#a~=~\"$`<&>/\u00f6\ud83e\udd80''x\\+"#,
            r#"#a~=~\"$`<&>\/\u00f6\ud83e\udd80''x\\+"#,
            r#"#a~=~\"$`\u003c\u0026\u003e/ö🦀''x\\+"#,
            r"#a~=~\u0022$\u0060\u003C\u0026\u003E/\u00F6\uD83E\uDD80\u0027\u0027x\\\u002B",
            r"#a~=~&quot;$`&lt;&amp;&gt;/ö🦀&#x27;&#x27;x\+",
            r"#a~=~&#34;$`&lt;&amp;&gt;/ö🦀&#39;&#39;x\+",
            r#"\#a~=\~\"\$\`\<\&\>/ö🦀\'\'x\\+"#,
            r#"#a~=~\"\$\`<&>/ö🦀''x\\+"#,
            r#"#a~=~"$`<&>/ö🦀'\'''\''x\+"#,
            r#"#a~=~"$`<&>/ö🦀'"''"'x\+"#,
            r#"#a~=~"$`<&>/\303\266\360\237\246\200\'\'x\\+"#,
        ] {
            assert!(all.iter().any(|form| form == known), "{known} is not among {all:#?}");
        }
        assert!(of("one\ntwo\u{1b}").iter().any(|form| form == r"one\ntwo\E"));
    }
}
