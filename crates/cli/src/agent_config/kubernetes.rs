//! What is said of Kubernetes, judged whatever the runtime, as the reference does. Nothing acts on
//! it yet.

use super::json::{self, Fields, Shape};
use super::quantity;
use crate::env::EnvReader;
use serde_json::{Map, Value};

const REQUIREMENT: &Fields = &[("key", Shape::Text), ("operator", Shape::Text), ("values", Shape::Texts)];
const POD_AFFINITY_TERM: &Fields = &[
    ("labelSelector", Shape::Object),
    ("namespaces", Shape::Texts),
    ("topologyKey", Shape::Text),
    ("namespaceSelector", Shape::Object),
];
const TOLERATION: &Fields = &[
    ("key", Shape::Text),
    ("operator", Shape::Text),
    ("value", Shape::Text),
    ("effect", Shape::Text),
    ("tolerationSeconds", Shape::Integer),
];
const VOLUME: &Fields = &[("name", Shape::Text)];
const VOLUME_MOUNT: &Fields = &[
    ("name", Shape::Text),
    ("readOnly", Shape::Bool),
    ("mountPath", Shape::Text),
    ("subPath", Shape::Text),
    ("mountPropagation", Shape::Text),
    ("subPathExpr", Shape::Text),
];

/// The largest user or group that a pod may run as.
const LARGEST_ID: i64 = 2_147_483_647;

/// The documented checks, in the documented order, but for the last one.
pub(super) fn check(env: &mut EnvReader<'_>) {
    for name in [
        "EXECUTOR_KUBERNETES_NODE_REQUIRED_AFFINITY_MATCH_EXPRESSIONS",
        "EXECUTOR_KUBERNETES_NODE_REQUIRED_AFFINITY_MATCH_FIELDS",
    ] {
        objects(env, name, name, REQUIREMENT);
    }
    let pods = "EXECUTOR_KUBERNETES_POD_AFFINITY";
    let pod_affinity = objects(env, pods, pods, POD_AFFINITY_TERM);
    // The documented words name variables that there are not.
    objects(env, "KUBERNETES_ADDITIONAL_JOB_VOLUME_MOUNTS", "KUBERNETES_JOB_MOUNTS", VOLUME_MOUNT);
    objects(env, "KUBERNETES_ADDITIONAL_JOB_VOLUMES", "KUBERNETES_JOB_VOLUMES", VOLUME);
    texts(env, "KUBERNETES_JOB_ANNOTATIONS");
    texts(env, "KUBERNETES_JOB_POD_ANNOTATIONS");
    one_of(
        env,
        "KUBERNETES_JOB_VOLUME_TYPE",
        &["emptyDir", "pvc"],
        "invalid KUBERNETES_JOB_VOLUME_TYPE, valid values are 'emptyDir' and 'pvc'",
    );
    topology_keys(env, pods, &pod_affinity);
    let anti = "EXECUTOR_KUBERNETES_POD_ANTI_AFFINITY";
    let anti_affinity = objects(env, anti, anti, POD_AFFINITY_TERM);
    topology_keys(env, anti, &anti_affinity);
    let tolerations = "EXECUTOR_KUBERNETES_NODE_TOLERATIONS";
    objects(env, tolerations, tolerations, TOLERATION);
}

/// The last documented check of all.
pub(super) fn check_node_selector(env: &mut EnvReader<'_>) {
    let Some(selector) = env.text("EXECUTOR_KUBERNETES_NODE_SELECTOR") else { return };
    for _ in selector.split(',').filter(|item| item.matches('=').count() != 1) {
        env.fault("EXECUTOR_KUBERNETES_NODE_SELECTOR must be a comma separated list of key=value pairs");
    }
}

/// What the reference does not check, and breaks at.
pub(super) fn check_more(env: &mut EnvReader<'_>) {
    for name in [
        "EXECUTOR_KUBERNETES_RESOURCE_LIMIT_CPU",
        "EXECUTOR_KUBERNETES_RESOURCE_LIMIT_MEMORY",
        "EXECUTOR_KUBERNETES_RESOURCE_REQUEST_CPU",
        "EXECUTOR_KUBERNETES_RESOURCE_REQUEST_MEMORY",
        "KUBERNETES_JOB_VOLUME_SIZE",
    ] {
        let Some(value) = env.text(name) else { continue };
        if let Err(fault) = quantity::check(&value) {
            env.fault(format!("invalid quantity {value:?} for {name}: {fault}"));
        }
    }
    if env.text("KUBERNETES_IMAGE_PULL_POLICY").is_some() {
        one_of(
            env,
            "KUBERNETES_IMAGE_PULL_POLICY",
            &["Always", "IfNotPresent", "Never"],
            "invalid KUBERNETES_IMAGE_PULL_POLICY, valid values are 'Always', 'IfNotPresent' and 'Never'",
        );
    }
    for (name, least) in
        [("KUBERNETES_RUN_AS_USER", -1), ("KUBERNETES_RUN_AS_GROUP", -1), ("KUBERNETES_FS_GROUP", 0)]
    {
        let value = env.int(name).filter(|value| !(least..=LARGEST_ID).contains(value));
        if let Some(value) = value {
            env.fault(format!("invalid int \"{value}\" for {name}: it must be {least} to {LARGEST_ID}"));
        }
    }
}

fn one_of(env: &mut EnvReader<'_>, name: &'static str, values: &[&str], fault: &str) {
    if !values.contains(&env.text(name).unwrap_or_default().as_str()) {
        env.fault(fault);
    }
}

/// `told` is the name in the documented words.
fn objects(
    env: &mut EnvReader<'_>,
    name: &'static str,
    told: &str,
    fields: &Fields,
) -> Vec<Map<String, Value>> {
    let Some(text) = env.text(name) else { return Vec::new() };
    json::objects(&text, fields).unwrap_or_else(|fault| {
        let meant = if name == told { String::new() } else { format!("{name}: ") };
        env.fault(format!("invalid {told}, failed to parse: {meant}{fault}"));
        Vec::new()
    })
}

fn texts(env: &mut EnvReader<'_>, name: &'static str) {
    let Some(text) = env.text(name) else { return };
    if let Err(fault) = json::texts(&text) {
        env.fault(format!("invalid {name}, failed to parse: {fault}"));
    }
}

fn topology_keys(env: &mut EnvReader<'_>, name: &str, terms: &[Map<String, Value>]) {
    let has_key = |term: &Map<String, Value>| {
        term.get("topologyKey").and_then(Value::as_str).is_some_and(|key| !key.is_empty())
    };
    for _ in terms.iter().filter(|term| !has_key(term)) {
        env.fault(format!("{name} must contain a topologyKey"));
    }
}

#[cfg(test)]
mod tests {
    use crate::agent_config::tests::{faults, read};

    #[test]
    fn each_document_is_refused_with_its_documented_words() {
        for (name, told) in [
            ("EXECUTOR_KUBERNETES_NODE_REQUIRED_AFFINITY_MATCH_EXPRESSIONS", None),
            ("EXECUTOR_KUBERNETES_NODE_REQUIRED_AFFINITY_MATCH_FIELDS", None),
            ("EXECUTOR_KUBERNETES_POD_AFFINITY", None),
            ("EXECUTOR_KUBERNETES_POD_ANTI_AFFINITY", None),
            ("EXECUTOR_KUBERNETES_NODE_TOLERATIONS", None),
            ("KUBERNETES_JOB_ANNOTATIONS", None),
            ("KUBERNETES_JOB_POD_ANNOTATIONS", None),
            ("KUBERNETES_ADDITIONAL_JOB_VOLUMES", Some("KUBERNETES_JOB_VOLUMES")),
            ("KUBERNETES_ADDITIONAL_JOB_VOLUME_MOUNTS", Some("KUBERNETES_JOB_MOUNTS")),
        ] {
            let expected = match told {
                None => format!("invalid {name}, failed to parse: unexpected end of JSON input"),
                Some(told) => {
                    format!("invalid {told}, failed to parse: {name}: unexpected end of JSON input")
                }
            };
            assert_eq!(faults(&[(name, "{")]), [expected]);
            assert_eq!(faults(&[(name, "")]), [""; 0], "empty is nothing");
        }
    }

    #[test]
    fn terms_of_affinity_need_a_topology_key() {
        for name in ["EXECUTOR_KUBERNETES_POD_AFFINITY", "EXECUTOR_KUBERNETES_POD_ANTI_AFFINITY"] {
            let expected = format!("{name} must contain a topologyKey");
            assert_eq!(faults(&[(name, r#"[{"labelSelector":{}}]"#)]), [expected.as_str()]);
            assert_eq!(faults(&[(name, r#"[{"topologyKey":""}]"#)]), [expected.as_str()]);
            assert!(read(&[(name, r#"[{"topologyKey":"kubernetes.io/hostname"}]"#)]).is_ok());
            assert!(read(&[(name, r#"[{"TopologyKey":"kubernetes.io/hostname"}]"#)]).is_ok());
        }
    }

    #[test]
    fn selectors_are_pairs_and_each_that_is_none_is_told() {
        let selector = |value| faults(&[("EXECUTOR_KUBERNETES_NODE_SELECTOR", value)]);
        let expected = "EXECUTOR_KUBERNETES_NODE_SELECTOR must be a comma separated list of key=value pairs";
        assert_eq!(selector("a=b,c=d"), [""; 0]);
        assert_eq!(selector("a=b,c"), [expected]);
        assert_eq!(selector("a=b=c,d"), [expected, expected]);
    }

    #[test]
    fn a_workspace_s_volume_is_one_of_two() {
        let kind = |value| faults(&[("KUBERNETES_JOB_VOLUME_TYPE", value)]);
        assert_eq!(kind("pvc"), [""; 0]);
        assert_eq!(
            kind("hostPath"),
            ["invalid KUBERNETES_JOB_VOLUME_TYPE, valid values are 'emptyDir' and 'pvc'"]
        );
    }

    #[test]
    fn what_would_break_the_reference_is_refused() {
        for (name, value, told) in [
            ("EXECUTOR_KUBERNETES_RESOURCE_LIMIT_CPU", "lots", "invalid quantity \"lots\" for "),
            ("EXECUTOR_KUBERNETES_RESOURCE_REQUEST_MEMORY", "12GiB", "invalid quantity \"12GiB\" for "),
            ("KUBERNETES_JOB_VOLUME_SIZE", "-1", "invalid quantity \"-1\" for "),
            ("KUBERNETES_FS_GROUP", "-1", "invalid int \"-1\" for "),
            ("KUBERNETES_RUN_AS_USER", "2147483648", "invalid int \"2147483648\" for "),
            ("KUBERNETES_IMAGE_PULL_POLICY", "Sometimes", "invalid KUBERNETES_IMAGE_PULL_POLICY, "),
        ] {
            let faults = faults(&[(name, value)]);
            assert!(faults.len() == 1 && faults[0].starts_with(told), "{faults:?}");
        }
        for (name, value) in [("KUBERNETES_RUN_AS_USER", ""), ("KUBERNETES_RUN_AS_GROUP", "-1")] {
            assert!(read(&[(name, value)]).is_ok(), "{name}");
        }
    }
}
