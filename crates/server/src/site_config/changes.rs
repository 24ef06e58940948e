//! Which keys of the site configuration change, for the audit log. Never a value.

use super::object_store::OBJECT_STORE;
use super::parse::{USED, values};
use crate::acts::{Act, Action, note as note_act};
use crate::app::App;
use crate::auth::principal::root;
use crate::rounds::Rounds;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

/// How often to look for changes, which take effect with the next request.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What tells one value of a key from another: its digest, since some are secrets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Keys(pub(super) BTreeMap<&'static str, [u8; 32]>);

impl Keys {
    /// Those of a text that can be used.
    pub(super) fn of(text: &str) -> Self {
        let digest = |(key, value): (_, serde_json::Value)| (key, Sha256::digest(value.to_string()).into());
        Self(values(text).into_iter().map(digest).collect())
    }

    /// Those that are there in one of the two only, or with another value.
    pub(super) fn that_differ(&self, before: &Self) -> Vec<&'static str> {
        USED.into_iter().filter(|key| self.0.get(key) != before.0.get(key)).collect()
    }
}

/// Notes changes until the server stops.
pub(crate) async fn note(app: App) {
    let mut rounds = Rounds::every(&app, LOOK_EVERY);
    while rounds.next().await.is_some() {
        let [before, now] = app.site.take_changed();
        for told in [told_of_before(&before), told(&now)].into_iter().filter(|told| !told.is_empty()) {
            // Who may write that file is on this host, and is nobody whom we know.
            let act = Act::global(Action::ChangeSite, "site configuration", told);
            note_act(&app, &root(), Ipv4Addr::LOCALHOST.into(), act).await;
        }
        // Not before it is noted: whoever is killed in between has it noted twice, and not never.
        app.site.remember();
    }
}

fn told_of_before(changed: &BTreeSet<&'static str>) -> String {
    let keys: Vec<_> = changed.iter().copied().collect();
    if keys.is_empty() { String::new() } else { format!("{} (while no server ran)", keys.join(", ")) }
}

fn told(changed: &BTreeSet<&'static str>) -> String {
    let told = changed.iter().map(|key| match *key {
        OBJECT_STORE => format!("{OBJECT_STORE} (from the next start on)"),
        key => key.to_owned(),
    });
    told.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site_config::parse::parse;

    #[test]
    fn all_that_has_an_effect_is_looked_at() {
        // What a key may hold that has one is looked at; a key that has none is told as such.
        for key in USED {
            let idle = parse(&format!("{{{key:?}: null}}")).map(|(_, idle)| idle);
            assert_eq!(idle, Ok(Vec::new()), "{key}");
        }
    }

    #[test]
    fn what_is_written_in_another_way_is_no_change() {
        let keys = Keys::of;
        let before = keys(r#"{"executors.accessToken": "a", "executors.auditKeptDays": 7, "other": 1}"#);
        let after = keys(
            r#"{/* tidied */ "executors.auditKeptDays": 7, "executors.accessToken": "a", "executors.uploadsKeptDays": null,}"#,
        );
        assert_eq!(after.that_differ(&before), Vec::<&str>::new());
        assert_eq!(keys("{}").that_differ(&before), ["executors.accessToken", "executors.auditKeptDays"]);
        assert_eq!(told(&BTreeSet::from([OBJECT_STORE])), "executors.objectStore (from the next start on)");
    }
}
