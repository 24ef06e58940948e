//! What a job specification may hold.

use jobs::files::{MAX_FILES, is_file_id};
use jobs::{FileSpec, JobSpec, StepSpec, spec::BadSpec, spec::MAX_DELAY_SECONDS};

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
fn a_delay_is_counted_from_when_it_is_submitted_and_is_the_only_time() {
    let now = "2031-01-01T06:00:00Z".parse().unwrap();
    let delayed = spec(|s| s.delay_seconds = Some(90));
    assert_eq!(delayed.check(), Ok(()));
    assert_eq!(delayed.due(now).unwrap().to_string(), "2031-01-01T06:01:30Z");
    assert_eq!((spec(|_| {}).due(now), spec(|s| s.not_before = Some(now)).due(now)), (None, Some(now)));
    let both = spec(|s| (s.delay_seconds, s.not_before) = (Some(0), Some(now)));
    assert_eq!(both.check(), Err(BadSpec::TwoTimes));
    let longest = spec(|s| s.delay_seconds = Some(MAX_DELAY_SECONDS));
    assert_eq!(longest.check(), Ok(()));
    assert!(
        refusal(|s| s.delay_seconds = Some(u64::MAX))
            .contains("delaySeconds is 18446744073709551615: use 0 to")
    );
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
    let many_times = refusal(|s| {
        (0..8).for_each(|n| drop(s.env.insert(format!("A{n}"), "x".repeat(125_000))));
        s.steps = vec![s.steps[0].clone(); 34];
    });
    assert!(many_times.contains("environments of all steps take 34000816 bytes"), "{many_times}");
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

fn file(path: &str) -> FileSpec {
    FileSpec { path: path.into(), content: Some("text".into()), ..FileSpec::default() }
}

#[test]
fn files_have_plain_paths_below_the_workspace() {
    for path in ["a", "a/b/c.txt", "..a", "a b", ".git/info", "ü"] {
        assert_eq!(spec(|s| s.files = vec![file(path)]).check(), Ok(()), "{path}");
    }
    let long = "d/".repeat(1_600);
    for path in ["", "/a", "..", "a/../b", "../a", "a//b", "a/", ".", "./a", "a/./b", "a\0b", "a\nb", &long] {
        let told = refusal(|s| s.files = vec![file(path)]);
        assert!(told.contains("can't be put into the workspace"), "{path:?}: {told}");
    }
}

#[test]
fn no_two_files_want_the_same_place() {
    assert!(refusal(|s| s.files = vec![file("a"), file("b"), file("a")]).contains(r#"the path "a""#));
    let below = refusal(|s| s.files = vec![file("a/b/c"), file("a"), file("a.txt")]);
    assert!(below.contains(r#""a/b/c" lies below "a""#), "{below}");
    assert_eq!(spec(|s| s.files = vec![file("a/b"), file("a/c"), file("ab")]).check(), Ok(()));
    let many = refusal(|s| s.files = (0..=MAX_FILES).map(|n| file(&n.to_string())).collect());
    assert!(many.contains("1001 files"), "{many}");
}

#[test]
fn a_file_has_content_or_an_upload_and_never_both() {
    let id = "0123456789abcdef0123456789abcdef";
    let uploaded = |id: &str| FileSpec { content: None, upload: Some(id.into()), ..file("a") };
    assert_eq!(spec(|s| s.files = vec![uploaded(id)]).check(), Ok(()));
    for wrong in ["", "x", "../../../../../../etc/passwd1234", &id.to_uppercase(), &id[1..]] {
        assert!(!is_file_id(wrong), "{wrong}");
        assert!(refusal(|s| s.files = vec![uploaded(wrong)]).contains("32 hexadecimal"), "{wrong}");
    }
    let neither = FileSpec { content: None, ..file("a") };
    let both = FileSpec { upload: Some(id.into()), ..file("a") };
    for file in [neither, both] {
        assert!(refusal(|s| s.files = vec![file]).contains("either content or an upload"));
    }
}

#[test]
fn inline_files_count_towards_the_size_of_the_job() {
    let large = FileSpec { content: Some("x".repeat(jobs::spec::MAX_SPEC_BYTES)), ..file("a") };
    assert!(refusal(|s| s.files = vec![large]).contains("inline files"));
}
