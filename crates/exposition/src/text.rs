//! The text exposition format, version 0.0.4, which both scrapers and heartbeats get.

use std::fmt::Write;

/// The content type of this format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a family of samples is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How many lay below which bounds.
    Histogram,
}

/// A text that grows family by family.
#[derive(Debug, Default)]
pub struct Text(String);

impl Text {
    /// Begins a family: its samples follow.
    pub fn family(&mut self, name: &str, help: &str, kind: Kind) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing to a string can't fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Adds a sample.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        for (index, (label, value)) in labels.iter().enumerate() {
            self.0.push(if index == 0 { '{' } else { ',' });
            let _ = write!(self.0, "{label}=\"{}\"", escaped(value));
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {}", Value(value));
    }

    /// A family of one sample without labels.
    pub fn single(&mut self, name: &str, help: &str, kind: Kind, value: f64) {
        self.family(name, help, kind);
        self.sample(name, &[], value);
    }

    /// All of it.
    pub fn into_string(self) -> String {
        self.0
    }
}

/// A value of a label as it stands between quotes.
pub fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Infinities have names of their own in this format.
struct Value(f64);

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            value => write!(f, "{value}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_numbers_are_plain() {
        let mut text = Text::default();
        text.single("up", "Whether.", Kind::Gauge, f64::INFINITY);
        text.sample("up", &[("a", "x\"y\\z\n"), ("b", "")], 12_345_678_901.0);
        assert_eq!(
            text.into_string(),
            "# HELP up Whether.\n# TYPE up gauge\nup +Inf\nup{a=\"x\\\"y\\\\z\\n\",b=\"\"} 12345678901\n"
        );
    }
}
