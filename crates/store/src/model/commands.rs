//! Commands of log entries.

use wire::log::LEFT_OUT;

/// The beginning of a command: `bytes` of it, and a mark where there was more.
pub fn shortened_command(mut command: Vec<String>, bytes: usize) -> Vec<String> {
    let mut room = bytes;
    for index in 0..command.len() {
        let argument = &mut command[index];
        // Each is stored with quotes and a comma.
        let needed = argument.len() + 3;
        if needed > room {
            argument.truncate(argument.floor_char_boundary(room));
            argument.push_str(LEFT_OUT);
            // What was cut off is not kept in memory either.
            argument.shrink_to_fit();
            command.truncate(index + 1);
            command.shrink_to_fit();
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
        const BYTES: usize = 1_000;
        let short = vec!["docker".to_owned(), "run".to_owned()];
        assert_eq!(shortened_command(short.clone(), BYTES), short);
        let long = shortened_command(vec!["a".to_owned(), "ä".repeat(BYTES), "b".to_owned()], BYTES);
        assert_eq!((long.len(), long[0].as_str()), (2, "a"));
        assert!(long[1].len() < BYTES && long[1].ends_with("ä…"));
        assert!(long[1].capacity() < 2 * BYTES, "{} bytes are held", long[1].capacity());
        let many = shortened_command(vec![String::new(); BYTES], BYTES);
        assert_eq!((many.len(), many.last().unwrap().as_str()), (BYTES / 3 + 1, "…"));
    }
}
