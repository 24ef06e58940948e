//! Values as they may be shown.

/// `text` without the credentials of the URLs in it.
pub(crate) fn without_credentials(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        out.push_str(before);
        out.push_str("://");
        let ends = |c: char| matches!(c, '/' | '?' | '#' | '"' | '\'' | '<' | '>') || c.is_whitespace();
        let authority = &after[..after.find(ends).unwrap_or(after.len())];
        let credentials = authority.rfind('@');
        if credentials.is_some() {
            out.push('…');
        }
        rest = &after[credentials.unwrap_or_default()..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_shown_without_their_credentials() {
        for (value, shown) in [
            ("https://me:hunter2@a.example/x@y,http://hunter2@b", "https://…@a.example/x@y,http://…@b"),
            ("https://a.example,http://me:hunter2@b", "https://a.example,http://…@b"),
            ("see \"http://me:p@ss@b\" and mail me@x", "see \"http://…@b\" and mail me@x"),
            ("https://a.example/x@y", "https://a.example/x@y"),
            ("k=v,k@x", "k=v,k@x"),
            ("://@://", "://…@://"),
        ] {
            assert_eq!(without_credentials(value), shown);
        }
    }
}
