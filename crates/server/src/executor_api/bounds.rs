//! What executors may say of themselves and of their logs. It is stored, so it has bounds that no
//! honest executor meets.

use super::Failure;
use http::StatusCode;
use wire::heartbeat::Telemetry;

/// Bytes of an executor's name at most.
const MAX_NAME: usize = 512;
/// Bytes that are kept of each fact about an executor's surroundings.
const MAX_FACT: usize = 200;
/// Bytes of a log entry's key at most.
const MAX_KEY: usize = 1_000;
/// Bytes that are kept of a log entry's command, the rest is left out.
const MAX_COMMAND: usize = 256 << 10;
/// What stands in place of what was left out.
const LEFT_OUT: &str = "…";

/// Checks the name that an executor gives itself.
pub(super) fn check_name(name: &str) -> Result<(), Failure> {
    let fault = if name.is_empty() {
        "worker hostname cannot be empty"
    } else if name.len() > MAX_NAME {
        "worker hostname is longer than 512 bytes"
    } else if name.chars().any(char::is_control) {
        "worker hostname holds a control character"
    } else {
        return Ok(());
    };
    Err(Failure::internal(fault))
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
    if key.len() <= MAX_KEY {
        return Ok(());
    }
    let told = format!("the key of a log entry has {} bytes: at most {MAX_KEY} are allowed", key.len());
    Err(Failure::error(StatusCode::BAD_REQUEST, told))
}

/// The beginning of a command.
pub(super) fn command(mut command: Vec<String>) -> Vec<String> {
    let mut room = MAX_COMMAND;
    for index in 0..command.len() {
        let argument = &mut command[index];
        // Each is stored with quotes and a comma.
        let needed = argument.len() + 3;
        if needed > room {
            argument.truncate(argument.floor_char_boundary(room));
            argument.push_str(LEFT_OUT);
            command.truncate(index + 1);
            break;
        }
        room -= needed;
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_command_ends_where_it_is_too_long() {
        let short = vec!["docker".to_owned(), "run".to_owned()];
        assert_eq!(command(short.clone()), short);
        let long = command(vec!["a".to_owned(), "ä".repeat(MAX_COMMAND), "b".to_owned()]);
        assert_eq!((long.len(), long[0].as_str()), (2, "a"));
        assert!(long[1].len() < MAX_COMMAND && long[1].ends_with("ä…"));
        let many = command(vec![String::new(); MAX_COMMAND]);
        assert_eq!((many.len(), many.last().unwrap().as_str()), (MAX_COMMAND / 3 + 1, "…"));
    }

    #[test]
    fn names_are_short_and_plain() {
        for name in ["host-5f0c", "größer", &"n".repeat(512)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "a\nb", "\u{1b}[2J", &"n".repeat(513)] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }
}
