//! What is set and does not do what it says.

use super::never::NEVER;
use super::table;
use super::unknown::unknown;
use super::variable::{Effect, Kind, Origin, Reader, Variable};
use super::{EnvReader, RuntimeName, parse_bool};

/// What is told of it at start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Conflicts {
    /// It was asked for, and this version can't do it: a warning each, and a refusal under strict
    /// operation.
    pub(crate) warnings: Vec<String>,
    /// It is for another runtime than the one that runs the jobs.
    pub(crate) note: Option<String>,
    /// It is nothing that is known here.
    pub(crate) strangers: Option<String>,
}

/// Names that are set and never were variables.
pub(crate) fn never(env: &EnvReader<'_>) -> Vec<String> {
    let set = NEVER.iter().filter_map(|(name, instead)| Some((env.bound_or_not(name)?, instead)));
    set.map(|(name, instead)| format!("{name} is set, but there never was such a variable: {instead}"))
        .collect()
}

/// Names that are set, are none of ours, and differ from one of ours in a few letters.
pub(crate) fn misspelt(env: &EnvReader<'_>) -> Vec<String> {
    let told = |(name, nearest): (String, Option<&str>)| {
        Some(format!("{name} is set, and there is no such variable: {} may be meant", nearest?))
    };
    unknown(env).into_iter().filter_map(told).collect()
}

/// Other names that only begin as ours do: they may be somebody else's.
fn strangers(env: &EnvReader<'_>) -> Option<String> {
    let names: Vec<String> =
        unknown(env).into_iter().filter(|(_, nearest)| nearest.is_none()).map(|(name, _)| name).collect();
    (!names.is_empty()).then(|| format!("set, but no variables of executor: {}", names.join(", ")))
}

/// Looks at all that an agent reads.
pub(crate) fn find(env: &EnvReader<'_>, runtime: RuntimeName) -> Conflicts {
    let mut warnings = never(env);
    warnings.extend(misspelt(env));
    let lacking = names(env, |effect| match effect {
        Effect::NotYet(runtimes) => runtimes.is_empty() || runtimes.contains(&runtime),
        _ => false,
    });
    if !lacking.is_empty() {
        warnings
            .push(format!("set, but this version can't do it yet: {lacking}; unset what you can do without"));
    }
    warnings.extend(missed(env, runtime));
    let elsewhere = names(env, |effect| match effect {
        Effect::With(runtimes) => !runtimes.contains(&runtime),
        Effect::Missed { acts, by, .. } => !acts.contains(&runtime) && !is_missed(by, runtime),
        Effect::NotYet(runtimes) => !runtimes.is_empty() && !runtimes.contains(&runtime),
        Effect::Nothing(_) => true,
        Effect::Always => false,
    });
    let note = format!("set, but of no effect with the runtime {runtime}: {elsewhere}");
    let note = (!elsewhere.is_empty()).then_some(note);
    Conflicts { warnings, note, strangers: strangers(env) }
}

/// What acted with the reference where this runtime stands in, each with what to do instead.
fn missed(env: &EnvReader<'_>, runtime: RuntimeName) -> Vec<String> {
    let rows = table::rows().filter_map(|row| match row.effect {
        Effect::Missed { by, remedy, .. } if is_missed(by, runtime) => Some((wished(env, row)?, remedy)),
        _ => None,
    });
    rows.map(|(name, remedy)| {
        format!("{name} is set, but does nothing with the runtime {runtime} of this version: {remedy}")
    })
    .collect()
}

fn is_missed(by: &[RuntimeName], runtime: RuntimeName) -> bool {
    by.is_empty() || by.contains(&runtime)
}

/// The names of variables that are set to something other than their default, and whose effect is as
/// asked. What the system sets for all programs is nobody's wish.
fn names(env: &EnvReader<'_>, is_meant: impl Fn(Effect) -> bool) -> String {
    let rows = table::rows().filter(|row| {
        matches!(row.reader, Reader::Run | Reader::Agent)
            && row.origin != Origin::System
            && is_meant(row.effect)
    });
    let names: Vec<&str> = rows.filter_map(|row| wished(env, row)).collect();
    names.join(", ")
}

/// The name under which a variable got another value than its default.
fn wished(env: &EnvReader<'_>, row: &Variable) -> Option<&'static str> {
    let (name, value) = env.given(row).filter(|(_, value)| !value.is_empty())?;
    let is_default = match row.kind {
        Kind::Bool => parse_bool(value) == parse_bool(&default(env, row)),
        _ => value == row.default,
    };
    (!is_default).then_some(name)
}

fn default(env: &EnvReader<'_>, row: &Variable) -> String {
    row.derived.map_or_else(|| row.default.to_owned(), |derived| (derived.value)(env))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Variables;

    fn found(pairs: &[(&str, &str)], runtime: RuntimeName) -> Conflicts {
        let variables = Variables::of(pairs);
        find(&EnvReader::new(&variables, "executor"), runtime)
    }

    /// Rows for the tests to use: which variables lack their effect changes as the program grows.
    fn first(is_meant: impl Fn(&Variable) -> bool) -> &'static Variable {
        table::rows().find(|row| is_meant(row)).unwrap()
    }

    #[test]
    fn nothing_is_said_of_nothing_and_of_defaults() {
        assert_eq!(found(&[], RuntimeName::Oci), Conflicts::default());
        let defaults: Vec<(&str, &str)> =
            table::rows().filter(|row| row.derived.is_none()).map(|row| (row.name, row.default)).collect();
        assert_eq!(found(&defaults, RuntimeName::Oci), Conflicts::default());
        let system = [("TMPDIR", "/scratch"), ("USER", "root"), ("DOCKER_HOST", "tcp://localhost:2375")];
        assert_eq!(found(&system, RuntimeName::Oci), Conflicts::default());
        for default in [("KUBERNETES_KEEP_JOBS", "F"), ("EXECUTOR_SRC_STEPS", "false")] {
            assert_eq!(found(&[default], RuntimeName::Oci), Conflicts::default(), "{default:?}");
        }
    }

    #[test]
    fn what_this_version_lacks_is_one_line() {
        let image = "KUBERNETES_GIT_CA_CERT";
        let policy = "KUBERNETES_IMAGE_PULL_POLICY";
        let pairs = [(policy, "Always"), (image, "/ca.pem")];
        assert_eq!(
            found(&pairs, RuntimeName::Kubernetes).warnings,
            [
                "set, but this version can't do it yet: KUBERNETES_IMAGE_PULL_POLICY, KUBERNETES_GIT_CA_CERT; unset \
              what you can do without"
            ]
        );
        let elsewhere = found(&pairs, RuntimeName::Oci);
        assert_eq!(elsewhere.warnings, [""; 0]);
        assert_eq!(
            elsewhere.note.as_deref(),
            Some(
                "set, but of no effect with the runtime oci: KUBERNETES_IMAGE_PULL_POLICY, KUBERNETES_GIT_CA_CERT"
            )
        );
    }

    #[test]
    fn what_acts_is_not_mentioned_and_an_older_name_is_told_as_it_was_given() {
        let row = first(|row| row.effect == Effect::Always && row.reader == Reader::Agent);
        assert_eq!(found(&[(row.name, "x")], RuntimeName::Shell), Conflicts::default());
        let older = [("EXECUTOR_FIRECRACKER_NUM_CPUS", "8")];
        assert_eq!(found(&older, RuntimeName::Oci), Conflicts::default());
        assert_eq!(
            found(&older, RuntimeName::Shell).note.as_deref(),
            Some("set, but of no effect with the runtime shell: EXECUTOR_FIRECRACKER_NUM_CPUS")
        );
    }

    #[test]
    fn what_is_missed_is_a_warning_with_what_to_do_instead() {
        let mounts = ("EXECUTOR_DOCKER_ADDITIONAL_MOUNTS", "type=tmpfs,target=/x");
        let script = ("EXECUTOR_VM_STARTUP_SCRIPT_PATH", "/x");
        let gateway = ("EXECUTOR_DOCKER_ADD_HOST_GATEWAY", "true");
        let pairs = [mounts, script, gateway];
        let by = |runtime| {
            let Conflicts { warnings, note, .. } = found(&pairs, runtime);
            let names: Vec<_> =
                warnings.iter().map(|told| told.split(' ').next().unwrap().to_owned()).collect();
            (names, note)
        };
        let (told, note) = by(RuntimeName::Oci);
        assert!(note.is_none() && told.len() == 2, "{told:?} {note:?}");
        assert!([script, gateway].iter().all(|(name, _)| told.contains(&(*name).to_owned())), "{told:?}");
        assert_eq!(by(RuntimeName::Docker), (vec![script.0.to_owned()], None));
        let (told, note) = by(RuntimeName::Shell);
        assert_eq!(told, [script.0]);
        assert!(note.unwrap().contains(mounts.0));
        let warning = &found(&[script], RuntimeName::Oci).warnings[0];
        assert!(warning.contains("EXECUTOR_STEP_STARTUP_SCRIPT_PATH"), "{warning}");
    }

    #[test]
    fn a_misspelt_name_is_told_with_the_one_that_may_be_meant() {
        let pairs = [
            ("EXECUTOR_MAXIMUM_NUM_JOB", "4"),
            ("EXECUTOR_ZEBRA", "x"),
            ("KUBERNETES_PORT", "tcp://10.0.0.1"),
        ];
        let Conflicts { warnings, strangers, note } = found(&pairs, RuntimeName::Oci);
        assert_eq!(
            warnings,
            [
                "EXECUTOR_MAXIMUM_NUM_JOB is set, and there is no such variable: EXECUTOR_MAXIMUM_NUM_JOBS may be meant"
            ]
        );
        assert_eq!(strangers.as_deref(), Some("set, but no variables of executor: EXECUTOR_ZEBRA"));
        assert_eq!(note, None);
    }

    #[test]
    fn names_that_never_were_are_told_with_the_right_ones() {
        let pairs = [
            ("EXECUTOR_MAX_NUM_JOBS", "8"),
            ("EXECUTOR_BACKEND", "docker"),
            ("EXECUTOR_KUBE_NAMESPACE", "jobs"),
            ("EXECUTOR_FRONTEND_USERNAME", ""),
            ("USE_FIRECRACKER", "true"),
            ("KEEP_WORKSPACES", "true"),
        ];
        let warnings = found(&pairs, RuntimeName::Oci).warnings;
        assert_eq!(warnings.len(), pairs.len(), "{warnings:?}");
        for ((name, _), warning) in pairs.iter().zip(&warnings) {
            let start = format!("{name} is set, but there never was such a variable: ");
            assert!(warning.starts_with(&start), "{warning}");
        }
        assert!(warnings[0].ends_with("set EXECUTOR_MAXIMUM_NUM_JOBS"));
        let bound = found(&[("EXECUTOR_MAX_NUM_JOBS_executor", "8")], RuntimeName::Oci).warnings;
        assert!(bound.len() == 1 && bound[0].starts_with("EXECUTOR_MAX_NUM_JOBS_executor is set, but "));
    }
}
