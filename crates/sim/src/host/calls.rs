//! The calls about a job: its log entry, its text from where the server has it, and then its end, each until there is an
//! answer.

use super::run::Phase;
use crate::event::{Answer, Context, Event, HostEvent, NoAnswer, Party, Request};
use crate::flaw::Flaw;
use crate::invariant::{LOGS, Step};
use crate::world::World;
use std::time::Duration;

/// How long a call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The first pause before a call is repeated, and the longest, in milliseconds.
const PAUSES: (u64, u64) = (100, 5_000);
/// The most bytes of text in one call, so that some need several.
const MOST_TEXT: usize = 40;

impl World {
    /// Makes the next call about a job, if one is due and none is under way.
    pub(super) fn makes_call(&mut self, index: usize, number: u64) {
        let host = &mut self.hosts[index];
        let has_agent = host.agent.is_some();
        let Some(run) = host.runs.get_mut(&number) else { return };
        if run.calling || run.replaced || (run.orphaned && !has_agent) {
            return;
        }
        let (job, lease, token) = (run.job, run.lease.clone(), run.token.clone());
        let request = match (&run.phase, run.entry) {
            (Phase::Assigned | Phase::Stopping(_), _) => return,
            (_, None) if !run.lost_log => Request::AddEntry { job, lease, token, started: run.started },
            (_, Some(entry)) if run.delivered < run.text.len() && !run.lost_log => {
                let end = run.text.len().min(run.delivered + MOST_TEXT);
                let text = run.text[run.delivered..end].to_owned();
                Request::Append { job, lease, token, entry, offset: run.delivered as u64, text }
            }
            (Phase::Ended(finish), _) => {
                run.told = true;
                Request::Finish { job, lease, token, run: number, finish: finish.clone() }
            }
            (Phase::Working, _) => return,
        };
        run.calling = true;
        self.call(Party::Host(index), request, Context::Run { host: index, run: number }, CALL_TIMEOUT);
    }

    /// An answer to such a call, or none.
    pub(super) fn call_answered(
        &mut self,
        index: usize,
        number: u64,
        answer: Result<Answer, NoAnswer>,
    ) -> Step {
        let assumed = self.has(Flaw::AppendAssumed);
        let host = &mut self.hosts[index];
        let Some(run) = host.runs.get_mut(&number) else { return Ok(()) };
        run.calling = false;
        let Ok(answer) = answer else {
            if assumed && run.entry.is_some() && run.delivered < run.text.len() {
                run.delivered = run.text.len().min(run.delivered + MOST_TEXT);
            }
            run.failures += 1;
            let most = (PAUSES.0 << run.failures.min(10)).min(PAUSES.1);
            let pause = self.rng.millis(most / 2, most);
            self.plan(pause, Event::Host(index, HostEvent::Calls { run: number }));
            return Ok(());
        };
        run.failures = 0;
        match answer {
            Answer::Entry(entry) => run.entry = Some(entry),
            Answer::Length(length) | Answer::Gap(length) => {
                let (job, written) = (run.job, run.text.len());
                LOGS.check(length as usize <= written, || {
                    format!("the server has {length} bytes of the log of job {job}, of which {written} were written")
                })?;
                run.delivered = length as usize;
            }
            Answer::Done => {
                let (job, epoch, name) = (run.job, run.lease.epoch, host.name.clone());
                self.tell(name, format_args!("hears that the end of job {job}, epoch {epoch}, is known"));
                self.is_gone(index, number);
                return Ok(());
            }
            Answer::NotYours => {
                self.abandons(index, number);
                return Ok(());
            }
            _ => {}
        }
        self.makes_call(index, number);
        Ok(())
    }

    /// The server says that a job is not this executor's.
    pub(super) fn abandons(&mut self, index: usize, number: u64) {
        let host = &self.hosts[index];
        let Some(run) = host.runs.get(&number) else { return };
        let (job, epoch, name) = (run.job, run.lease.epoch, host.name.clone());
        self.tell(name, format_args!("drops job {job}, epoch {epoch}: it is not its own any more"));
        self.stop(index, number, None);
    }
}
