//! Every page with every role, in one's own namespace and with things of another one.

use super::world::World;
use super::{Form, Visitor};
use crate::access::Holder;
use jobs::Role;
use reqwest::Method;

/// A file that the job left.
const FILE: &str = "acme-out/acme.txt";

/// What a page is tried with.
struct Row {
    method: &'static str,
    path: &'static str,
    /// The least role that gets there, and whether it takes one of the global namespace.
    role: Role,
    global: bool,
    /// The path with something of another namespace in it, and the same with something that is not there.
    foreign: Option<[String; 2]>,
    fields: &'static [(&'static str, &'static str)],
}

fn rows(world: &World) -> Vec<Row> {
    use Role::{Admin, Operator, Reader, Submitter};
    let row = |method, path, role, global| Row { method, path, role, global, foreign: None, fields: &[] };
    let foreign = |mut row: Row, parameter: &str, there: &str, not_there: &str| {
        row.foreign =
            Some([there, not_there].map(|value| row.path.replace(parameter, value).replace("{*file}", FILE)));
        row
    };
    let of_job = |row| foreign(row, "{id}", &world.job.to_string(), "987654");
    let of_upload = |row| foreign(row, "{id}", &world.upload.to_string(), "987654");
    let of_secret = |row| foreign(row, "{id}", &world.secret, "00000000000000000000000000000000");
    let with = |mut row: Row, fields| {
        row.fields = fields;
        row
    };
    let new_secret = &[("key", "not-a-key"), ("value", "x"), ("namespace", "user:mallory")];
    vec![
        row("GET", "/jobs", Reader, false),
        of_job(row("GET", "/jobs/{id}", Reader, false)),
        of_job(row("POST", "/jobs/{id}/cancel", Submitter, false)),
        of_job(row("GET", "/jobs/{id}/log", Reader, false)),
        of_job(row("GET", "/jobs/{id}/log/text", Reader, false)),
        of_job(row("GET", "/jobs/{id}/log/stream", Reader, false)),
        of_job(row("GET", "/jobs/{id}/artifacts/{*file}", Reader, false)),
        of_upload(row("GET", "/uploads/{id}/content", Reader, false)),
        row("GET", "/queues", Reader, false),
        with(row("POST", "/queues/{name}", Operator, true), &[("limit", "0")]),
        row("GET", "/executors", Reader, true),
        with(row("POST", "/executors/{name}", Operator, true), &[("maintenance", "false")]),
        row("POST", "/identities/{name}/revoke", Operator, true),
        row("GET", "/secrets", Reader, false),
        with(row("POST", "/secrets", Submitter, false), new_secret),
        of_secret(row("GET", "/secrets/{id}", Reader, false)),
        of_secret(row("POST", "/secrets/{id}/delete", Submitter, false)),
        row("GET", "/repositories", Reader, false),
        row("GET", "/tokens", Admin, false),
        with(row("POST", "/tokens", Admin, false), &[("name", "-bad-"), ("role", "reader")]),
        foreign(row("POST", "/tokens/{id}/revoke", Admin, false), "{id}", &world.token.to_string(), "987654"),
        with(row("POST", "/registration-tokens", Admin, true), &[("name", "-bad-")]),
        row("POST", "/registration-tokens/{id}/revoke", Admin, true),
        row("GET", "/users", Admin, false),
        with(row("POST", "/users", Admin, false), &[("name", "-bad-"), ("password", "0123456789")]),
        with(
            foreign(row("POST", "/users/{name}/password", Admin, false), "{name}", "acme-ann", "nobody"),
            &[("password", "0123456789")],
        ),
        foreign(row("POST", "/users/{name}/delete", Admin, false), "{name}", "acme-ann", "nobody"),
        row("GET", "/audit", Admin, false),
        row("GET", "/account", Reader, false),
        row("POST", "/account/password", Reader, false),
    ]
}

#[tokio::test]
async fn every_page_is_held_to_roles_and_namespaces() {
    let world = World::start().await;
    let job = world.take().await;
    assert_eq!(crate::artifacts::put(&world.harness, &job, FILE, "acme").await.0, 200);
    let rows = rows(&world);
    let served: Vec<_> = server::page_routes().iter().map(|route| (route.method, route.path)).collect();
    let tried: Vec<_> = rows.iter().map(|row| (row.method, row.path)).collect();
    assert_eq!(tried, served, "a page that is served must be tried here, in the same order");
    let nobody = Visitor::new(&world.harness);
    for namespace in ["user:mallory", "global"] {
        for role in Role::ALL {
            let holder = Holder::new(&world.harness, role, namespace).await;
            let visitor = Visitor::with_token(&world.harness, &holder.token).await;
            for row in &rows {
                try_row(row, &visitor, &holder).await;
            }
        }
    }
    for row in &rows {
        let path = example(row);
        let told = send(row, &nobody, &path).await;
        if row.method == "GET" {
            assert!(told.status == 303 && told.location.starts_with("/sign-in"), "{path}: {}", told.status);
        } else {
            assert_eq!(told.status, 401, "{path}");
        }
        assert!(!told.body.contains("acme"), "{path}: {}", told.body);
    }
}

/// What a page says of why there is no other.
fn alert(told: &super::Told) -> String {
    let (_, after) = told.body.split_once("role=\"alert\">").unwrap_or_else(|| panic!("{}", told.body));
    after.split("</p>").next().unwrap().to_owned()
}

fn example(row: &Row) -> String {
    match &row.foreign {
        Some([there, _]) => there.clone(),
        None => row.path.replace("{name}", "batches").replace("{id}", "987654"),
    }
}

async fn send(row: &Row, visitor: &Visitor, path: &str) -> super::Told {
    match row.method {
        "GET" => visitor.get(path).await,
        _ => visitor.post(path, row.fields).await,
    }
}

async fn try_row(row: &Row, visitor: &Visitor, holder: &Holder) {
    let what = format!("{} {} as {}", row.method, row.path, holder.name);
    let everywhere = holder.namespace == "global" && holder.role >= Role::Operator;
    let may = holder.role >= row.role && (!row.global || holder.namespace == "global");
    if row.method == "POST" {
        let path = example(row);
        let unproved = visitor.request(Method::POST, &path).form(row.fields).send().await.unwrap();
        assert_eq!(unproved.status(), 403, "{what}, without what proves that the form is ours");
    }
    if !may {
        let told = send(row, visitor, &example(row)).await;
        assert_eq!(told.status, 403, "{what}: {}", told.body);
        assert!(!told.body.contains("acme-"), "{what}: {}", told.body);
        return;
    }
    if everywhere {
        // What is there is left there: others are still to be tried with it.
        if row.method == "GET" && !row.path.ends_with("/stream") {
            let told = send(row, visitor, &example(row)).await;
            assert_eq!(told.status, 200, "{what}: {}", told.body);
        }
        return;
    }
    let Some([there, not_there]) = &row.foreign else {
        let told = send(row, visitor, &example(row)).await;
        assert!(![401, 500].contains(&told.status), "{what}: {} {}", told.status, told.body);
        assert!(!told.body.contains("acme-"), "{what}: {}", told.body);
        return;
    };
    let (of_there, of_nothing) = (send(row, visitor, there).await, send(row, visitor, not_there).await);
    assert_eq!(of_there.status, 404, "{what}: {}", of_there.body);
    let name = |path: &str| path.split('/').nth(2).unwrap().to_owned();
    assert_eq!(alert(&of_there).replace(&name(there), &name(not_there)), alert(&of_nothing), "{what}");
}
