//! Names that are set, look as if they were ours, and are not.

use super::EnvReader;
use super::never::NEVER;
use super::table;

/// What our names begin with.
const BEGINNINGS: [&str; 2] = ["EXECUTOR_", "KUBERNETES_"];
/// A name that differs in more letters than this part of it has, plus one, was not meant.
const LETTERS_FOR_ONE: usize = 6;

/// Names that begin as ours do and are none; with the nearest that is, if one is near.
pub(crate) fn unknown(env: &EnvReader<'_>) -> Vec<(String, Option<&'static str>)> {
    let names = env.names().filter(|name| BEGINNINGS.iter().any(|beginning| name.starts_with(beginning)));
    let names = names.map(|name| env.unbound(name)).filter(|name| !is_known(name) && !is_of_a_service(name));
    names.map(|name| (name.to_owned(), nearest(name))).collect()
}

fn known() -> impl Iterator<Item = &'static str> {
    table::rows().flat_map(|row| std::iter::once(row.name).chain(row.older))
}

fn is_known(name: &str) -> bool {
    known().any(|known| known == name) || NEVER.iter().any(|(never, _)| *never == name)
}

/// Kubernetes tells every container where services are, those among them whose names begin with `executor`.
fn is_of_a_service(name: &str) -> bool {
    let has_number = |after: &str| after.starts_with(|c: char| c.is_ascii_digit());
    name.ends_with("_PORT")
        || name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.rsplit_once("_PORT_").is_some_and(|(_, after)| has_number(after))
}

fn nearest(name: &str) -> Option<&'static str> {
    let far = 1 + name.len() / LETTERS_FOR_ONE;
    let measured = known().map(|known| (strsim::damerau_levenshtein(name, known), known));
    measured.min().filter(|(distance, _)| *distance <= far).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Variables;

    #[test]
    fn a_name_that_is_none_of_ours_is_told_with_the_nearest() {
        let pairs = [
            ("EXECUTOR_FRONTEND_PASWORD", "x"),
            ("EXECUTOR_KUBERNETES_NODE_REQUIRED_AFFINITY_MATCH_EXPRESSION", "x"),
            ("EXECUTOR_ZEBRA", "x"),
            ("EXECUTOR_JOB_MEMORY_executor", "1G"),
            ("EXECUTOR_MAX_NUM_JOBS", "told elsewhere"),
            ("EXECUTOR_JOB_MEMORY", "1G"),
            ("KUBERNETES_PORT_443_TCP_ADDR", "10.0.0.1"),
            ("KUBERNETES_SERVICE_PORT_HTTPS", "443"),
            ("EXECUTOR_PORT", "tcp://10.0.0.2:6060"),
            ("EXECUTOR_METRICS_SERVICE_HOST", "10.0.0.2"),
            ("EXECUTOR_METRICS_SERVICE_PORT_HTTP", "6060"),
            ("EXECUTOR_METRICS_PORT", "tcp://10.0.0.2:6060"),
            ("EXECUTOR_METRICS_PORT_6060_TCP_ADDR", "10.0.0.2"),
            ("PATH", "/bin"),
        ];
        let variables = Variables::of(&pairs);
        assert_eq!(
            unknown(&EnvReader::new(&variables, "executor")),
            [
                ("EXECUTOR_FRONTEND_PASWORD".to_owned(), Some("EXECUTOR_FRONTEND_PASSWORD")),
                (
                    "EXECUTOR_KUBERNETES_NODE_REQUIRED_AFFINITY_MATCH_EXPRESSION".to_owned(),
                    Some("EXECUTOR_KUBERNETES_NODE_REQUIRED_AFFINITY_MATCH_EXPRESSIONS")
                ),
                ("EXECUTOR_ZEBRA".to_owned(), None),
            ]
        );
    }
}
