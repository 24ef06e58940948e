//! Pulling from a real registry.

use crate::real::{Known as _, example};
use crate::support::{Place, reference, told};
use crate::tokens::TokenServer;
use images::{ImageError, Login, Options, RegistryCredentials};
use std::fs;
use testkit::registry::{PASSWORD, Registry, Setup};
use testkit::tls::Authority;
use tls::{Places, Roots};

#[tokio::test]
async fn pulling_without_credentials() {
    let Some(registry) = Registry::start("pulling_without_credentials", &Setup::default()) else { return };
    registry.push("team/tool:1", &example());
    let place = Place::new();
    let name = registry.name("team/tool:1");
    let image = place.local(&name).await.unwrap_or_else(|error| panic!("{}", told(&error)));
    assert_eq!(
        (image.config.env.as_slice(), &*image.config.working_dir, &*image.config.user),
        (&["A=b".to_owned()][..], "/work", "1000")
    );
    assert_eq!(fs::read(image.layers[0].join("etc/motd")).expect("the file is there"), b"hello");
    assert!(fs::symlink_metadata(image.layers[1].join("etc/gone")).is_ok());

    let pinned = registry.name(&format!("team/tool@{}", image.digest));
    let elsewhere = Place::new();
    assert_eq!(elsewhere.local(&pinned).await.expect("it is there by digest").digest, image.digest);
    let both = registry.name(&format!("team/tool:moved@{}", image.digest));
    assert_eq!(elsewhere.local(&both).await.expect("the digest counts").digest, image.digest);

    drop(registry);
    let again = place.local(&name).await.expect("what is here needs no registry");
    assert_eq!(again.layers, image.layers);
    assert_eq!(place.store.list().expect("it can be listed")[0].reference, reference(&name));
}

#[tokio::test]
async fn what_is_not_there() {
    let Some(registry) = Registry::start("what_is_not_there", &Setup::default()) else { return };
    registry.push("team/tool:1", &example());
    let place = Place::new();
    let zeros = "0".repeat(64);
    for name in ["team/tool:2", "team/other:1", &format!("team/tool@sha256:{zeros}")] {
        let error = place.local(&registry.name(name)).await.expect_err(name);
        assert!(matches!(error, ImageError::NotFound { .. }), "{}", told(&error));
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[tokio::test]
async fn user_and_password() {
    let setup = Setup { password: true, ..Setup::default() };
    let Some(registry) = Registry::start("user_and_password", &setup) else { return };
    registry.push("team/tool:1", &example());
    let place = Place::new();
    let name = registry.name("team/tool:1");
    for (credentials, reason) in
        [(RegistryCredentials::default(), "none are set"), (registry.credentials("wrong"), "not accepted")]
    {
        let error = place.resolve(&name, &credentials).await.expect_err(reason);
        assert!(matches!(error, ImageError::Unauthorised { .. }), "{}", told(&error));
        assert!(error.to_string().contains(reason) && !error.to_string().contains("wrong"), "{error}");
    }
    let image = place.resolve(&name, &registry.credentials(PASSWORD)).await;
    assert_eq!(image.unwrap_or_else(|error| panic!("{}", told(&error))).layers.len(), 2);
}

// The token server must answer while this thread waits for a push.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_open_one_repository() {
    let tokens = TokenServer::start(&[("john:secret", "team/a")]).await;
    let setup = Setup { tokens: Some(tokens.for_registry()), ..Setup::default() };
    let Some(registry) = Registry::start("tokens_that_open_one_repository", &setup) else { return };
    registry.push("team/a:1", &example());
    registry.push("team/b:1", &example());
    let login = |password: &str| {
        RegistryCredentials::of_logins([(registry.address.clone(), Login::password("john", password))])
    };
    let place = Place::new();
    for (image, credentials, reason) in [
        ("team/b:1", login("secret"), "may not pull it, or there is no such image"),
        ("team/c:1", login("secret"), "may not pull it, or there is no such image"),
        ("team/a:1", login("wrong"), "the credentials that are set were not accepted"),
        ("team/a:1", RegistryCredentials::default(), "none are set"),
    ] {
        let error = place.resolve(&registry.name(image), &credentials).await.expect_err(reason);
        assert!(matches!(error, ImageError::Unauthorised { .. }), "{}", told(&error));
        assert!(error.to_string().contains(reason), "{error}");
    }
    let image = place.resolve(&registry.name("team/a:1"), &login("secret")).await;
    image.unwrap_or_else(|error| panic!("{}", told(&error)));
}

#[tokio::test]
async fn tls_by_a_private_authority() {
    let (authority, other) = (Authority::new("ours"), Authority::new("other"));
    let setup = Setup { password: true, authority: Some(&authority), ..Setup::default() };
    let Some(registry) = Registry::start("tls_by_a_private_authority", &setup) else { return };
    registry.push("team/tool:1", &example());
    let name = registry.name("team/tool:1");
    let system = tempfile::tempdir().expect("a temporary directory");
    let bundle = system.path().join("etc/ssl/cert.pem");
    fs::create_dir_all(bundle.parent().expect("it has one")).expect("it is made");
    let believing = |authority: &Authority| {
        fs::write(&bundle, authority.pem()).expect("it is written");
        let roots = Roots::new(Places::beneath(system.path()));
        Place::with_options(Options { roots, ..Options::default() })
    };
    let error = believing(&other).resolve(&name, &registry.credentials(PASSWORD)).await.expect_err("unknown");
    assert!(matches!(error, ImageError::Tls { .. }) && error.is_temporary(), "{}", told(&error));
    assert!(
        error.to_string().contains("private authority") && told(&error).contains("UnknownIssuer"),
        "{error}"
    );
    let image = believing(&authority).resolve(&name, &registry.credentials(PASSWORD)).await;
    image.unwrap_or_else(|error| panic!("{}", told(&error)));
}

#[tokio::test]
async fn an_image_for_other_machines() {
    let Some(registry) = Registry::start("an_image_for_other_machines", &Setup::default()) else { return };
    registry.push("team/tool:1", &example().for_architecture("s390x"));
    let place = Place::new();
    let error = place.local(&registry.name("team/tool:1")).await.expect_err("it can't run here");
    assert!(matches!(error, ImageError::WrongPlatform { .. }), "{}", told(&error));
    assert!(error.to_string().contains("linux/s390x"), "{error}");
}
