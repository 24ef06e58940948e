//! Who may use an image that the engine has.

use super::bench::{options, run, run_asking};
use super::pull::{ask, ask_with, image, login, open, private_image, registry};
use crate::harness::{Bench, IMAGE};
use images::{ImageError, RegistryCredentials};
use runtimes::RuntimeError;
use runtimes::docker::DockerRuntime;
use testkit::registry::{PASSWORD, Registry, USER};
use testkit::{Engine, EngineKind};

fn assert_unauthorised(asked: &Result<String, RuntimeError>) {
    assert!(matches!(asked, Err(RuntimeError::Image(ImageError::Unauthorised { .. }))), "{asked:?}");
}

/// What the engine's own client pulls is nothing that we know of.
pub(super) fn pull_as_another(engine: &Engine, registry: &Registry, image: &str) {
    engine.told(&["login", "--username", USER, "--password", PASSWORD, &registry.address]);
    engine.told(&["pull", "--quiet", image]);
    engine.told(&["logout", &registry.address]);
}

#[test]
fn a_private_image_is_for_those_who_may_pull_it() {
    let name = "engine::pull::a_private_image_is_for_those_who_may_pull_it";
    run_asking(name, async |bench| {
        let Some((registry, image_name)) = private_image(name, bench.engine(), "secret") else { return };
        let none = RegistryCredentials::default;
        for credentials in [none(), login(&registry, "wrong")] {
            assert_unauthorised(&ask_with(bench, &image_name, credentials).await);
        }
        let good = || login(&registry, PASSWORD);
        assert!(ask_with(bench, &image_name, good()).await.unwrap().starts_with("secret"));
        // The engine has it now, which is nothing to those who may not.
        for credentials in [none(), login(&registry, "wrong")] {
            assert_unauthorised(&ask_with(bench, &image_name, credentials).await);
        }
        // Who has shown it once need not do so for each step.
        let mut sandbox = open(bench, good()).await;
        let (_, _, first) = ask(&mut sandbox, &image_name).await.unwrap();
        let (_, _, second) = ask(&mut sandbox, &image_name).await.unwrap();
        assert!(!first.is_empty() && second.is_empty(), "{first:?} {second:?}");
        sandbox.close().await;
    });
}

#[test]
fn what_anyone_may_pull_is_everyones() {
    let name = "engine::pull::what_anyone_may_pull_is_everyones";
    run_asking(name, async |bench| {
        let Some(registry) = registry(name, bench.engine(), false) else { return };
        registry.push("team/open:1", &image(&format!("open {}", registry.address)));
        let image_name = registry.name("team/open:1");
        ask_with(bench, &image_name, login(&registry, "anything")).await.unwrap();
        drop(registry);
        // Nobody is left to be asked.
        ask_with(bench, &image_name, RegistryCredentials::default()).await.unwrap();
    });
}

#[test]
fn a_private_image_that_another_pulled_is_for_those_who_may_pull_it() {
    let name = "engine::private::a_private_image_that_another_pulled_is_for_those_who_may_pull_it";
    run_asking(name, async |bench| {
        let Some((registry, image_name)) = private_image(name, bench.engine(), "secret") else { return };
        pull_as_another(bench.engine(), &registry, &image_name);
        let none = RegistryCredentials::default;
        assert_unauthorised(&ask_with(bench, &image_name, none()).await);
        let mut sandbox = open(bench, login(&registry, PASSWORD)).await;
        let (_, mark, lines) = ask(&mut sandbox, &image_name).await.unwrap();
        assert!(mark.starts_with("secret"), "{mark}");
        let asking = format!("{image_name} is here already; asking {} who may have it", registry.address);
        assert_eq!(lines, [asking], "nothing was pulled");
        sandbox.close().await;
        assert_unauthorised(&ask_with(bench, &image_name, none()).await);
        // Nor by its digest, which the engine would take for an answer.
        let digests =
            bench.engine().told(&["image", "inspect", "--format", "{{index .RepoDigests 0}}", &image_name]);
        assert_unauthorised(&ask_with(bench, &digests, none()).await);
        assert!(ask_with(bench, &digests, login(&registry, PASSWORD)).await.unwrap().starts_with("secret"));
        for name in [&digests, &image_name] {
            assert_unauthorised(&ask_with(bench, name, none()).await);
        }
    });
}

#[test]
fn an_open_image_that_another_pulled_is_asked_for_once() {
    let name = "engine::private::an_open_image_that_another_pulled_is_asked_for_once";
    run_asking(name, async |bench| {
        let Some(registry) = registry(name, bench.engine(), false) else { return };
        registry.push("team/open:1", &image(&format!("open {}", registry.address)));
        let image_name = registry.name("team/open:1");
        bench.engine().told(&["pull", "--quiet", &image_name]);
        let mut sandbox = open(bench, RegistryCredentials::default()).await;
        let (_, mark, lines) = ask(&mut sandbox, &image_name).await.unwrap();
        assert!(mark.starts_with("open") && lines.len() == 1, "{mark} {lines:?}");
        sandbox.close().await;
        drop(registry);
        // Nobody is left to be asked, and another start knows it as well.
        bench.runtime = Box::new(DockerRuntime::new(options(bench.engine(), &bench.dir)).unwrap());
        let mut sandbox = open(bench, RegistryCredentials::default()).await;
        let (_, _, lines) = ask(&mut sandbox, &image_name).await.unwrap();
        assert!(lines.is_empty(), "{lines:?}");
        sandbox.close().await;
        // One that has never seen it given to anyone can't know.
        forget(bench);
        let asked = ask_with(bench, &image_name, RegistryCredentials::default()).await;
        assert!(matches!(asked, Err(RuntimeError::Image(ImageError::EnginePull { .. }))), "{asked:?}");
        let mut options = options(bench.engine(), &bench.dir);
        options.shares_images = true;
        bench.runtime = Box::new(DockerRuntime::new(options).unwrap());
        ask_with(bench, &image_name, RegistryCredentials::default()).await.unwrap();
    });
}

fn forget(bench: &Bench) {
    let known = bench.dir.join("state/public-repositories");
    for file in std::fs::read_dir(known).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
}

#[test]
fn an_image_that_came_from_nowhere_is_used_as_it_was_put_there() {
    let name = "engine::private::an_image_that_came_from_nowhere_is_used_as_it_was_put_there";
    run_asking(name, async |bench| {
        if !bench.engine().knows_what_was_loaded() {
            return testkit::missing_part(name, "an engine that knows what was loaded");
        }
        // Nobody listens there.
        let image_name = "127.0.0.1:1/team/built-here:1";
        bench.engine().load(image_name, &image("built here"));
        let mut sandbox = open(bench, RegistryCredentials::default()).await;
        let (_, mark, lines) = ask(&mut sandbox, image_name).await.unwrap();
        assert!(mark == "built here" && lines.is_empty(), "{mark} {lines:?}");
        sandbox.close().await;
    });
}

#[test]
fn podman_finds_a_digest_in_its_own_repository_only() {
    let name = "engine::private::podman_finds_a_digest_in_its_own_repository_only";
    run(name, EngineKind::Podman, async |bench| {
        let digests =
            bench.engine().told(&["image", "inspect", "--format", "{{index .RepoDigests 0}}", IMAGE]);
        let (_, digest) = digests.split_once('@').unwrap();
        // Podman has it under any name.
        let elsewhere = format!("127.0.0.1:1/another@{digest}");
        let asked = ask_with(bench, &elsewhere, RegistryCredentials::default()).await;
        assert!(matches!(asked, Err(RuntimeError::Image(_))), "{asked:?}");
    });
}
