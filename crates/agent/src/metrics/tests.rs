use super::*;

fn text(metrics: &Metrics) -> String {
    let now = Now { slots: 4, disk: Some((10, 5)), ..Now::default() };
    metrics.text("batches_codeintel", "1.2.3", &now)
}

#[test]
fn a_job_is_counted_under_the_documented_names_and_ours() {
    let metrics = Metrics::default();
    metrics.job_begins("batches");
    metrics.job_begins("codeintel");
    metrics.job_ended("batches_codeintel", "batches", "succeeded", Duration::from_secs(100), true);
    metrics.job_begins("batches");
    metrics.job_ended("batches_codeintel", "batches", "timeout", Duration::from_secs(1), false);
    metrics.command_done("step.docker.secret-key", Duration::from_secs(1), true);
    metrics.command_done("setup.git.init", Duration::from_secs(1), false);
    metrics.command_done("setup.fs.extras", Duration::from_secs(1), true);
    metrics.dequeues.count(&["job"]);
    let text = text(&metrics);
    for line in [
        "src_executor_processor_total{queue=\"batches_codeintel\",op=\"Handle\"} 1",
        "src_executor_processor_errors_total{queue=\"batches_codeintel\",op=\"Handle\"} 1",
        "src_executor_processor_duration_seconds_bucket{queue=\"batches_codeintel\",op=\"Handle\",le=\"150\"} 1",
        "src_executor_processor_handlers{queue=\"batches_codeintel\"} 2",
        "src_apiworker_command_total{op=\"exec\"} 1",
        "src_apiworker_command_errors_total{op=\"setup.git.init\"} 1",
        "executor_jobs_started_total{queue=\"batches\"} 2",
        "executor_jobs_ended_total{queue=\"batches\",reason=\"timeout\"} 1",
        "executor_dequeues_total{answer=\"job\"} 1",
        "executor_dequeues_total{answer=\"failed\"} 0",
        "executor_jobs_running 1",
        "executor_job_slots 4",
        "executor_disk_free_bytes 10",
        "executor_build_info{version=\"1.2.3\"} 1",
    ] {
        assert!(text.lines().any(|seen| seen == line), "{line} in\n{text}");
    }
    assert!(!text.contains("secret-key"), "{text}");
}

#[test]
fn the_text_is_one_that_a_reader_takes() {
    let metrics = Metrics::default();
    metrics.job_begins("batches");
    metrics.job_ended("batches", "batches", "succeeded", Duration::from_secs(1), true);
    metrics.queue_calls.done(&["Dequeue"], Duration::from_millis(1), true);
    metrics.image_came(Duration::from_secs(3));
    let text = text(&metrics);
    let mut families = std::collections::BTreeSet::new();
    for line in text.lines() {
        match line.strip_prefix("# TYPE ") {
            Some(family) => assert!(families.insert(family), "{family} is there twice"),
            None => {
                assert!(line.starts_with("# HELP ") || exposition::Sample::read(line).is_some(), "{line}");
            }
        }
    }
    assert!(families.len() > 20, "{families:?}");
}

#[test]
fn what_another_process_counted_is_added_once() {
    let (agent, supervisor) = (Metrics::default(), Metrics::default());
    for metrics in [&agent, &supervisor] {
        metrics.command_done("step.docker.a", Duration::from_millis(20), true);
        metrics.command_done("step.docker.b", Duration::from_millis(1), false);
        metrics.image_came(Duration::from_secs(3));
        metrics.image_failed("image");
        metrics.log_delivered.fetch_add(10, Ordering::Relaxed);
    }
    let sent = serde_json::to_string(&supervisor.take()).unwrap();
    agent.add(serde_json::from_str(&sent).unwrap());
    agent.add(supervisor.take());
    agent.add(serde_json::from_str("{\"later\":1}").unwrap());
    let text = text(&agent);
    for line in [
        "src_apiworker_command_total{op=\"exec\"} 2",
        "src_apiworker_command_errors_total{op=\"exec\"} 2",
        "src_apiworker_command_duration_seconds_bucket{op=\"exec\",le=\"0.025\"} 2",
        "executor_image_seconds_sum 6",
        "executor_image_failures_total{reason=\"image\"} 2",
        "executor_log_delivered_bytes_total 20",
    ] {
        assert!(text.lines().any(|seen| seen == line), "{line} in\n{text}");
    }
}
