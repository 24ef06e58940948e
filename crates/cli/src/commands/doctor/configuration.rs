//! What the environment says.

use super::finding::{Finding, fatal, info, ok, warning};
use super::known::Known;
use super::sizes::{counted, told};
use crate::env::table;
use secrecy::ExposeSecret;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Characters that the documentation asks of the shared secret.
const SHORTEST_SECRET: usize = 20;
const EVERY_VARIABLE: &str = "`executor run --help-env` tells every variable";

pub(super) fn findings(known: &Known) -> Vec<Finding> {
    let mut findings = variables(known);
    findings.extend(known.never.iter().map(|line| {
        let (seen, remedy) = line.split_once(": ").unwrap_or((line, EVERY_VARIABLE));
        warning("config.never", seen, remedy)
    }));
    findings.extend(known.unknown.iter().map(|(name, nearest)| unknown(name, *nearest)));
    findings.extend(known.conflicts.warnings.iter().map(|line| {
        let (seen, remedy) = line.rsplit_once("; ").unwrap_or((line, EVERY_VARIABLE));
        warning("config.conflict", seen, remedy)
    }));
    findings.extend(known.conflicts.note.iter().map(|note| info("config.effect", note)));
    findings.extend(known.startup_script.as_deref().map(startup_script));
    findings.extend(known.obsolete.iter().map(|name| {
        info(
            "config.obsolete",
            format!("{name} is set, which newer releases of the reference know no more: remove it"),
        )
    }));
    findings.push(effective(known));
    findings.extend(secret(known.agent.password.as_ref().map(ExposeSecret::expose_secret)));
    findings
}

fn variables(known: &Known) -> Vec<Finding> {
    if known.faults.is_empty() {
        return vec![ok("config.variables", "every variable has a value that can be used")];
    }
    let faults = known.faults.iter();
    faults.map(|fault| fatal("config.variables", fault, remedy(fault, &known.url_text))).collect()
}

/// What to do about a fault: what its variable is for, and for a URL without a scheme, which one was
/// probably meant.
fn remedy(fault: &str, url: &str) -> String {
    let names = table::rows().filter(|row| fault.contains(row.name));
    let Some(row) = names.max_by_key(|row| row.name.len()) else { return EVERY_VARIABLE.to_owned() };
    let meant = (row.name == "EXECUTOR_FRONTEND_URL").then(|| with_scheme(url)).flatten();
    match meant {
        Some(meant) => format!("perhaps {meant} is meant"),
        None => format!("{}: {}", row.name, row.doc.trim_end_matches('.')),
    }
}

/// A URL for a text that is one but for its scheme.
fn with_scheme(text: &str) -> Option<String> {
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '[' | ']' | ':' | '/');
    let plain =
        !text.is_empty() && !text.contains("//") && text.chars().all(is_host) && !text.starts_with('/');
    let port = text.split('/').next()?.rsplit_once(':').map_or("", |(_, port)| port);
    let scheme = if port.is_empty() || port.contains("443") { "https" } else { "http" };
    plain.then(|| format!("{scheme}://{text}"))
}

fn unknown(name: &str, nearest: Option<&str>) -> Finding {
    let seen = format!("{name} is set, and there is no such variable");
    let remedy =
        nearest.map_or_else(|| EVERY_VARIABLE.to_owned(), |nearest| format!("{nearest} may be meant"));
    warning("config.unknown", seen, remedy)
}

/// That this version does not run it is told as a conflict.
fn startup_script(path: &Path) -> Finding {
    const ID: &str = "config.startup-script";
    let (told, found) = (path.display(), std::fs::metadata(path));
    match found {
        Ok(found) if found.is_file() && found.permissions().mode() & 0o111 != 0 => {
            ok(ID, format!("the startup script {told} is there, and is a program"))
        }
        Ok(_) => warning(
            ID,
            format!("the startup script {told} is no file that may be run"),
            "let EXECUTOR_VM_STARTUP_SCRIPT_PATH name a script, and make it executable (`chmod +x`), or unset it",
        ),
        Err(fault) => warning(
            ID,
            format!("the startup script {told} can't be found: {fault}"),
            "correct EXECUTOR_VM_STARTUP_SCRIPT_PATH, or unset it",
        ),
    }
}

fn effective(known: &Known) -> Finding {
    let agent = &known.agent;
    let limits = &agent.limits;
    let size = |value: Option<u64>| value.map_or_else(|| "all".to_owned(), told);
    let cpus = limits.cpus.map_or_else(|| "all".to_owned(), |cpus| cpus.to_string());
    let seen = format!(
        "runtime {}, {} at a time, each with {cpus} CPUs, {} of memory, {} of disk; data in {}",
        agent.runtime,
        counted(agent.max_jobs as u64, "job"),
        size(limits.memory),
        size(limits.disk),
        known.data_dir.display()
    );
    info("config.effective", seen)
}

fn secret(secret: Option<&str>) -> Option<Finding> {
    let length = secret?.chars().count();
    if length >= SHORTEST_SECRET {
        return Some(ok(
            "config.secret",
            format!("the shared secret has {SHORTEST_SECRET} characters or more"),
        ));
    }
    let seen = format!("the shared secret has only {}", counted(length as u64, "character"));
    let remedy = format!(
        "make a new one of {SHORTEST_SECRET} or more (`openssl rand -hex 32`), here and in executors.accessToken"
    );
    Some(warning("config.secret", seen, remedy))
}

#[cfg(test)]
mod tests {
    use super::super::finding::Severity;
    use super::*;

    #[test]
    fn a_url_that_lacks_only_its_scheme_is_told_with_it() {
        let fault = "EXECUTOR_FRONTEND_URL must be in the format scheme://host (and optionally :port)";
        for (text, meant) in [
            ("sg.example.com", Some("https://sg.example.com")),
            ("sourcegraph-frontend:30080", Some("http://sourcegraph-frontend:30080")),
            ("sg.example.com:443/base", Some("https://sg.example.com:443/base")),
            ("", None),
            ("mailto:me@example.com", None),
            ("/base", None),
        ] {
            let remedy = remedy(fault, text);
            match meant {
                Some(meant) => assert_eq!(remedy, format!("perhaps {meant} is meant")),
                None => assert!(remedy.starts_with("EXECUTOR_FRONTEND_URL: "), "{remedy}"),
            }
        }
    }

    #[test]
    fn the_longest_name_is_the_one_that_is_meant() {
        let fault = "both EXECUTOR_QUEUE_NAME and EXECUTOR_QUEUE_NAMES are set";
        assert!(remedy(fault, "").starts_with("EXECUTOR_QUEUE_NAMES: "));
        assert_eq!(remedy("something else", ""), EVERY_VARIABLE);
    }

    #[test]
    fn a_startup_script_is_there_and_a_program() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("script.sh");
        assert!(startup_script(&script).seen.contains("can't be found"));
        std::fs::write(&script, "").unwrap();
        for (mode, severity) in [(0o644, Severity::Warning), (0o755, Severity::Ok)] {
            std::fs::set_permissions(&script, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(startup_script(&script).severity, severity, "{mode:o}");
        }
        assert_eq!(startup_script(dir.path()).severity, Severity::Warning);
    }

    #[test]
    fn what_newer_releases_know_no_more_and_what_has_no_effect_is_worth_knowing() {
        let pairs = [
            ("KUBERNETES_SINGLE_JOB_POD", "true"),
            ("EXECUTOR_RUNTIME", "oci"),
            ("EXECUTOR_MAXIMUM_NUM_JOB", "4"),
        ];
        let variables = crate::env::Variables::of(&pairs);
        let env = || crate::env::EnvReader::new(&variables, "executor");
        let known = Known::read(&variables, "executor", env(), &crate::paths::Paths::read(&env()));
        let findings = findings(&known);
        let of = |id: &str| findings.iter().filter(|finding| finding.id == id).collect::<Vec<_>>();
        let [obsolete] = of("config.obsolete")[..] else { panic!("{findings:?}") };
        assert_eq!(obsolete.severity, Severity::Info);
        assert!(obsolete.seen.starts_with("KUBERNETES_SINGLE_JOB_POD is set, "), "{obsolete:?}");
        let [effect] = of("config.effect")[..] else { panic!("{findings:?}") };
        assert_eq!(effect.seen, "set, but of no effect with the runtime oci: KUBERNETES_SINGLE_JOB_POD");
        assert_eq!((of("config.unknown").len(), of("config.conflict").len()), (1, 0), "told once");
    }

    #[test]
    fn a_short_secret_is_counted_and_not_shown() {
        let found = secret(Some("hunter2")).unwrap();
        assert!(found.seen.contains("7 characters") && !found.seen.contains("hunter2"), "{found:?}");
        assert_eq!(secret(Some(&"x".repeat(20))).unwrap().remedy, "");
        assert_eq!(secret(None), None);
    }
}
