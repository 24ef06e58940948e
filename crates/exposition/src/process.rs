//! What this process uses, under the names that every exporter has for it.

use super::text::{Kind, Text};
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};
use std::fs;

/// Fields of `/proc/self/stat` after the program's name, which may hold blanks.
const USER_TICKS: usize = 11;
const SYSTEM_TICKS: usize = 12;
const THREADS: usize = 17;
const START_TICKS: usize = 19;
const VIRTUAL_BYTES: usize = 20;
const RESIDENT_PAGES: usize = 21;

/// Adds what can be read; what can't is left out.
pub fn write(text: &mut Text) {
    if let Some(stat) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(fields) {
        write_stat(text, &stat);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One of them is the directory itself.
        let open = open.count().saturating_sub(1);
        text.single("process_open_fds", "Open file descriptors.", Kind::Gauge, open as f64);
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        text.single("process_max_fds", "Open file descriptors at most.", Kind::Gauge, most as f64);
    }
}

fn write_stat(text: &mut Text, stat: &[f64]) {
    let field = |index: usize| stat.get(index).copied().unwrap_or_default();
    let hertz = clock_ticks_per_second() as f64;
    let cpu = (field(USER_TICKS) + field(SYSTEM_TICKS)) / hertz;
    text.single("process_cpu_seconds_total", "User and system CPU time, in seconds.", Kind::Counter, cpu);
    let resident = field(RESIDENT_PAGES) * page_size() as f64;
    text.single("process_resident_memory_bytes", "Resident memory, in bytes.", Kind::Gauge, resident);
    let virtual_bytes = field(VIRTUAL_BYTES);
    text.single("process_virtual_memory_bytes", "Virtual memory, in bytes.", Kind::Gauge, virtual_bytes);
    text.single("process_threads", "Threads.", Kind::Gauge, field(THREADS));
    if let Some(booted) = booted() {
        let began = booted + field(START_TICKS) / hertz;
        text.single("process_start_time_seconds", "Start, in seconds since 1970.", Kind::Gauge, began);
    }
}

/// The numbers after the name.
fn fields(stat: &str) -> Option<Vec<f64>> {
    let (_, after) = stat.rsplit_once(')')?;
    Some(after.split_ascii_whitespace().map(|field| field.parse().unwrap_or_default()).collect())
}

/// When this machine started, in seconds since 1970.
fn booted() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_parentheses_shifts_nothing() {
        let stat =
            "7 (a b) c) S 1 7 7 0 -1 4194560 1 2 3 4 250 50 0 0 20 0 9 0 1000 8192 3 18446744073709551615";
        let stat = fields(stat).unwrap();
        let mut text = Text::default();
        write_stat(&mut text, &stat);
        let text = text.into_string();
        let pages = 3 * page_size();
        for line in [
            &format!("process_cpu_seconds_total {}", 300.0 / clock_ticks_per_second() as f64),
            &format!("process_resident_memory_bytes {pages}"),
            "process_virtual_memory_bytes 8192",
            "process_threads 9",
        ] {
            assert!(text.lines().any(|seen| seen == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn this_process_has_all_of_them() {
        let mut text = Text::default();
        write(&mut text);
        assert_eq!(text.into_string().matches("# TYPE process_").count(), 7);
    }
}
