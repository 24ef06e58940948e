//! For programs.

use crate::env::never::NEVER;
use crate::env::table::{SECTIONS, Section};
use crate::env::variable::{Effect, Variable};
use crate::env::{EnvReader, RuntimeName};
use serde_json::{Value, json};

/// Every variable, with what it is set to here. Values of secrets are left out.
pub(crate) fn json(env: &EnvReader<'_>) -> Value {
    let of_section = |section: &'static Section| section.rows.iter().map(|row| describe(section, row, env));
    let variables: Vec<Value> = SECTIONS.iter().flat_map(of_section).collect();
    let never: Vec<Value> =
        NEVER.iter().map(|(name, instead)| json!({"name": name, "instead": instead})).collect();
    json!({"variables": variables, "neverExisted": never})
}

fn describe(section: &Section, row: &Variable, env: &EnvReader<'_>) -> Value {
    let given = env.given(row);
    json!({
        "name": row.name,
        "olderName": row.older,
        "section": section.title,
        "kind": row.kind.name(),
        "required": row.required,
        "secret": row.secret,
        "default": row.default_told(),
        "defaultIsDerived": row.derived.is_some(),
        "unit": (!row.unit.is_empty()).then_some(row.unit),
        "commands": row.reader.commands(),
        "effect": effect(row.effect),
        "origin": row.origin.name(),
        "doc": row.doc,
        "setBy": given.map(|(name, _)| name),
        "value": given.filter(|_| !row.secret).map(|(_, value)| crate::env::without_credentials(value)),
    })
}

fn effect(effect: Effect) -> Value {
    let names = |runtimes: &[RuntimeName]| runtimes.iter().map(|name| name.name()).collect::<Vec<_>>();
    match effect {
        Effect::Always => json!({"state": "acts", "runtimes": null}),
        Effect::With(runtimes) => json!({"state": "acts", "runtimes": names(runtimes)}),
        Effect::NotYet([]) => json!({"state": "notYet", "runtimes": null}),
        Effect::NotYet(runtimes) => json!({"state": "notYet", "runtimes": names(runtimes)}),
        Effect::Missed { acts: [], remedy, .. } => {
            json!({"state": "notYet", "runtimes": null, "instead": remedy})
        }
        Effect::Missed { acts, remedy, .. } => {
            json!({"state": "acts", "runtimes": names(acts), "instead": remedy})
        }
        Effect::Nothing(why) => json!({"state": "none", "runtimes": null, "why": why}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{Variables, table};

    #[test]
    fn every_row_is_there_and_no_secret_is() {
        let variables = Variables::of(&[
            ("EXECUTOR_FRONTEND_PASSWORD", "hunter2hunter2"),
            ("EXECUTOR_FIRECRACKER_NUM_CPUS", "8"),
            ("HTTPS_PROXY", "http://me:hunter2@proxy.example:3128/"),
        ]);
        let told = json(&EnvReader::new(&variables, "executor"));
        let rows = told["variables"].as_array().unwrap();
        assert_eq!(rows.len(), table::rows().count());
        let row = |name: &str| rows.iter().find(|row| row["name"] == name).unwrap();
        assert_eq!(row("EXECUTOR_JOB_NUM_CPUS")["setBy"], "EXECUTOR_FIRECRACKER_NUM_CPUS");
        assert_eq!(row("EXECUTOR_JOB_NUM_CPUS")["value"], "8");
        assert_eq!(row("EXECUTOR_FRONTEND_PASSWORD")["setBy"], "EXECUTOR_FRONTEND_PASSWORD");
        assert_eq!(row("HTTPS_PROXY")["value"], "http://…@proxy.example:3128/");
        assert!(!told.to_string().contains("hunter2"));
        assert!(!super::super::text(&EnvReader::new(&variables, "executor")).contains("hunter2"));
    }
}
