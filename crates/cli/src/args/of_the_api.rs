//! Whatever the public API can do, a command does, or there is a reason why none does. A route or a parameter that is added
//! there has to be added here.

use super::Cli;
use clap::{Command, CommandFactory};
use serde_json::Value;
use std::collections::BTreeSet;

/// What stands for a route.
struct Row {
    route: &'static str,
    /// The commands that make this call, all of them.
    verbs: &'static [&'static str],
    /// Why there is none.
    without: &'static str,
    /// What each parameter is there: options, or in words why it is none.
    parameters: &'static [(&'static str, &'static str)],
}

type Parameters = &'static [(&'static str, &'static str)];

const fn by(route: &'static str, verbs: &'static [&'static str], parameters: Parameters) -> Row {
    Row { route, verbs, without: "", parameters }
}

const fn none(route: &'static str, without: &'static str) -> Row {
    Row { route, verbs: &[], without, parameters: &[] }
}

const ALL_PAGES: &str = "all pages are asked for";
const WHOLE: Parameters = &[("limit", ALL_PAGES), ("cursor", ALL_PAGES)];
const OF_A_TRY: Parameters = &[("attempt", "--attempt")];
const NOTHING: Parameters = &[];

const ROWS: [Row; 48] = [
    by("POST /api/v1/jobs", &["job run"], &[("Idempotency-Key", "--idempotency-key")]),
    by(
        "GET /api/v1/jobs",
        &["job list"],
        &[
            ("queue", "--queue"),
            ("state", "--state"),
            ("namespace", "--namespace"),
            ("text", "--text"),
            ("executor", "--executor"),
            ("limit", "--limit"),
            ("cursor", "--before"),
        ],
    ),
    by("POST /api/v1/jobs/batch", &["job submit"], NOTHING),
    by("GET /api/v1/jobs/{id}", &["job show"], NOTHING),
    by("GET /api/v1/jobs/{id}/explain", &["job explain"], NOTHING),
    by("POST /api/v1/jobs/{id}/cancel", &["job cancel"], NOTHING),
    by("GET /api/v1/jobs/{id}/logs", &["job logs"], OF_A_TRY),
    by(
        "GET /api/v1/jobs/{id}/logs/stream",
        &["job logs"],
        &[("cursor", "it goes on by itself"), ("Last-Event-ID", "it goes on by itself")],
    ),
    by(
        "GET /api/v1/jobs/{id}/logs/{entry}/text",
        &["job logs"],
        &[("attempt", "--attempt"), ("offset", "it goes on by itself")],
    ),
    by("GET /api/v1/jobs/{id}/results", &["job results"], OF_A_TRY),
    by("GET /api/v1/jobs/{id}/artifacts", &["job artifacts"], OF_A_TRY),
    by("GET /api/v1/jobs/{id}/artifacts/{*file}", &["job artifacts"], OF_A_TRY),
    by(
        "POST /api/v1/files",
        &["job upload"],
        &[("name", "as the file is called"), ("modifiedAt", "as the file has it")],
    ),
    by("GET /api/v1/repositories", &["repo list"], WHOLE),
    by("POST /api/v1/repositories", &["repo add"], NOTHING),
    by("DELETE /api/v1/repositories/{*name}", &["repo remove"], &[("namespace", "--namespace")]),
    by("GET /api/v1/queues", &["queue list"], NOTHING),
    by("GET /api/v1/queues/{name}", &["queue show"], NOTHING),
    by("PATCH /api/v1/queues/{name}", &["queue pause", "queue resume", "queue limit"], NOTHING),
    by(
        "GET /api/v1/executors",
        &["agent list"],
        &[("active", "--active --silent"), ("text", "--text"), ("limit", ALL_PAGES), ("cursor", ALL_PAGES)],
    ),
    by("PATCH /api/v1/executors/{name}", &["agent drain", "agent resume"], NOTHING),
    by("GET /api/v1/whoami", &["token whoami"], NOTHING),
    by("GET /api/v1/tokens", &["token list"], WHOLE),
    by("POST /api/v1/tokens", &["token create"], NOTHING),
    by("DELETE /api/v1/tokens/{id}", &["token revoke"], NOTHING),
    by("GET /api/v1/registration-tokens", &["agent invite list"], WHOLE),
    by("POST /api/v1/registration-tokens", &["agent invite create"], NOTHING),
    by("DELETE /api/v1/registration-tokens/{id}", &["agent invite revoke"], NOTHING),
    by("GET /api/v1/identities", &["agent identities"], WHOLE),
    by("DELETE /api/v1/identities/{name}", &["agent revoke"], NOTHING),
    by(
        "GET /api/v1/audit",
        &["audit"],
        &[
            ("action", "--action"),
            ("reads", "--without-reads"),
            ("namespace", "--namespace"),
            ("limit", "--limit"),
            ("cursor", "--before"),
        ],
    ),
    by(
        "GET /api/v1/secrets",
        &["secret list"],
        &[
            ("scope", "--scope"),
            ("namespace", "--namespace"),
            ("key", "`secret show` finds one by its key"),
            ("limit", ALL_PAGES),
            ("cursor", ALL_PAGES),
        ],
    ),
    none("POST /api/v1/secrets", "`secret set` keeps one, whether there is one of that key or not"),
    by("PUT /api/v1/secrets", &["secret set"], NOTHING),
    by("GET /api/v1/secrets/{id}", &["secret show"], NOTHING),
    by("DELETE /api/v1/secrets/{id}", &["secret delete"], NOTHING),
    by("GET /api/v1/secrets/{id}/access", &["secret log"], &[("limit", "--limit"), ("cursor", "--before")]),
    by(
        "GET /api/v1/uploads",
        &["upload list"],
        &[
            ("namespace", "--namespace"),
            ("repository", "--repo"),
            ("job", "--job"),
            ("limit", "--limit"),
            ("cursor", "--before"),
        ],
    ),
    by("GET /api/v1/uploads/{id}", &["upload show"], NOTHING),
    by("GET /api/v1/uploads/{id}/content", &["upload download"], NOTHING),
    by("GET /api/v1/users", &["user list"], WHOLE),
    by("POST /api/v1/users", &["user create"], NOTHING),
    by("DELETE /api/v1/users/{name}", &["user remove"], NOTHING),
    by("PUT /api/v1/users/{name}/password", &["user password"], NOTHING),
    by("GET /api/v1/version", &["server status"], NOTHING),
    by("GET /api/v1/openapi.json", &["server openapi"], NOTHING),
    none("GET /metrics", "it is for what scrapes metrics"),
    none("GET /metrics/queues", "it is for what starts and stops executors"),
];

/// The command of that name.
fn command(verb: &str) -> Command {
    let find = |of: &Command, name: &str| of.find_subcommand(name).cloned();
    let found = verb.split(' ').try_fold(Cli::command(), |of, name| find(&of, name));
    found.unwrap_or_else(|| panic!("there is no `executor {verb}`"))
}

fn has_option(verb: &str, option: &str) -> bool {
    let name = option.strip_prefix("--");
    command(verb).get_arguments().any(|argument| argument.get_long() == name)
}

/// What can be said with a call besides its path and its body.
fn parameters(document: &Value, method: &str, path: &str) -> BTreeSet<String> {
    let told = &document["paths"][path.replace("{*", "{")][method.to_lowercase()]["parameters"];
    let told = told.as_array().unwrap_or_else(|| panic!("{method} {path} is not in the document"));
    let told = told.iter().filter(|parameter| parameter["in"] != "path");
    told.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn each_route_of_the_api_has_a_command_or_a_reason_for_none() {
    let named: BTreeSet<String> = ROWS.iter().map(|row| row.route.to_owned()).collect();
    assert_eq!(named.len(), ROWS.len(), "each has one row");
    let routes = server::routes().into_iter();
    let there: BTreeSet<String> = routes.map(|route| format!("{} {}", route.method, route.path)).collect();
    let apart: Vec<&String> = named.symmetric_difference(&there).collect();
    assert!(apart.is_empty(), "rows without a route, or routes without a row: {apart:#?}");
    for Row { route, verbs, without, .. } in &ROWS {
        assert_ne!(verbs.is_empty(), without.is_empty(), "{route} needs commands, or a reason for none");
        verbs.iter().for_each(|verb| drop(command(verb)));
    }
}

#[test]
fn each_parameter_of_such_a_route_is_an_option_or_has_a_reason_for_none() {
    let document = server::openapi("");
    let mut options = 0;
    for Row { route, verbs, parameters: told, .. } in ROWS.iter().filter(|row| row.without.is_empty()) {
        let (method, path) = route.split_once(' ').unwrap();
        let named: BTreeSet<String> = told.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(named, parameters(&document, method, path), "{route}: left is what is told here");
        for (name, said) in told.iter().filter(|(_, said)| said.starts_with("--")) {
            for option in said.split(' ') {
                let everywhere = verbs.iter().all(|verb| has_option(verb, option));
                assert!(everywhere, "{route}: {name} is to be {option} of {verbs:?}");
                options += 1;
            }
        }
    }
    assert!(options > 20, "{options}");
}
