//! Puts the metrics of several sources into one text. A reader refuses all of it when a family is there
//! twice, or when one line is wrong: so families are brought together, and wrong lines are left out.

use super::sample::{Sample, is_name};
use std::collections::BTreeMap;
use std::fmt::Write;

/// What samples of one family may end with.
const PARTS: [&str; 3] = ["_bucket", "_sum", "_count"];

/// Families by name.
#[derive(Debug, Default)]
pub struct Families(BTreeMap<String, Family>);

#[derive(Debug, Default)]
struct Family {
    help: String,
    kind: String,
    /// Whole lines.
    samples: String,
}

impl Families {
    /// Adds what somebody said: of the families that are `wanted` each sample, and after its own labels the pairs
    /// that `mark` gives for it (`a="b",c="d"`, or an empty text). A sample for which it gives `None` is left out.
    pub fn add(
        &mut self,
        text: &str,
        wanted: impl Fn(&str) -> bool,
        mark: impl Fn(&Sample<'_>) -> Option<String>,
    ) {
        for (name, mut family) in read(text).0 {
            if !wanted(&name) {
                continue;
            }
            let samples = marked(&family.samples, &mark);
            if samples.is_empty() && !family.samples.is_empty() {
                continue;
            }
            family.samples = samples;
            match self.0.get_mut(&name) {
                // What two sources understand differently can't be one family.
                Some(there) if there.kind != family.kind => {}
                Some(there) => there.samples.push_str(&family.samples),
                None => {
                    self.0.insert(name, family);
                }
            }
        }
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// All of them as text.
    pub fn into_text(self) -> String {
        let mut text = String::new();
        for (name, Family { help, kind, samples }) in self.0 {
            if samples.is_empty() {
                continue;
            }
            // Writing to a string can't fail.
            if !help.is_empty() {
                let _ = writeln!(text, "# HELP {name} {help}");
            }
            let _ = writeln!(text, "# TYPE {name} {kind}");
            text.push_str(&samples);
        }
        text
    }
}

fn read(text: &str) -> Families {
    let mut families = Families::default();
    let mut current = String::new();
    for line in text.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix('#') {
            let mut words = comment.trim_start().splitn(3, ' ');
            let (word, name, rest) = (words.next(), words.next(), words.next().unwrap_or_default());
            let Some(name) = name.filter(|name| is_name(name)) else { continue };
            let field: fn(&mut Family) -> &mut String = match word {
                Some("HELP") => |family| &mut family.help,
                Some("TYPE") => |family| &mut family.kind,
                _ => continue,
            };
            rest.trim().clone_into(field(families.0.entry(name.to_owned()).or_default()));
            name.clone_into(&mut current);
        } else if let Some(sample) = Sample::read(line) {
            let name = if belongs(sample.name, &current) { current.as_str() } else { sample.name };
            let family = families.0.entry(name.to_owned()).or_default();
            family.samples.push_str(line);
            family.samples.push('\n');
        }
    }
    for family in families.0.values_mut() {
        if !["counter", "gauge", "histogram", "summary", "untyped"].contains(&family.kind.as_str()) {
            "untyped".clone_into(&mut family.kind);
        }
    }
    families
}

fn belongs(sample: &str, family: &str) -> bool {
    sample.strip_prefix(family).is_some_and(|part| part.is_empty() || PARTS.contains(&part))
}

/// The lines with more labels. Of what was read before, every line can be.
fn marked(lines: &str, mark: impl Fn(&Sample<'_>) -> Option<String>) -> String {
    let mut text = String::with_capacity(lines.len());
    for sample in lines.lines().filter_map(Sample::read) {
        let Some(pairs) = mark(&sample) else { continue };
        let comma = if pairs.is_empty() || sample.labels.is_empty() { "" } else { "," };
        let _ = match (pairs.is_empty(), sample.labels.is_empty()) {
            (true, true) => writeln!(text, "{} {}", sample.name, sample.value),
            _ => writeln!(text, "{}{{{}{comma}{pairs}}} {}", sample.name, sample.labels, sample.value),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_come_together_and_what_is_wrong_is_left_out() {
        let mut families = Families::default();
        families.add(
            "# HELP node_load1 1m load.\n# TYPE node_load1 gauge\nnode_load1 0.5\n\
             # TYPE go_threads gauge\ngo_threads 7\n\
             process_cpu_seconds_total 3\n\
             # TYPE t histogram\nt_bucket{le=\"+Inf\"} 1\nt_sum 2\nt_count 1\nt_other 5\n\
             <html>\nbroken{ 1\n# a remark\n# TYPE empty gauge\n# TYPE odd info\nodd 1\n",
            |name| name != "go_threads" && !name.starts_with("process_"),
            |_| Some(String::new()),
        );
        families.add(
            "# TYPE node_load1 gauge\nnode_load1 0.7\nnode_load1{sg_instance=\"own\"} 1\nnode_load1{sg_instance=\"out\"} 2\n\
             # TYPE t counter\nt 1\nplain{a=\"b\"} 1 5\n",
            |_| true,
            |sample| match sample.label("sg_instance") {
                Some("out") => None,
                Some(_) => Some(String::new()),
                None => Some("sg_instance=\"docker-registry\"".to_owned()),
            },
        );
        assert_eq!(
            families.into_text(),
            "# HELP node_load1 1m load.\n# TYPE node_load1 gauge\nnode_load1 0.5\n\
             node_load1{sg_instance=\"docker-registry\"} 0.7\nnode_load1{sg_instance=\"own\"} 1\n\
             # TYPE odd untyped\nodd 1\n\
             # TYPE plain untyped\nplain{a=\"b\",sg_instance=\"docker-registry\"} 1 5\n\
             # TYPE t histogram\nt_bucket{le=\"+Inf\"} 1\nt_sum 2\nt_count 1\n\
             # TYPE t_other untyped\nt_other 5\n"
        );
    }
}
