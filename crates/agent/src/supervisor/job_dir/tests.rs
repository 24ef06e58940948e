use super::*;
use std::os::unix::fs::PermissionsExt;

pub(in crate::supervisor) fn record() -> Record {
    Record {
        job: JobId(7),
        named_queue: None,
        queue: "batches".to_owned(),
        executor: "host-1".to_owned(),
        incarnation: "i".to_owned(),
        pid: 1,
        control_plane: None,
        instance: None,
        begun: None,
        limit_ms: Some(1_500),
        answers: true,
        audits: true,
    }
}

#[test]
fn what_an_earlier_release_did_not_note_is_not_expected_of_its_supervisors() {
    let mut noted = serde_json::to_value(record()).unwrap();
    for key in ["begun", "limit_ms", "answers", "audits", "control_plane"] {
        noted.as_object_mut().unwrap().remove(key).unwrap();
    }
    let read: Record = serde_json::from_value(noted).unwrap();
    assert!(!read.answers && !read.audits && read.begun.is_none() && read.limit().is_none(), "{read:?}");
    assert_eq!(record().limit(), Some(Duration::from_millis(1_500)));
}

/// The bytes that a supervisor of any release leaves for agents of later ones.
#[test]
fn a_record_is_written_as_ever() {
    const WRITTEN: &str = r#"{"job":7,"named_queue":null,"queue":"batches","executor":"host-1","incarnation":"i","pid":1,"control_plane":"https://sg.example.com","instance":"a1b2","begun":5,"limit_ms":1500,"answers":true,"audits":true}"#;
    let read: Record = serde_json::from_str(WRITTEN).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), WRITTEN);
    assert_eq!((read.job, read.queue.as_str(), read.pid), (JobId(7), "batches", 1));
}

#[test]
fn the_lock_and_the_record_tell_how_things_stand() {
    let jobs = tempfile::tempdir().unwrap();
    let dir = JobDir::create(&jobs.path().join("jobs")).unwrap();
    assert!(matches!(dir.standing(), Standing::Over));
    let held = dir.hold().unwrap();
    assert!(matches!(dir.standing(), Standing::Lives(None)));
    dir.note(&record(), "t0ken").unwrap();
    assert!(matches!(dir.standing(), Standing::Lives(Some(_))));
    drop(held);
    let Standing::Died(left) = dir.standing() else { panic!("its job is not over") };
    assert_eq!((left.job, dir.token().unwrap().as_str()), (JobId(7), "t0ken"));
    dir.forget_job();
    assert!(matches!(dir.standing(), Standing::Over));
    dir.remove();
    assert!(JobDir::all(&jobs.path().join("jobs")).unwrap().is_empty());
}

#[test]
fn only_what_is_nobody_s_is_removed_before_others_can_live_there() {
    let jobs = tempfile::tempdir().unwrap();
    let dir = JobDir::create(jobs.path()).unwrap();
    let held = dir.hold().unwrap();
    assert!(!dir.remove_unheld(), "a spare lives there");
    dir.note(&record(), "t0ken").unwrap();
    drop(held);
    assert!(!dir.remove_unheld(), "its job is not over");
    dir.forget_job();
    assert!(dir.remove_unheld() && !dir.path().exists());
    assert!(dir.remove_unheld(), "it is gone");
    assert!(dir.hold().is_err(), "nobody comes to life there");
}

#[test]
fn only_its_owner_reads_it_and_the_record_has_no_token() {
    let jobs = tempfile::tempdir().unwrap();
    let dir = JobDir::create(jobs.path()).unwrap();
    dir.note(&record(), "t0ken").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(dir.path()), mode(&dir.path().join(TOKEN))), (0o700, 0o600));
    assert!(!fs::read_to_string(dir.path().join(RECORD)).unwrap().contains("t0ken"));
}

#[test]
fn a_job_is_its_own_control_plane_s_only() {
    let url = |text: &str| text.parse::<Url>().unwrap();
    let ours = url("https://user:pass@cp.example/base/");
    let of_ours = Record { control_plane: Some(control_plane(&ours)), ..record() };
    assert!(!format!("{of_ours:?}").contains("pass"));
    assert!(of_ours.is_of(&ours) && of_ours.is_of(&url("https://cp.example:443/base")));
    for other in ["http://cp.example/base", "https://cp.example", "https://other.example/base"] {
        assert!(!of_ours.is_of(&url(other)), "{other}");
    }
    assert!(record().is_of(&ours), "an earlier release did not note whose it is");
}

#[test]
fn only_directories_of_jobs_are_found() {
    let jobs = tempfile::tempdir().unwrap();
    let dir = JobDir::create(jobs.path()).unwrap();
    let strange = |name: &str| jobs.path().join(name);
    fs::write(strange("0123456789abcdef"), "a file").unwrap();
    fs::create_dir(strange("lost+found")).unwrap();
    fs::create_dir(strange("0123456789ABCDEF")).unwrap();
    std::os::unix::fs::symlink(dir.path(), strange("aaaaaaaaaaaaaaaa")).unwrap();
    assert_eq!(JobDir::all(jobs.path()).unwrap(), [dir]);
}

#[test]
fn a_record_that_is_no_file_of_its_size_is_none() {
    let jobs = tempfile::tempdir().unwrap();
    let dir = JobDir::create(jobs.path()).unwrap();
    dir.note(&record(), "t0ken").unwrap();
    assert!(dir.record().is_some());
    let (path, elsewhere) = (dir.path().join(RECORD), dir.path().join("elsewhere"));
    fs::rename(&path, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    assert!(dir.record().is_none());
    fs::remove_file(&path).unwrap();
    // Without a writer, opening it to read would wait for ever.
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
    assert!(dir.record().is_none());
    let padding = usize::try_from(LONGEST).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, fs::read_to_string(&elsewhere).unwrap() + &" ".repeat(padding)).unwrap();
    assert!(dir.record().is_none());
}

#[tokio::test]
async fn a_socket_may_lie_deep() {
    let jobs = tempfile::tempdir().unwrap();
    let deep = jobs.path().join("d".repeat(120));
    let dir = JobDir::create(&deep).unwrap();
    let listener = dir.listen().unwrap();
    let (connected, accepted) = tokio::join!(dir.connect(), listener.accept());
    connected.unwrap();
    let (stream, _) = accepted.unwrap();
    assert_eq!(stream.peer_cred().unwrap().uid(), rustix::process::geteuid().as_raw());
}
