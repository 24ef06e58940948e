//! All findings, for people and for programs.

use super::catalog::{self, GROUPS};
use super::discretion::Discretion;
use super::finding::{Finding, Severity, name};
use crate::exit::Exit;
use serde::Serialize;
use std::fmt::Write;

/// How many findings of each severity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    ok: usize,
    info: usize,
    warning: usize,
    fatal: usize,
}

/// What came of it all. Its JSON is an interface: keys are only ever added.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The version of this program.
    executor: &'static str,
    /// Whether warnings count as faults.
    strict: bool,
    /// Whether the exit code is 0.
    healthy: bool,
    counts: Counts,
    findings: Vec<Line>,
    /// What can run here, or can't.
    #[serde(skip)]
    what: &'static str,
}

#[derive(Debug, Serialize)]
struct Line {
    id: &'static str,
    group: &'static str,
    severity: &'static str,
    seen: String,
    /// Absent when there is nothing to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    remedy: String,
}

impl Report {
    /// As [`Report::new`], of a control plane.
    pub(super) fn of_server(findings: Vec<Finding>, strict: bool, discretion: &Discretion) -> Self {
        Self { what: "a server", ..Self::new(findings, strict, discretion) }
    }

    /// Puts findings in the order of the catalog. Those of one check stay in theirs.
    pub(super) fn new(mut findings: Vec<Finding>, strict: bool, discretion: &Discretion) -> Self {
        for finding in &findings {
            debug_assert!(catalog::allows(finding), "not in the catalog: {finding:?}");
        }
        findings.sort_by_key(|finding| catalog::find(finding.id).map_or(usize::MAX, |(place, ..)| place));
        let mut counts = Counts::default();
        for finding in &findings {
            *match finding.severity {
                Severity::Ok => &mut counts.ok,
                Severity::Info => &mut counts.info,
                Severity::Warning => &mut counts.warning,
                Severity::Fatal => &mut counts.fatal,
            } += 1;
        }
        let healthy = counts.fatal == 0 && !(strict && counts.warning > 0);
        let findings = findings.into_iter().map(|finding| Line::new(finding, discretion)).collect();
        Self { executor: env!("CARGO_PKG_VERSION"), strict, healthy, counts, findings, what: "an agent" }
    }

    pub(super) fn exit(&self) -> Exit {
        if self.healthy { Exit::Success } else { Exit::Failed }
    }

    /// For people: group by group, the worst last, where a terminal shows it.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        let width = self.findings.iter().map(|line| line.id.len()).max().unwrap_or_default();
        for (group, lines) in self.grouped() {
            let _ = writeln!(out, "{group}");
            for line in lines {
                let Line { severity, id, seen, remedy, .. } = line;
                let _ = writeln!(out, "  {severity:<7}  {id:<width$}  {seen}");
                if !remedy.is_empty() {
                    let _ = writeln!(out, "  {:<7}  {:<width$}  → {remedy}", "", "");
                }
            }
            out.push('\n');
        }
        out.push_str(&self.closing());
        out
    }

    fn grouped(&self) -> Vec<(&'static str, Vec<&Line>)> {
        let groups = GROUPS.iter().map(|group| {
            let mut lines: Vec<&Line> =
                self.findings.iter().filter(|line| line.group == group.name).collect();
            lines.sort_by_key(|line| line.badness());
            (group.name, lines)
        });
        let mut groups: Vec<_> = groups.filter(|(_, lines)| !lines.is_empty()).collect();
        groups.sort_by_key(|(_, lines)| lines.last().map(|line| line.badness()));
        groups
    }

    fn closing(&self) -> String {
        let Counts { ok, info, warning, fatal } = self.counts;
        let judged = match (self.healthy, warning, fatal) {
            (true, 0, _) => "all is well".to_owned(),
            (true, ..) => format!("{} can run here", self.what),
            (false, _, 0) => "warnings count: not well".to_owned(),
            (false, ..) => format!("{} can't run here", self.what),
        };
        format!("{judged}: {fatal} fatal, {warning} warning, {info} info, {ok} ok")
    }
}

impl Line {
    fn new(Finding { id, severity, seen, remedy }: Finding, discretion: &Discretion) -> Self {
        let group = catalog::find(id).map_or("host", |(_, group, _)| group.name);
        Self {
            id,
            group,
            severity: name(severity),
            seen: discretion.shown(&seen),
            remedy: discretion.shown(&remedy),
        }
    }

    fn badness(&self) -> usize {
        ["ok", "info", "warning", "fatal"].iter().position(|name| *name == self.severity).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::{fatal, info, ok, warning};
    use super::*;

    fn report(strict: bool, last: Finding) -> Report {
        let findings = vec![
            warning("host.files", "1024 open files", "raise it\nto more"),
            info("config.effective", "one job"),
            ok("git.version", "git 2.39"),
            last,
        ];
        Report::new(findings, strict, &Discretion::new(["sesame-open-up"]))
    }

    #[test]
    fn the_shape_for_programs_is_kept() {
        let report = report(false, fatal("frontend.token", "sesame-open-up is refused", "ask"));
        let json = serde_json::to_string_pretty(&report).unwrap() + "\n";
        let json = json.replace(env!("CARGO_PKG_VERSION"), "VERSION");
        assert_eq!(json, include_str!("golden/report.json"));
    }

    #[test]
    fn the_worst_is_last_for_people() {
        let text = report(false, fatal("frontend.token", "it is refused", "ask")).text();
        assert_eq!(text, include_str!("golden/report.txt").trim_end());
    }

    #[test]
    fn only_what_is_fatal_fails_and_strictly_a_warning_too() {
        let fine = || ok("frontend.token", "taken");
        assert_eq!(report(false, fine()).exit(), Exit::Success);
        assert_eq!(report(true, fine()).exit(), Exit::Failed);
        assert_eq!(report(false, fatal("frontend.token", "no", "ask")).exit(), Exit::Failed);
        let well = Report::new(vec![fine()], true, &Discretion::new([]));
        assert_eq!(
            (well.exit(), well.closing().as_str()),
            (Exit::Success, "all is well: 0 fatal, 0 warning, 0 info, 1 ok")
        );
    }
}
