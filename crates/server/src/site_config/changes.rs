//! Which keys of the site configuration change, for the audit log. Never a value.

use super::object_store::OBJECT_STORE;
use super::parse::{USED, values};
use crate::acts::{Act, Action, try_note as note_act};
use crate::app::App;
use crate::auth::principal::root;
use crate::rounds::Rounds;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;
use store::StoreError;

/// How often to look for changes, which take effect with the next request.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What tells one value of a key from another: its digest, since some are secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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

/// Changes that were not noted yet.
#[derive(Debug, Clone)]
pub(super) struct Changes {
    /// Keys whose values changed while no server ran.
    pub(super) before: BTreeSet<&'static str>,
    /// Those whose values changed since then.
    pub(super) since: BTreeSet<&'static str>,
    /// What is in force with them.
    pub(super) keys: Keys,
}

/// Notes changes until the server stops.
pub(crate) async fn note(app: App) {
    let mut rounds = Rounds::every(&app, LOOK_EVERY);
    while rounds.next().await.is_some() {
        let changes = app.site.changes();
        if note_all(&app, &changes).await.is_ok() {
            // Not before it is noted: whoever is killed in between has it noted twice, and not never.
            app.site.were_noted(&changes);
        }
    }
}

async fn note_all(app: &App, changes: &Changes) -> Result<(), StoreError> {
    let told = [told_of_before(&changes.before), told(&changes.since)];
    let told: Vec<_> = told.into_iter().filter(|told| !told.is_empty()).collect();
    if told.is_empty() {
        return Ok(());
    }
    // Who may write that file is on this host, and is nobody whom we know. One act: it is noted whole or not at all.
    let act = Act::global(Action::ChangeSite, "site configuration", told.join("; "));
    note_act(app, &root(), Ipv4Addr::LOCALHOST.into(), act).await
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

    /// A key that works and isn't listed would change without a word in the audit log; all that work are documented.
    #[test]
    fn all_that_is_documented_is_looked_at() {
        let text = include_str!("../../../../docs/operating.md");
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
        let named = rows.flat_map(|names| names.split('`'));
        let keys = named.filter(|name| ["executors.", "batchChanges."].iter().any(|of| name.starts_with(of)));
        assert_eq!(keys.collect::<BTreeSet<_>>(), BTreeSet::from(USED));
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
