//! The first process of a container, which is every orphan's parent: it starts the program proper beside itself,
//! passes requests on to it, and takes note of each process that ends, so that none stays as a zombie. The program
//! itself could not tell orphans from children that others in it wait for.

use crate::exit::Failure;
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, wait};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

/// What is added to a signal's number in the code that this process ends with.
const SIGNALLED: i32 = 128;

/// How long others may take to clean up once the program has ended.
const CLEANING: Duration = Duration::from_secs(2);

/// Whether this is the first process.
pub(crate) fn is_this() -> bool {
    getpid().is_init()
}

/// Runs the program again as a child, and ends as it does.
pub(crate) fn attend() -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let code = runtime.and_then(|runtime| runtime.block_on(until_it_ends()));
    let code = code.map_err(|fault| {
        Failure::system(format!("the first process of this container can't start another one: {fault}"))
    })?;
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
}

async fn until_it_ends() -> io::Result<i32> {
    // Before there is a child that could end.
    let mut ended = signal(SignalKind::child())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut leave = signal(SignalKind::user_defined2())?;
    let mut command = Command::new("/proc/self/exe");
    let mut args = std::env::args_os();
    if let Some(called) = args.next() {
        command.arg0(called);
    }
    // A terminal's requests reach this one, which passes them on: they must not come twice.
    let child = command.args(args).process_group(0).spawn()?;
    let child = Pid::from_child(&child);
    loop {
        let request = tokio::select! {
            _ = ended.recv() => match last_words_of(child)? {
                Some(code) => {
                    // With this one all others end, by the kernel's hand, and some still clean up.
                    let _ = timeout(CLEANING, until_all_have(&mut ended)).await;
                    return Ok(code);
                }
                None => continue,
            },
            _ = hangup.recv() => Signal::HUP,
            _ = interrupt.recv() => Signal::INT,
            _ = terminate.recv() => Signal::TERM,
            _ = leave.recv() => Signal::USR2,
        };
        // It may have ended just now.
        let _ = kill_process(child, request);
    }
}

/// Waits until nobody is left.
async fn until_all_have(ended: &mut tokio::signal::unix::Signal) {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => {
                ended.recv().await;
            }
            Err(_) => return,
        }
    }
}

/// Takes note of all that have ended; what `child` ended with, if it is one of them.
fn last_words_of(child: Pid) -> io::Result<Option<i32>> {
    let mut code = None;
    while let Some((pid, status)) = wait(WaitOptions::NOHANG)? {
        if pid == child {
            let signalled = || status.terminating_signal().map(|signal| SIGNALLED + signal);
            code = status.exit_status().or_else(signalled);
        }
        if code.is_some() {
            break;
        }
    }
    Ok(code)
}
