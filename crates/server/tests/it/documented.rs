//! Documents name tests: those are there.

#[test]
fn tests_that_are_named_are_there() {
    let document = include_str!("../../../../docs/conformance.md");
    let (_, of_ours) = document.split_once("# Stock executors at a control plane of ours").unwrap();
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let named = of_ours.split('`').skip(1).step_by(2).filter_map(|name| name.split_once("::"));
    let mut seen = 0;
    for (file, test) in named {
        let source = std::fs::read_to_string(here.join(file).with_extension("rs")).unwrap_or_default();
        assert!(
            source.contains(&format!("fn {test}()")),
            "{file}::{test} is named in docs/conformance.md and not there"
        );
        seen += 1;
    }
    assert!(seen > 15, "{seen} tests are named");
}
