//! What an executor gives a job, as it says itself.

use crate::app::App;
use http::HeaderMap;
use jobs::name::check_label;
use jobs::needs::MAX_LABELS;
use jobs::{Capacity, parse_size};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use wire::DequeueRequest;
use wire::additions::{ISOLATION, LABELS, Labels, SETTINGS, Settings};

/// Executors whose capacity is remembered as noted.
const MOST_REMEMBERED: usize = 10_000;

/// What was said with a dequeue. An amount of 0, or one that can't be read, counts as not told.
pub(super) fn of(request: &DequeueRequest, headers: &HeaderMap) -> Capacity {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let size = |text: &str| parse_size(text).ok().filter(|bytes| *bytes > 0);
    let labels = Labels::parse(header(LABELS).unwrap_or_default()).0;
    Capacity {
        cpus: u32::try_from(request.num_cpus).ok().filter(|cpus| *cpus > 0),
        memory: size(&request.memory),
        disk: size(&request.disk_space),
        isolation: header(ISOLATION).and_then(|name| name.trim().parse().ok()),
        labels: labels.into_iter().filter(|label| check_label(label).is_ok()).take(MAX_LABELS).collect(),
        settings: Settings::parse(header(SETTINGS).unwrap_or_default()).0,
    }
}

/// What was noted of whom, so that it is not written down with each dequeue.
#[derive(Default)]
pub(crate) struct Capacities(Mutex<HashMap<String, Capacity>>);

impl Capacities {
    /// Whether it is news; from now on it is none.
    fn is_new(&self, executor: &str, capacity: &Capacity) -> bool {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.get(executor) == Some(capacity) {
            return false;
        }
        if noted.len() >= MOST_REMEMBERED {
            noted.clear();
        }
        noted.insert(executor.to_owned(), capacity.clone());
        true
    }

    /// It is to be noted again: an executor is known only from its first heartbeat on.
    pub(super) fn forget(&self, executor: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(executor);
    }
}

/// Notes it, for those who ask why a job waits. A failure costs nothing but a worse answer to them.
pub(super) async fn note(app: &App, executor: &str, capacity: &Capacity) {
    if !app.capacities.is_new(executor, capacity) {
        return;
    }
    let noted = app.store.note_capacity(executor, capacity).await.unwrap_or_else(|fault| {
        let error = &fault as &dyn std::error::Error;
        tracing::warn!(executor, error, "can't note what an executor gives");
        false
    });
    if !noted {
        app.capacities.forget(executor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobs::Isolation;

    #[test]
    fn what_is_said_is_read_and_what_is_not_is_not_told() {
        let request = DequeueRequest {
            num_cpus: 4,
            memory: "12G".to_owned(),
            disk_space: "0".to_owned(),
            ..DequeueRequest::default()
        };
        let mut headers = HeaderMap::new();
        headers.insert(ISOLATION, "user-kernel".parse().unwrap());
        headers.insert(LABELS, "gpu, zone=b,, bad label".parse().unwrap());
        let capacity = of(&request, &headers);
        assert_eq!((capacity.cpus, capacity.memory, capacity.disk), (Some(4), Some(12 << 30), None));
        assert_eq!(capacity.isolation, Some(Isolation::UserKernel));
        assert_eq!(capacity.labels.into_iter().collect::<Vec<_>>(), ["gpu", "zone=b"]);
        assert!(capacity.settings.is_empty());
        headers.insert(SETTINGS, "slots=4; runtime=oci; Bad=1; x= ;; y".parse().unwrap());
        let settings: Vec<_> = of(&request, &headers).settings.into_iter().collect();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(settings, [pair("runtime", "oci"), pair("slots", "4")]);
        headers.insert(ISOLATION, "perfect".parse().unwrap());
        assert_eq!(of(&DequeueRequest::default(), &headers).isolation, None);
    }

    #[test]
    fn the_same_is_noted_once() {
        let (noted, small) = (Capacities::default(), Capacity::default());
        let large = Capacity { cpus: Some(64), ..Capacity::default() };
        assert!(noted.is_new("e1", &small) && !noted.is_new("e1", &small));
        assert!(noted.is_new("e1", &large) && noted.is_new("e2", &large));
        noted.forget("e1");
        assert!(noted.is_new("e1", &large));
        // People see how it is set up, so that is news as well.
        let settings = [("slots".to_owned(), "4".to_owned())].into();
        assert!(noted.is_new("e1", &Capacity { settings, ..large }));
    }
}
