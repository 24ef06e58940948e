//! All of it as text, with what is known elsewhere as it is at this moment.

use super::depth::in_time;
use super::forwarded;
use crate::app::App;
use crate::public_api::is_active;
use exposition::{Kind, Text, process};
use rustix::fs::statvfs;
use store::{Census, ExecutorRow, StoreError};

/// Everything that this server tells, and what executors forwarded.
pub(crate) async fn text(app: &App) -> String {
    let mut text = Text::default();
    app.depths.look(app).await.write(&mut text);
    of_multiple_queues(app, &mut text);
    // Neither keeps the rest from being told.
    let (executors, census) = tokio::join!(in_time(app.store.executors()), in_time(app.store.census()));
    of_executors(app, &mut text, executors.as_deref(), census.as_ref());
    of_database(&mut text, census.as_ref());
    of_disk(app, &mut text);
    app.metrics.write(&mut text);
    let good = f64::from(u8::from(app.site.is_good()));
    text.single(
        "executor_server_site_config_good",
        "1 while the site configuration in force is the one in the file.",
        Kind::Gauge,
        good,
    );
    if let Some(tls) = &app.tls {
        text.single(
            "executor_server_certificate_expires_seconds",
            "Until when the certificate is valid, in seconds since 1970.",
            Kind::Gauge,
            tls.shown().valid_until as f64,
        );
    }
    text.family("executor_server_build_info", "Which version runs.", Kind::Gauge);
    text.sample("executor_server_build_info", &[("version", &app.version)], 1.0);
    let (texts, left_out) = app.forwarded.fresh();
    text.single(
        "executor_server_forwarded_left_out_total",
        "Metrics of executors for which there was no room.",
        Kind::Counter,
        left_out as f64,
    );
    // It reads files of the system, and perhaps megabytes of others' text.
    let whole = tokio::task::spawn_blocking(move || {
        process::write(&mut text);
        forwarded::merged(&text.into_string(), &texts)
    });
    whole.await.unwrap_or_default()
}

fn of_multiple_queues(app: &App, text: &mut Text) {
    let (name, now) = ("multiqueue_executor_dequeue_cache_size", app.clock.now());
    text.family(name, "Jobs that executors of several queues got in the last five minutes.", Kind::Gauge);
    for queue in wire::paths::QUEUES {
        text.sample(name, &[("queue", queue)], app.fairness.given(queue, now) as f64);
    }
}

fn of_executors(app: &App, text: &mut Text, rows: Option<&[ExecutorRow]>, census: Option<&Census>) {
    let Some(rows) = rows else { return };
    let now = app.clock.now();
    let active = rows.iter().filter(|row| is_active(row, app.leases, now)).count();
    let resting =
        rows.iter().filter(|row| is_active(row, app.leases, now) && row.maintenance_at.is_some()).count();
    let name = "executor_server_executors";
    text.family(name, "Executors that were heard of within a week, by how they are.", Kind::Gauge);
    for (state, count) in
        [("active", active - resting), ("maintenance", resting), ("silent", rows.len() - active)]
    {
        text.sample(name, &[("state", state)], count as f64);
    }
    let name = "executor_server_queue_executors";
    text.family(name, "Executors that take jobs of a queue.", Kind::Gauge);
    let asks = |row: &&ExecutorRow| is_active(row, app.leases, now) && row.takes_none.is_none();
    let takes = |row: &&ExecutorRow| asks(row) && row.maintenance_at.is_none();
    for queue in wire::paths::QUEUES {
        let of = rows.iter().filter(takes).filter(|row| row.queues.iter().any(|served| served == queue));
        text.sample(name, &[("queue", queue)], of.count() as f64);
    }
    let Some(census) = census else { return };
    text.single(
        "executor_server_executors_unreadable",
        "Executors that can't be read in the database. The others are told all the same.",
        Kind::Gauge,
        census.executors.saturating_sub(rows.len() as u64) as f64,
    );
}

fn of_database(text: &mut Text, census: Option<&Census>) {
    let up = f64::from(u8::from(census.is_some()));
    text.single("executor_server_database_up", "1 while the database answers.", Kind::Gauge, up);
    text.single(
        "executor_server_unreadable_values_total",
        "How often something in the database was met that can't be read.",
        Kind::Counter,
        StoreError::unreadable() as f64,
    );
    let Some(census) = census else { return };
    let mut gauge = |name, help, value| text.single(name, help, Kind::Gauge, value);
    gauge("executor_server_secrets", "Secrets that are kept, sealed.", census.secrets as f64);
    gauge("executor_server_repositories", "Repositories.", census.repositories as f64);
    gauge("executor_server_database_bytes", "Bytes of the database.", census.database_bytes as f64);
    let name = "executor_server_database_connections";
    text.family(name, "Connections to the database.", Kind::Gauge);
    let used = census.connections.saturating_sub(census.idle_connections);
    for (state, count) in [("idle", census.idle_connections), ("used", used)] {
        text.sample(name, &[("state", state)], count.into());
    }
    text.single(
        "executor_server_database_connections_max",
        "Connections to the database at most.",
        Kind::Gauge,
        census.max_connections.into(),
    );
}

fn of_disk(app: &App, text: &mut Text) {
    let Ok(disk) = statvfs(&app.data_dir) else { return };
    let mut gauge = |name, help, blocks: u64| {
        text.single(name, help, Kind::Gauge, blocks as f64 * disk.f_frsize as f64);
    };
    gauge("executor_server_disk_free_bytes", "Free on the disk of the data directory.", disk.f_bavail);
    gauge("executor_server_disk_bytes", "Bytes of the disk of the data directory.", disk.f_blocks);
}
