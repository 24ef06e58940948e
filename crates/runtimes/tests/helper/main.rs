//! What the tests' runtimes start as their helper, and an agent that can be killed.

mod agent;
mod engine_agent;
mod reach;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1).peekable();
    if args.peek().is_some_and(|role| role == "agent") {
        return agent::main(args.skip(1));
    }
    if args.peek().is_some_and(|role| role == "engine-agent") {
        return engine_agent::main(args.skip(1));
    }
    if args.peek().is_some_and(|role| role == "reach") {
        return reach::main(args.skip(1).filter_map(|attempt| attempt.into_string().ok()));
    }
    runtimes::helper_main(args)
}
