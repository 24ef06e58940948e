//! A pull for people: a line now and then, however much the engine says.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The first line comes after this; each later one after twice as long, so that even a pull of a day
/// makes a handful.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const MEBIBYTE: u64 = 1 << 20;
/// Layers that are counted. Images have at most 127.
const MOST_LAYERS: usize = 1_000;

/// One thing that the engine said.
#[derive(Debug, Default)]
pub(super) struct Event {
    /// The layer that it is about, if it is about one.
    pub(super) layer: String,
    pub(super) status: String,
    /// Bytes done, and bytes in all, where they were told.
    pub(super) current: u64,
    pub(super) total: u64,
}

/// Sums up what was said.
#[derive(Debug)]
pub(super) struct Reporter {
    layers: BTreeMap<String, Layer>,
    next: Instant,
    pause: Duration,
}

#[derive(Debug, Default)]
struct Layer {
    fetched: u64,
    total: u64,
    done: bool,
}

impl Reporter {
    pub(super) fn new(now: Instant) -> Self {
        Self { layers: BTreeMap::new(), next: now + FIRST_PAUSE, pause: FIRST_PAUSE }
    }

    /// A line, when it is time for one.
    pub(super) fn hear(&mut self, event: &Event, now: Instant) -> Option<String> {
        self.count(event);
        if now < self.next || self.layers.is_empty() {
            return None;
        }
        self.pause *= 2;
        self.next = now + self.pause;
        let done = self.layers.values().filter(|layer| layer.done).count();
        let sum = |of: fn(&Layer) -> u64| self.layers.values().map(of).sum::<u64>() / MEBIBYTE;
        let (fetched, total) = (sum(|layer| layer.fetched), sum(|layer| layer.total));
        Some(format!("{done} of {} layers are there, {fetched} of {total} MiB fetched", self.layers.len()))
    }

    fn count(&mut self, event: &Event) {
        let known = self.layers.contains_key(&event.layer);
        if !known && (!starts_layer(&event.status) || self.layers.len() == MOST_LAYERS) {
            return;
        }
        let layer = self.layers.entry(event.layer.clone()).or_default();
        match event.status.as_str() {
            "Downloading" => (layer.fetched, layer.total) = (event.current, event.total),
            "Download complete" => layer.fetched = layer.total,
            "Pull complete" | "Already exists" => {
                (layer.fetched, layer.done) = (layer.total, true);
            }
            _ => {}
        }
    }
}

/// The engine's other messages have ids too, such as the tag.
fn starts_layer(status: &str) -> bool {
    matches!(status, "Pulling fs layer" | "Waiting" | "Downloading" | "Already exists" | "Pull complete")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(layer: &str, status: &str, current: u64, total: u64) -> Event {
        let (layer, status) = (layer.into(), status.into());
        Event { layer, status, current: current << 20, total: total << 20 }
    }

    #[test]
    fn layers_are_summed_up() {
        let begun = Instant::now();
        let mut reporter = Reporter::new(begun);
        let late = begun + FIRST_PAUSE;
        assert_eq!(reporter.hear(&event("3", "Pulling from library/alpine", 0, 0), late), None);
        for said in [
            event("a", "Already exists", 0, 0),
            event("b", "Pulling fs layer", 0, 0),
            event("b", "Downloading", 3, 9),
            event("c", "Pulling fs layer", 0, 0),
        ] {
            assert_eq!(reporter.hear(&said, begun), None);
        }
        let line = reporter.hear(&event("c", "Downloading", 1, 2), late).unwrap();
        assert_eq!(line, "1 of 3 layers are there, 4 of 11 MiB fetched");
        assert_eq!(reporter.hear(&event("b", "Pull complete", 0, 0), late), None);
        let line = reporter.hear(&event("c", "Download complete", 0, 0), late + 2 * FIRST_PAUSE).unwrap();
        assert_eq!(line, "2 of 3 layers are there, 11 of 11 MiB fetched");
    }

    #[test]
    fn a_long_pull_makes_few_lines() {
        let begun = Instant::now();
        let mut reporter = Reporter::new(begun);
        let said = (0..86_400).filter_map(|second| {
            let now = begun + Duration::from_secs(second);
            reporter.hear(&event("a", "Downloading", second, 86_400), now)
        });
        assert!((10..20).contains(&said.count()));
    }
}
