//! A control plane behind TLS, by an authority that nobody knows but who was told.

use crate::support::repository::{names, plan, repository};
use crate::support::{Act, Harness, Plan, Told, eventually, job, step};
use agent::AgentConfig;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use testkit::tls::{Authority, TlsFront};
use tls::{Places, Roots};

/// Where the control plane's authority may be put, beneath the root.
const PLACES: [&str; 9] = [
    "etc/ssl/certs/ca-certificates.crt",
    "etc/pki/tls/certs/ca-bundle.crt",
    "etc/ssl/ca-bundle.pem",
    "etc/pki/tls/cacert.pem",
    "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "etc/ssl/cert.pem",
    "etc/ssl/certs/one-of-many.pem",
    "etc/pki/tls/certs/one-of-many.crt",
    "system/etc/security/cacerts/0badcafe.0",
];

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Keeps a front alive, which can only be made once the control plane listens.
#[derive(Clone, Default)]
struct Front(Arc<Mutex<Option<TlsFront>>>);

impl Front {
    /// Puts TLS before the control plane that `config` names.
    fn before(&self, config: &mut AgentConfig, authority: &Authority, roots: Roots) {
        let port = config.frontend_url.port().unwrap();
        let front = TlsFront::start(authority, ([127, 0, 0, 1], port).into());
        config.frontend_url.set_scheme("https").unwrap();
        config.frontend_url.set_port(Some(front.address.port())).unwrap();
        config.roots = roots;
        *self.0.lock().unwrap() = Some(front);
    }
}

fn one_job() -> Plan {
    Plan { jobs: [job(1, &[step("a")]).to_string()].into(), ..Plan::default() }
}

#[tokio::test]
async fn a_certificate_in_any_of_the_nine_places_is_believed() {
    let authority = Authority::new("ours");
    for place in PLACES {
        let root = tempfile::tempdir().unwrap();
        write(&root.path().join(place), authority.pem());
        let front = Front::default();
        let harness = Harness::start_with(one_job(), vec![vec![Act::Out("hello\n")]], |config| {
            front.before(config, &authority, Roots::new(Places::beneath(root.path())));
        });
        assert_eq!(harness.marked().await.0, "markComplete", "{place}");
        assert_eq!(harness.end().await.completed, 1, "{place}");
    }
}

#[tokio::test]
async fn a_named_certificate_is_believed_as_well_as_the_systems() {
    let authority = Authority::new("ours");
    let root = tempfile::tempdir().unwrap();
    let named = root.path().join("named.pem");
    write(&named, authority.pem());
    write(&root.path().join("directory/any"), authority.pem());
    write(&root.path().join(PLACES[0]), Authority::new("the system's").pem());
    let directory = format!("/nowhere:{}", root.path().join("directory").display());
    for (file, directories) in [(named.display().to_string(), ""), (String::new(), directory.as_str())] {
        let front = Front::default();
        let harness = Harness::start_with(one_job(), vec![vec![Act::Out("hello\n")]], |config| {
            front.before(
                config,
                &authority,
                Roots::new(Places::beneath(root.path()).and(&file, directories)),
            );
        });
        assert_eq!(harness.marked().await.0, "markComplete");
        harness.end().await;
    }
}

#[tokio::test]
async fn a_clone_goes_by_the_same_certificates() {
    let repository = repository(|dir| fs::write(dir.join("a.txt"), "A").unwrap());
    let authority = Authority::new("ours");
    let root = tempfile::tempdir().unwrap();
    write(&root.path().join(PLACES[0]), authority.pem());
    let front = Front::default();
    let harness = Harness::start_with(plan(&repository, |_| {}), vec![vec![]], |config| {
        front.before(config, &authority, Roots::new(Places::beneath(root.path())));
    });
    let (mark, body) = harness.marked().await;
    assert_eq!(mark, "markComplete", "{body}");
    assert!(names(&harness.runtime.opened()[0].files).contains(&"a.txt"));
    harness.end().await;
}

#[tokio::test]
async fn a_stranger_is_told_nothing() {
    let (authority, other) = (Authority::new("ours"), Authority::new("other"));
    let root = tempfile::tempdir().unwrap();
    write(&root.path().join(PLACES[0]), other.pem());
    let told = Told::all();
    let front = Front::default();
    let harness = Harness::start_with(one_job(), vec![], |config| {
        front.before(config, &authority, Roots::new(Places::beneath(root.path())));
    });
    eventually("the agent says why it can't begin", || {
        let said = |line: &String| line.contains("UnknownIssuer") && line.contains("private authority");
        told.lines().iter().any(said).then_some(())
    })
    .await;
    assert_eq!(harness.plane.plan().calls.len(), 0, "not even the password was sent");
    harness.stop.cancel();
}
