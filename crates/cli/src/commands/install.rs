//! `executor install` and `executor test-vm`: the verbs of the reference that fetch what it needs.
//! Scripts call them; what this executor does not need or fetch it says, and all is well.

use super::print;
use crate::args::{InstallCommand, TestVmArgs, UnitName};
use crate::exit::{Exit, Failure, Outcome};

/// The names that `install image` takes.
const IMAGES: [&str; 3] = ["executor-vm", "sandbox", "kernel"];

const IGNITE: &str = "ignite is not needed: this executor has no virtual machines of it";
const CNI: &str = "CNI plugins are not needed: no runtime of this executor uses them";
const SRC_CLI: &str = "src is not fetched: it is needed on PATH only where steps of it run on this host, by \
                       EXECUTOR_USE_FIRECRACKER=false or EXECUTOR_SRC_STEPS=true; then put it there in the version that \
                       `executor doctor` tells, from https://github.com/sourcegraph/src-cli/releases";
const IPTABLES_RULES: &str = "firewall rules are not needed: they are for the bridge of virtual machines, and this executor makes none \
                              (`executor doctor` tells what jobs can reach)";
const PACKAGES: &str = "nothing was installed; what this executor needs comes as packages: git, e2fsprogs, crun or runc, \
                        and slirp4netns or passt for jobs' network (`executor validate` tells what is missing)";

/// Does what `command` asks for.
pub(crate) fn run(command: &InstallCommand) -> Outcome {
    match command {
        InstallCommand::Ignite { .. } => say(&[IGNITE])?,
        InstallCommand::Cni => say(&[CNI])?,
        InstallCommand::SrcCli { .. } => say(&[SRC_CLI])?,
        InstallCommand::IptablesRules { .. } => say(&[IPTABLES_RULES])?,
        InstallCommand::SystemdUnit { name } => {
            print::line(unit(*name).trim_end())?;
            return Ok(Exit::Success);
        }
        InstallCommand::Image { names } => {
            let name = image(names).map_err(|message| Failure { exit: Exit::Failed, message })?;
            say(&[&no_image(name)])?;
        }
        InstallCommand::All => {
            let images = IMAGES.map(no_image);
            let [vm, sandbox, kernel] = images.each_ref().map(String::as_str);
            say(&[IGNITE, CNI, SRC_CLI, IPTABLES_RULES, vm, sandbox, kernel])?;
        }
    }
    print::line(PACKAGES)?;
    Ok(Exit::Success)
}

/// There is nothing to test yet, and a script that waits for a machine's name must not get none.
pub(crate) fn test_vm(args: &TestVmArgs) -> Outcome {
    let message = if args.repo.is_some() && args.revision.is_none() {
        "must specify revision when setting --repo"
    } else {
        "this version has no runtime firecracker yet, so there is no virtual machine to test: run a job instead \
         (`executor job run`)"
    };
    Err(Failure { exit: Exit::Failed, message: message.to_owned() })
}

/// The units that are shipped as files as well.
const fn unit(name: UnitName) -> &'static str {
    match name {
        UnitName::Executor => include_str!("../../../../dist/systemd/executor.service"),
        UnitName::ExecutorServer => include_str!("../../../../dist/systemd/executor-server.service"),
        UnitName::ExecutorUser => include_str!("../../../../dist/systemd/executor-user.service"),
    }
}

fn say(lines: &[&str]) -> Result<(), Failure> {
    lines.iter().try_for_each(|line| print::line(line))
}

fn no_image(name: &str) -> String {
    format!("the image {name} is not needed: this executor has no virtual machines of ignite")
}

/// The documented refusals.
fn image(names: &[String]) -> Result<&'static str, String> {
    let name = match names {
        [] => return Err("no image specified".to_owned()),
        [name] => name,
        _ => return Err("too many arguments".to_owned()),
    };
    IMAGES.into_iter().find(|known| known.eq_ignore_ascii_case(name)).ok_or_else(|| {
        format!("invalid image provided {name:?}, expected one of executor-vm, sandbox, kernel")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_refused_with_the_documented_words() {
        let image = |names: &[&str]| {
            image(&names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).map(str::to_owned)
        };
        assert_eq!(image(&["Executor-VM"]), Ok("executor-vm".to_owned()));
        assert_eq!(image(&[]).unwrap_err(), "no image specified");
        assert_eq!(image(&["kernel", "sandbox"]).unwrap_err(), "too many arguments");
        assert_eq!(
            image(&["debian"]).unwrap_err(),
            "invalid image provided \"debian\", expected one of executor-vm, sandbox, kernel"
        );
    }
}
