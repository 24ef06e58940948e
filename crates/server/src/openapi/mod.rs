//! The public API as an OpenAPI 3.1 document: what the route table says, what is said of each route beside it, and the types
//! themselves.

mod operation;
mod operations;

use crate::api::{LogEvent, Problem, RouteView};
use operation::{Content, Operation, Parameter};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Problems that every route may have.
const COMMON: [(u16, &str); 7] = [
    (400, "invalid_query"),
    (401, "unauthorized"),
    (403, "forbidden"),
    (429, "too_many_failures"),
    (500, "internal"),
    (503, "database_away"),
    (503, "busy"),
];
const PROBLEM: &str = "application/problem+json";
const JSON: &str = "application/json";
const SCHEMAS: &str = "/components/schemas";

/// The document. `version` is this program's.
pub fn openapi(version: &str) -> Value {
    // What is sent, and what is taken: they differ in which keys must be there.
    let settings = || {
        SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = SCHEMAS.into();
            settings.meta_schema = None;
        })
    };
    let mut taken = settings().for_deserialize().into_generator();
    let mut sent = settings().for_serialize().into_generator();
    let problem = sent.subschema_for::<Problem>();
    let _events = sent.subschema_for::<LogEvent>();
    let routes = crate::routes();
    let mut paths = Map::new();
    for operation in operations::all() {
        let route =
            routes.iter().find(|route| route.method == operation.method && route.path == operation.path);
        let told = tell(&operation, route, &mut taken, &mut sent, &problem.clone().into());
        let path = operation.path.replace("{*", "{");
        let methods = paths.entry(path).or_insert_with(|| json!({}));
        methods[operation.method.to_lowercase()] = told;
    }
    let mut schemas = taken.take_definitions(true);
    schemas.extend(sent.take_definitions(true));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Executors",
            "version": version,
            "description": "The public API of `executor server`. docs/api.md tells what all of it means.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {
                "type": "http", "scheme": "bearer",
                "description": "A token that `executor token create` makes, or the one in the file `api-token`.",
            }},
        },
    })
}

/// The routes that need a token, by method and path, that take nothing in the query.
pub(crate) fn without_query() -> BTreeSet<(&'static str, &'static str)> {
    let silent = operations::all().into_iter().filter(|operation| !operation.asks() && !operation.is_open);
    silent.map(|operation| (operation.method, operation.path)).collect()
}

/// One method of a path.
fn tell(
    operation: &Operation,
    route: Option<&RouteView>,
    taken: &mut SchemaGenerator,
    sent: &mut SchemaGenerator,
    problem: &Value,
) -> Value {
    let mut told = json!({
        "operationId": id(operation),
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": parameters(operation, taken),
        "responses": responses(operation, sent, problem),
    });
    if let Some(RouteView { role, global, .. }) = route {
        let of = if *global { " of the namespace `global`" } else { "" };
        told["description"] =
            json!(format!("Needs a token with the role `{role}`{of}, or one that may more."));
        told["x-role"] = json!(role);
        told["x-global"] = json!(global);
    }
    if operation.is_open {
        told["security"] = json!([]);
    }
    if let Some(content) = content(operation.body, taken) {
        told["requestBody"] = json!({"required": true, "content": content});
    }
    told
}

/// Such as `getJobsIdLogs`.
fn id(operation: &Operation) -> String {
    let words = operation.path.trim_start_matches("/api/v1").split(|c: char| !c.is_ascii_alphanumeric());
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str())
    };
    operation.method.to_lowercase() + &words.filter_map(capital).collect::<String>()
}

fn parameters(operation: &Operation, taken: &mut SchemaGenerator) -> Vec<Value> {
    let in_path = operation.path.split('{').skip(1).filter_map(|part| part.split('}').next());
    let mut told: Vec<Value> =
        in_path.map(|name| in_path_of(operation, name.trim_start_matches('*'))).collect();
    for Parameter { name, about, schema, required, header } in &operation.parameters {
        let place = if *header { "header" } else { "query" };
        told.push(json!({
            "name": name, "in": place, "required": required, "description": about, "schema": schema(taken),
        }));
    }
    told
}

fn in_path_of(operation: &Operation, name: &str) -> Value {
    // Secrets have ids of letters; all else that has one has a number.
    let kind = if name == "name" || operation.tag == "secrets" { "string" } else { "integer" };
    let about = match (name, operation.path.contains("{*")) {
        ("name", true) => "Its name, slashes and all.",
        ("name", false) => "Its name.",
        ("entry", _) => "The entry's number within the try.",
        _ => "Its id.",
    };
    json!({"name": name, "in": "path", "required": true, "description": about, "schema": {"type": kind}})
}

fn responses(operation: &Operation, sent: &mut SchemaGenerator, problem: &Value) -> Value {
    let mut told = Map::new();
    for answer in &operation.answers {
        let mut response = json!({"description": answer.about});
        if let Some(content) = content(answer.content, sent) {
            response["content"] = content;
        }
        told.insert(answer.status.to_string(), response);
    }
    if operation.is_open {
        return Value::Object(told);
    }
    let mut problems: Vec<(u16, &str)> = COMMON.to_vec();
    problems.extend_from_slice(&operation.problems);
    if operation.path.contains("{id}") && operation.tag != "secrets" || operation.path.contains("{entry}") {
        problems.push((404, "no_such_path"));
    }
    if operation.method != "GET" {
        problems.push((507, "disk_full"));
    }
    problems.sort_unstable();
    problems.dedup();
    for group in problems.chunk_by(|one, other| one.0 == other.0) {
        let codes: Vec<&str> = group.iter().map(|(_, code)| *code).collect();
        let schema = json!({"allOf": [problem, {"properties": {"code": {"enum": codes}}}]});
        told.insert(
            group[0].0.to_string(),
            json!({"description": format!("Refused: {}.", codes.join(", ")), "content": {PROBLEM: {"schema": schema}}}),
        );
    }
    Value::Object(told)
}

fn content(content: Content, generator: &mut SchemaGenerator) -> Option<Value> {
    let text = || json!({"schema": {"type": "string"}});
    Some(match content {
        Content::Nothing => return None,
        Content::Json(schema) => json!({JSON: {"schema": schema(generator)}}),
        Content::Other(kind) => json!({kind: text()}),
        Content::JsonOr(kind) => json!({kind: text(), JSON: {"schema": {"type": "object"}}}),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_described_and_nothing_else() {
        let served: BTreeSet<(String, String)> =
            crate::routes().into_iter().map(|route| (route.method, route.path)).collect();
        let told: BTreeSet<(String, String)> = operations::all()
            .into_iter()
            .filter(|operation| !operation.is_open)
            .map(|operation| (operation.method.to_owned(), operation.path.to_owned()))
            .collect();
        assert_eq!(told, served);
        let document = openapi("1");
        for route in crate::routes() {
            let told = &document["paths"][route.path.replace("{*", "{")][route.method.to_lowercase()];
            assert_eq!(told["x-role"], json!(route.role), "{}", route.path);
            assert_eq!(told["x-global"], json!(route.global), "{}", route.path);
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_ids_are_unique() {
        let document = openapi("1");
        let mut ids = BTreeSet::new();
        let mut look = vec![&document];
        while let Some(value) = look.pop() {
            match value {
                Value::Object(members) => {
                    if let Some(Value::String(to)) = members.get("$ref") {
                        let there = document.pointer(to.trim_start_matches('#'));
                        assert!(there.is_some(), "{to}");
                    }
                    if let Some(Value::String(id)) = members.get("operationId") {
                        assert!(ids.insert(id), "{id} is there twice");
                    }
                    look.extend(members.values());
                }
                Value::Array(items) => look.extend(items),
                _ => {}
            }
        }
        let open = operations::all().iter().filter(|operation| operation.is_open).count();
        assert_eq!(ids.len(), crate::routes().len() + open);
    }

    /// A type that is both taken and sent must look alike, or it needs two names.
    #[test]
    fn no_two_types_share_a_name() {
        let settings = || SchemaSettings::draft2020_12();
        let mut taken = settings().for_deserialize().into_generator();
        let mut sent = settings().for_serialize().into_generator();
        for operation in operations::all() {
            let _ = content(operation.body, &mut taken);
            for answer in &operation.answers {
                let _ = content(answer.content, &mut sent);
            }
        }
        let (taken, sent) = (taken.take_definitions(true), sent.take_definitions(true));
        for (name, schema) in &taken {
            assert!(sent.get(name).is_none_or(|other| other == schema), "{name}");
        }
    }
}
