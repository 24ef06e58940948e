//! What a step may ask for.

use crate::{RuntimeError, Step};

/// Refuses what would mean something else to the runtime or to the kernel than it says.
pub(crate) fn check(step: &Step) -> Result<(), RuntimeError> {
    let refuse = |why: String| Err(RuntimeError::Refused(why));
    if step.argv.first().is_none_or(String::is_empty) {
        return refuse("the step names no program: its argv must not be empty".to_owned());
    }
    if let Some(argument) = step.argv.iter().find(|argument| argument.contains('\0')) {
        return refuse(format!("the argument {argument:?} holds a NUL byte, which no program can be given"));
    }
    if !step.cwd.starts_with('/') || step.cwd.contains('\0') {
        return refuse(format!(
            "the working directory {:?} must be an absolute path, such as /data",
            step.cwd
        ));
    }
    // Through these a runtime that leaks a descriptor has let containers out.
    if step.cwd.split('/').find(|part| !matches!(*part, "" | ".")).is_some_and(|first| first == "proc") {
        return refuse(format!("the working directory {:?} must not be below /proc", step.cwd));
    }
    if step.cwd.split('/').any(|part| part == "..") {
        return refuse(format!("the working directory {:?} must not contain `..`", step.cwd));
    }
    step.env.iter().try_for_each(|pair| check_variable(pair))
}

pub(super) fn check_variable(pair: &str) -> Result<(), RuntimeError> {
    // The value stays out of the message: it may be a secret.
    let refuse =
        |name: &str, why: &str| Err(RuntimeError::Refused(format!("environment variable {name:?}: {why}")));
    let Some((name, value)) = pair.split_once('=') else {
        return refuse("…", "it must have the form NAME=value");
    };
    if name.is_empty() || name.contains(['\0', '\n']) {
        return refuse(name, "its name must not be empty nor hold a NUL byte or a newline");
    }
    if value.contains('\0') {
        return refuse(name, "its value holds a NUL byte, which no program can be given");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(argv: &[&str], cwd: &str, env: &[&str]) -> Step {
        let own = |list: &[&str]| list.iter().map(|&item| item.to_owned()).collect();
        Step { image: "i".into(), argv: own(argv), cwd: cwd.into(), env: own(env), ..Step::default() }
    }

    #[test]
    fn odd_steps_are_refused() {
        assert!(check(&step(&["true"], "/data", &["A=b", "B="])).is_ok());
        for odd in [
            step(&[], "/", &[]),
            step(&[""], "/", &[]),
            step(&["a\0"], "/", &[]),
            step(&["a"], "data", &[]),
            step(&["a"], "//./proc/self/fd/7", &[]),
            step(&["a"], "/data/../proc", &[]),
            step(&["a"], "/", &["A"]),
            step(&["a"], "/", &["=x"]),
            step(&["a"], "/", &["A\nB=x"]),
            step(&["a"], "/", &["A=x\0y"]),
        ] {
            assert!(
                matches!(check(&odd), Err(RuntimeError::Refused(_))),
                "{:?} {:?} {:?}",
                odd.argv,
                odd.cwd,
                odd.env
            );
        }
    }

    #[test]
    fn a_value_is_never_in_the_message() {
        let error = check(&step(&["a"], "/", &["TOKEN=hunter2\0"])).unwrap_err().to_string();
        assert!(error.contains("TOKEN") && !error.contains("hunter2"));
        let error = check(&step(&["a"], "/", &["hunter2"])).unwrap_err().to_string();
        assert!(!error.contains("hunter2"));
    }
}
