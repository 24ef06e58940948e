//! Comparing a value with a golden file.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::path::PathBuf;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// The value is written exactly as the file says: keys, their order, nulls and omissions.
pub(crate) fn writes<T: Serialize>(name: &str, value: &T) {
    let text = format!("{}\n", serde_json::to_string_pretty(value).unwrap());
    let golden =
        std::fs::read_to_string(path(name)).unwrap_or_else(|fault| panic!("{name}: {fault}\n{text}"));
    assert_eq!(text, golden, "{name}");
}

/// The file reads back as the value.
pub(crate) fn reads<T: DeserializeOwned + PartialEq + Debug>(name: &str, value: &T) {
    let golden = std::fs::read_to_string(path(name)).unwrap_or_else(|fault| panic!("{name}: {fault}"));
    let read: T = serde_json::from_str(&golden).unwrap_or_else(|fault| panic!("{name}: {fault}"));
    assert_eq!(&read, value, "{name}");
}

/// Both directions.
pub(crate) fn round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, value: &T) {
    writes(name, value);
    reads(name, value);
}

#[test]
fn every_golden_file_is_named_by_a_test() {
    let shapes = include_str!("shapes.rs");
    for file in std::fs::read_dir(path("")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(shapes.contains(&format!("\"{name}\"")), "{name} is used by no test");
    }
}
