//! Lines of the text exposition format, as others write them.

use std::collections::BTreeSet;

/// What readers call the metric's own name.
const METRIC: &str = "__name__";

/// A line of a sample: its name, what stands between its braces, and its value with whatever follows.
#[derive(Debug, PartialEq, Eq)]
pub struct Sample<'a> {
    /// The metric.
    pub name: &'a str,
    /// What stands between its braces, without a comma at the end.
    pub labels: &'a str,
    /// Its value, and perhaps a time.
    pub value: &'a str,
}

impl<'a> Sample<'a> {
    /// Reads a line; `None` when a reader would stumble over it.
    pub fn read(line: &'a str) -> Option<Self> {
        let end = line.find(|c: char| !is_of_name(c))?;
        let (name, rest) = line.split_at(end);
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => rest.split_at(labels_end(rest)?),
            None => ("", rest),
        };
        let value = value.strip_prefix('}').unwrap_or(value).trim();
        let sample = Self { name, labels: labels.trim_end_matches(','), value };
        (is_name(name) && is_value(value)).then_some(sample)
    }
}

impl<'a> Sample<'a> {
    /// The value of a label, escaped as it stands there.
    pub fn label(&self, name: &str) -> Option<&'a str> {
        let mut rest = self.labels;
        loop {
            let (there, quoted) = rest.split_once("=\"")?;
            let end = quote_end(quoted)?;
            if there.trim() == name {
                return Some(&quoted[..end]);
            }
            rest = quoted[end + 1..].trim_start_matches([' ', '\t']).strip_prefix(',')?;
        }
    }
}

/// Whether `name` can be the name of a metric.
pub fn is_name(name: &str) -> bool {
    name.chars().all(is_of_name) && name.starts_with(|c: char| !c.is_ascii_digit())
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

/// Where the labels end that begin at the start of `text`: `name="value"`, separated by commas, no name twice.
fn labels_end(text: &str) -> Option<usize> {
    let mut at = 0;
    let mut names = BTreeSet::new();
    loop {
        let rest = &text[at..];
        let blank = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        let rest = &rest[blank..];
        if rest.starts_with('}') {
            return Some(at + blank);
        }
        let (name, quoted) = rest.split_once("=\"")?;
        // The name of the metric itself is one to readers, and stands elsewhere.
        if !is_name(name.trim()) || name.contains(':') || name.trim() == METRIC || !names.insert(name.trim())
        {
            return None;
        }
        let value = quote_end(quoted)?;
        at += blank + name.len() + 2 + value + 1;
        match text[at..].trim_start_matches([' ', '\t']).chars().next()? {
            ',' => at += text[at..].find(',')? + 1,
            '}' => {}
            _ => return None,
        }
    }
}

/// Where the quote is that ends a value.
fn quote_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends.then_some(at)
    })
}

/// A number, and perhaps a time in milliseconds.
fn is_value(text: &str) -> bool {
    let mut parts = text.split_ascii_whitespace();
    let number = parts.next().is_some_and(is_number);
    let time = parts.next().is_none_or(|time| time.parse::<i64>().is_ok_and(|time| time >= 0));
    number && time && parts.next().is_none()
}

/// Without end is only what says so: of a number with too many digits others say that it is none.
fn is_number(text: &str) -> bool {
    let says_so = || text.trim_start_matches(['+', '-']).starts_with(['i', 'I']);
    text.parse::<f64>().is_ok_and(|number| !number.is_infinite() || says_so())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_lines_are_read() {
        for (line, name, labels, value) in [
            ("up 1", "up", "", "1"),
            ("up{} 1", "up", "", "1"),
            ("a:b_c{x=\"1\",} +Inf 17", "a:b_c", "x=\"1\"", "+Inf 17"),
            ("a{x=\"}\\\"{,\", y=\"\\\\\"}NaN", "a", "x=\"}\\\"{,\", y=\"\\\\\"", "NaN"),
            ("a\t-1e-3", "a", "", "-1e-3"),
            ("a -inf", "a", "", "-inf"),
            ("a Infinity", "a", "", "Infinity"),
        ] {
            assert_eq!(Sample::read(line), Some(Sample { name, labels, value }), "{line}");
        }
    }

    #[test]
    fn a_label_is_found_by_its_name_and_not_in_another_ones_value() {
        let sample = Sample::read("a{x=\"1,y=\\\"2\", y=\"3\" ,z=\"\"} 1").unwrap();
        let of = |name| sample.label(name);
        assert_eq!((of("x"), of("y"), of("z"), of("w")), (Some("1,y=\\\"2"), Some("3"), Some(""), None));
        assert_eq!(Sample::read("a 1").unwrap().label("x"), None);
    }

    #[test]
    fn others_are_not() {
        for line in [
            "",
            "1",
            "up",
            "up x",
            "9up 1",
            "up{x=\"1\" 1",
            "up{x=1} 1",
            "up{x=\"1\"y=\"2\"} 1",
            "up{=\"1\"} 1",
            "up 1 2 3",
            "up 1 x",
            "up{x=\"1} 1",
            "<html>",
            "ä 1",
            "up{a:b=\"1\"} 1",
            "up{x=\"1\",y=\"1\",x=\"2\"} 1",
            "up 1e999",
            "up -1e999",
            "up 1 -5",
            "up{__name__=\"x\"} 1",
        ] {
            assert_eq!(Sample::read(line), None, "{line}");
        }
    }
}
