//! What a job specification may hold.

use jobs::{JobSpec, StepSpec, spec::BadSpec};

fn spec(change: impl FnOnce(&mut JobSpec)) -> JobSpec {
    let step = StepSpec { image: "debian".into(), run: "true".into(), ..StepSpec::default() };
    let mut spec = JobSpec { queue: "batches".into(), steps: vec![step], ..JobSpec::default() };
    change(&mut spec);
    spec
}

fn refusal(change: impl FnOnce(&mut JobSpec)) -> String {
    spec(change).check().expect_err("the specification was accepted").to_string()
}

#[test]
fn a_plain_job_is_fine() {
    assert_eq!(spec(|_| {}).check(), Ok(()));
}

#[test]
fn each_refusal_tells_the_value_and_the_rule() {
    assert!(refusal(|s| s.queue = "bulk".into()).contains(r#"queue "bulk""#));
    assert!(refusal(|s| s.repo = Some("../etc".into())).contains(r#"repository name "../etc""#));
    assert!(refusal(|s| s.rev = Some("main".into())).contains("without a repository"));
    assert!(refusal(|s| s.steps.clear()).contains("no steps"));
    assert!(refusal(|s| s.steps[0].image.clear()).contains("names no image"));
    assert!(refusal(|s| s.steps[0].image = "Not A".into()).contains(r#"image reference "Not A""#));
    assert!(refusal(|s| s.steps[0].run = " \n".into()).contains("nothing to run"));
    assert!(refusal(|s| s.steps[0].dir = "../up".into()).contains(r#""../up""#));
    assert!(refusal(|s| s.steps[0].dir = "/abs".into()).contains(r#""/abs""#));
    assert!(refusal(|s| s.steps[0].name = Some("a b".into())).contains(r#"step name "a b""#));
    assert!(
        refusal(|s| {
            s.repo = Some("demo".into());
            s.rev = Some("--upload-pack=x".into());
        })
        .contains("--upload-pack=x")
    );
    assert!(refusal(|s| drop(s.env.insert("A=B".into(), String::new()))).contains(r#"variable name "A=B""#));
    assert!(refusal(|s| drop(s.env.insert("A".into(), "\0".into()))).contains("NUL"));
    assert!(refusal(|s| drop(s.secrets.insert("A".into(), String::new()))).contains("empty"));
}

#[test]
fn step_names_must_differ_and_a_variable_is_plain_or_secret() {
    let twice = spec(|s| {
        s.steps[0].name = Some("build".into());
        s.steps.push(s.steps[0].clone());
    });
    assert_eq!(twice.check(), Err(BadSpec::DuplicateStep("build".into())));
    let both = spec(|s| {
        s.env.insert("A".into(), "1".into());
        s.secrets.insert("A".into(), "2".into());
    });
    assert_eq!(both.check(), Err(BadSpec::PlainAndSecret("A".into())));
}

#[test]
fn what_is_too_large_is_refused_with_both_sizes() {
    let message = refusal(|s| s.steps[0].run = "x".repeat(jobs::spec::MAX_SPEC_BYTES + 1));
    assert!(message.contains("4194304"), "{message}");
}

#[test]
fn what_no_program_could_be_started_with_is_refused() {
    let long = refusal(|s| drop(s.env.insert("A".into(), "x".repeat(131_070))));
    assert!(long.contains("variable A takes 131072 bytes"), "{long}");
    let much = refusal(|s| (0..9).for_each(|n| drop(s.env.insert(format!("A{n}"), "x".repeat(130_000)))));
    assert!(much.contains("environment of step 0"), "{much}");
    let secrets = refusal(|s| drop(s.secrets.insert("S".into(), "x".repeat(65_536))));
    assert!(secrets.contains("65538 bytes") && !secrets.contains("xxx"), "{secrets}");
    assert!(refusal(|s| s.steps[0].dir = "d".repeat(256)).contains("255"));
    assert!(refusal(|s| s.steps[0].dir = "d/".repeat(1_600)).contains("3000"));
}

#[test]
fn debug_shows_no_secret_value() {
    let job = spec(|s| drop(s.secrets.insert("TOKEN".into(), "hunter2-value".into())));
    let text = format!("{job:?}");
    assert!(text.contains("TOKEN") && !text.contains("hunter2-value"), "{text}");
}
