//! Skipping loudly.

use std::io::Write;

/// Says that a test is skipped for want of `part`, on standard error and in the file that
/// `cargo xtask test` counts. Return from the test after calling it.
///
/// Under `CI=true` the part must be there, so this panics instead.
#[expect(clippy::print_stderr, reason = "a skip must be seen")]
#[expect(clippy::disallowed_methods, reason = "whoever runs the tests says where the list is")]
pub fn missing_part(test: &str, part: &str) {
    let line = format!("SKIPPED {test}: {part} is not available here");
    assert!(!flag("CI"), "{line}, but CI must have it");
    eprintln!("{line}");
    if let Some(path) = std::env::var_os("EXECUTOR_TEST_SKIPS") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        let written = file.and_then(|mut file| writeln!(file, "{line}"));
        written.expect("the list of skipped tests can be written");
    }
}

/// Whether the test runs as root.
pub fn have_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

#[expect(clippy::disallowed_methods, reason = "set by whoever runs the tests")]
fn flag(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| value == "true")
}
