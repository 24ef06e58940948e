//! What executors may say of themselves and of their logs. It is stored, so it has bounds that no
//! honest executor meets.

use super::Failure;
use http::StatusCode;
use store::shortened_command;
use wire::additions::EndDetail;
use wire::heartbeat::Telemetry;

/// Bytes that are kept of each fact about an executor's surroundings.
const MAX_FACT: usize = 200;
/// Queues that an executor serves at most, and bytes of the name of each.
const MAX_QUEUES: usize = 16;
const MAX_QUEUE: usize = 64;
/// Bytes that are kept of each text of the evidence of an end.
const MAX_EVIDENCE: usize = 1_000;
/// Bytes of a log entry's key at most.
const MAX_KEY: usize = 1_000;
/// Bytes that are kept of a log entry's command, the rest is left out.
pub(crate) const MAX_COMMAND: usize = 256 << 10;

/// Checks the name that an executor gives itself.
pub(super) fn check_name(name: &str) -> Result<(), Failure> {
    if name.is_empty() {
        return Err(Failure::internal("worker hostname cannot be empty"));
    }
    jobs::name::check_executor_name(name)
        .map_err(|fault| Failure::error(StatusCode::BAD_REQUEST, fault.to_string()))
}

/// Checks the names of the queues that an executor serves.
pub(super) fn check_queues(names: &[String]) -> Result<(), Failure> {
    if names.len() > MAX_QUEUES {
        let told = format!("queueNames has {} names: at most {MAX_QUEUES} are allowed", names.len());
        return Err(Failure::error(StatusCode::BAD_REQUEST, told));
    }
    if let Some(long) = names.iter().find(|name| name.len() > MAX_QUEUE) {
        let told = format!("queueNames has a name of {} bytes: at most {MAX_QUEUE} are allowed", long.len());
        return Err(Failure::error(StatusCode::BAD_REQUEST, told));
    }
    let Some(odd) = names.iter().find(|name| !jobs::name::is_shown_as_it_is(name)) else { return Ok(()) };
    let told = format!(
        "queueNames has the name {odd:?}: a name is not blank, and has no control, invisible or direction-changing character"
    );
    Err(Failure::error(StatusCode::BAD_REQUEST, told))
}

/// The beginning of each text of the evidence.
pub(super) fn evidence(end: EndDetail) -> EndDetail {
    let text = |text: Option<String>| {
        text.map(|mut text| {
            text.truncate(text.floor_char_boundary(MAX_EVIDENCE));
            text
        })
    };
    EndDetail {
        step: text(end.step),
        path: text(end.path),
        class: text(end.class),
        by: text(end.by),
        from: text(end.from),
        token: text(end.token),
        client: text(end.client),
        artifact: text(end.artifact),
        ..end
    }
}

/// The beginning of each fact.
pub(super) fn shortened(telemetry: &Telemetry) -> Telemetry {
    let fact = |text: &String| text[..text.floor_char_boundary(MAX_FACT)].to_owned();
    Telemetry {
        os: fact(&telemetry.os),
        architecture: fact(&telemetry.architecture),
        docker_version: fact(&telemetry.docker_version),
        executor_version: fact(&telemetry.executor_version),
        git_version: fact(&telemetry.git_version),
        ignite_version: fact(&telemetry.ignite_version),
        src_cli_version: fact(&telemetry.src_cli_version),
    }
}

/// Checks what a log entry is about.
pub(super) fn check_key(key: &str) -> Result<(), Failure> {
    if key.contains('\0') {
        return Err(Failure::error(
            StatusCode::BAD_REQUEST,
            "the key of a log entry has a NUL character: leave it out",
        ));
    }
    if key.len() <= MAX_KEY {
        return Ok(());
    }
    let told = format!("the key of a log entry has {} bytes: at most {MAX_KEY} are allowed", key.len());
    Err(Failure::error(StatusCode::BAD_REQUEST, told))
}

/// The beginning of a command.
pub(super) fn command(command: Vec<String>) -> Vec<String> {
    shortened_command(command, MAX_COMMAND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_few_and_evidence_is_short() {
        let names = |count: usize, length: usize| vec!["q".repeat(length); count];
        assert!(check_queues(&names(MAX_QUEUES, MAX_QUEUE)).is_ok());
        assert!(check_queues(&names(MAX_QUEUES + 1, 1)).is_err());
        assert!(check_queues(&names(1, MAX_QUEUE + 1)).is_err());
        let long = || Some("ä".repeat(MAX_EVIDENCE));
        let (step, path, class, by) = (long(), long(), long(), long());
        let (from, token, client, artifact) = (long(), long(), long(), long());
        let (limit, observed, exit_code) = (Some(1), Some(2), Some(3));
        let reason = "exit_code".to_owned();
        let whole = EndDetail {
            reason,
            step,
            exit_code,
            limit,
            observed,
            path,
            class,
            by,
            from,
            token,
            client,
            artifact,
        };
        let cut = evidence(whole);
        let texts = [cut.step, cut.path, cut.class, cut.by, cut.from, cut.token, cut.client, cut.artifact];
        assert!(texts.iter().flatten().all(|text| text.len() == MAX_EVIDENCE) && texts.len() == 8);
        assert_eq!((cut.exit_code, cut.limit, cut.observed), (Some(3), Some(1), Some(2)));
    }

    #[test]
    fn names_are_short_and_plain() {
        for name in ["host-5f0c", "größer", &"n".repeat(512)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "  ", "a\nb", "\u{1b}[2J", "a\u{202e}b", &"n".repeat(513)] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        assert!(check_queues(&["batches".to_owned(), "a\u{202e}b".to_owned()]).is_err());
    }
}
