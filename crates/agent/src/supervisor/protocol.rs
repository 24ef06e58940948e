//! What an agent and the supervisor of a job say to each other: one JSON object a line.
//!
//! They may be of different releases: an upgraded agent finds supervisors of its predecessor. So
//! unknown keys and unknown messages are passed over, and what is there never changes its meaning.

use crate::account::Account;
use crate::boot_time::BootTime;
use crate::job::StopCause;
use crate::metrics::Counts;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::AsFd;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;
use wire::Job;

/// The most of a line that brings a job, in bytes: what a control plane may send of one, with room for
/// another way to write the same text.
pub(crate) const JOB_LINE: usize = 600 << 20;
/// The most of any other line, in bytes.
pub(crate) const LINE: usize = 64 << 10;
/// How long a small line may take to be taken: the other side has nothing to do that takes longer.
const SMALL: Duration = Duration::from_secs(5);
/// The same for a job's.
const LARGE: Duration = Duration::from_mins(1);

/// To a supervisor.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Order {
    /// Run this. Once in a supervisor's life.
    Job(Box<Assignment>),
    /// A heartbeat that was sent at this time named the job, and was answered.
    Renewed { sent: BootTime, term_ms: Option<u64> },
    /// Stop the job.
    Stop { cause: Cause },
    /// The agent has to leave, so calls at the job's end are not tried for long.
    Hurry,
    /// The agent knows that the job's end is about to be told.
    Heard,
    /// Say that you are there. Only for a supervisor whose record says that it answers.
    Ask,
    /// Of a later release.
    #[serde(other)]
    Unknown,
}

/// Everything of a job that its supervisor can't know.
#[derive(Serialize, Deserialize)]
pub(crate) struct Assignment {
    pub(crate) job: Job,
    /// The queue that the job's calls go to.
    pub(crate) queue: String,
    /// When its dequeue was answered.
    pub(crate) at: BootTime,
    /// When its lease was renewed last, if that was later.
    #[serde(default)]
    pub(crate) renewed: Option<BootTime>,
    pub(crate) term_ms: Option<u64>,
    /// The control plane takes log text at an offset.
    pub(crate) append: bool,
    /// Which start of the agent took it.
    pub(crate) incarnation: String,
}

/// From a supervisor.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Report {
    /// The job was written down, and begins.
    Taken,
    /// The job's end is about to be told, once this was [heard](Order::Heard).
    Ending,
    /// The answer to [`Order::Ask`].
    Here {
        /// What was counted since the last answer.
        #[serde(default)]
        counts: Box<Counts>,
        /// Bytes of the job's log that wait to be delivered.
        #[serde(default)]
        log_pending: u64,
    },
    /// Nothing of the job runs any more, and what could be told of it is.
    Ended {
        completed: bool,
        #[serde(default)]
        account: Account,
    },
    /// Of a later release.
    #[serde(other)]
    Unknown,
}

/// Why an agent stops a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Cause {
    Canceled,
    ExecutorStopped,
    Abandoned,
}

impl From<Cause> for StopCause {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Canceled => Self::Canceled,
            Cause::ExecutorStopped => Self::ExecutorStopped,
            Cause::Abandoned => Self::Abandoned,
        }
    }
}

impl Cause {
    /// What a supervisor is told of `cause`; `None` for what it finds out by itself.
    pub(crate) fn of(cause: StopCause) -> Option<Self> {
        match cause {
            StopCause::Canceled => Some(Self::Canceled),
            StopCause::ExecutorStopped => Some(Self::ExecutorStopped),
            StopCause::Abandoned => Some(Self::Abandoned),
            StopCause::Timeout => None,
        }
    }
}

/// One connection between the two.
pub(crate) struct Link {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    /// The beginning of a line whose end has not come yet.
    begun: Vec<u8>,
}

impl Link {
    pub(crate) fn new(stream: UnixStream) -> Self {
        let (reader, writer) = stream.into_split();
        // Most lines are short and there are few of them.
        Self { reader: BufReader::with_capacity(4 << 10, reader), writer, begun: Vec::new() }
    }

    /// The next message of at most `limit` bytes; `None` at the end. Losing this future loses nothing.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self, limit: usize) -> io::Result<Option<T>> {
        loop {
            let piece = self.reader.fill_buf().await?;
            if piece.is_empty() {
                return Ok(None);
            }
            let end = piece.iter().position(|byte| *byte == b'\n');
            let taken = end.unwrap_or(piece.len());
            if self.begun.len() + taken > limit {
                let told = format!("a message is longer than {limit} bytes");
                return Err(io::Error::new(io::ErrorKind::InvalidData, told));
            }
            self.begun.extend_from_slice(&piece[..taken]);
            self.reader.consume(end.map_or(taken, |end| end + 1));
            if end.is_some() {
                let line = std::mem::take(&mut self.begun);
                return serde_json::from_slice(&line).map(Some).map_err(io::Error::from);
            }
        }
    }

    /// Whether there is anything to read: [`Link::next`] is ready, or has the beginning of a line.
    pub(crate) fn is_behind(&self) -> bool {
        self.reader.buffer().contains(&b'\n') || is_readable(self.reader.get_ref().as_ref())
    }

    /// Sends a message. Once this fails, or is lost, nothing more can be sent.
    pub(crate) async fn send<T: Serialize>(&mut self, message: &T) -> io::Result<()> {
        self.send_line(&line_of(message)?).await
    }

    /// The same, for a message that was [written](line_of) before.
    pub(crate) async fn send_line(&mut self, line: &[u8]) -> io::Result<()> {
        let limit = if line.len() > LINE { LARGE } else { SMALL };
        timeout(limit, self.writer.write_all(line)).await.unwrap_or_else(|late| Err(late.into()))
    }
}

/// Whether something waits in a socket, as the kernel knows it: what the runtime knows may be from before this
/// process stood still.
pub(crate) fn is_readable(socket: &impl AsFd) -> bool {
    let mut asked = [PollFd::new(socket, PollFlags::IN)];
    poll(&mut asked, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

/// A message as it travels.
pub(crate) fn line_of<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

/// A term as it travels.
pub(crate) fn millis(term: Option<Duration>) -> Option<u64> {
    term.map(|term| u64::try_from(term.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Link, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Link::new(ours), theirs)
    }

    /// What releases before this one wrote and wait for, byte by byte: after an upgrade a job that runs speaks so. A line may
    /// get more keys; one that has to change here loses every running job.
    #[test]
    fn what_is_said_is_said_as_ever() {
        for line in [
            r#"{"type":"renewed","sent":7,"term_ms":25000}"#,
            r#"{"type":"renewed","sent":7,"term_ms":null}"#,
            r#"{"type":"stop","cause":"canceled"}"#,
            r#"{"type":"stop","cause":"executor_stopped"}"#,
            r#"{"type":"stop","cause":"abandoned"}"#,
            r#"{"type":"hurry"}"#,
            r#"{"type":"heard"}"#,
            r#"{"type":"ask"}"#,
        ] {
            let order: Order = serde_json::from_str(line).unwrap();
            assert_eq!(serde_json::to_string(&order).unwrap(), line);
        }
        for line in [r#"{"type":"taken"}"#, r#"{"type":"ending"}"#, HERE, ENDED] {
            let report: Report = serde_json::from_str(line).unwrap();
            assert_eq!(serde_json::to_string(&report).unwrap(), line);
        }
        let Order::Job(job) = serde_json::from_str(JOB).unwrap() else { panic!("no job") };
        let again = serde_json::to_value(Order::Job(job)).unwrap();
        let written: serde_json::Value = serde_json::from_str(JOB).unwrap();
        for key in ["type", "queue", "at", "renewed", "term_ms", "append", "incarnation"] {
            assert!(written.get(key).is_some() && again[key] == written[key], "{key} of {again}");
        }
        assert_eq!((&again["job"]["id"], &again["job"]["token"]), (&7.into(), &"t0ken".into()));
    }

    const HERE: &str = r#"{"type":"here","counts":{"commands":{"total":[],"errors":[],"duration":[]},"queue_calls":{"total":[],"errors":[],"duration":[]},"file_calls":{"total":[],"errors":[],"duration":[]},"images":[],"image_failures":[],"log_delivered":0},"log_pending":9}"#;
    const ENDED: &str = r#"{"type":"ended","completed":true,"account":{"end":null,"steps":2,"cpu_ms":3,"peak_memory":4,"counts":{"commands":{"total":[],"errors":[],"duration":[]},"queue_calls":{"total":[],"errors":[],"duration":[]},"file_calls":{"total":[],"errors":[],"duration":[]},"images":[],"image_failures":[],"log_delivered":0}}}"#;
    const JOB: &str = r#"{"type":"job","job":{"version":2,"id":7,"token":"t0ken"},"queue":"batches","at":5,"renewed":6,"term_ms":25000,"append":true,"incarnation":"i"}"#;

    #[tokio::test]
    async fn messages_and_keys_of_a_later_release_are_passed_over() {
        let (mut link, mut theirs) = pair();
        let lines = b"{\"type\":\"sing\",\"song\":1}\n{\"type\":\"ended\",\"completed\":true,\"why\":{}}\n";
        theirs.write_all(lines).await.unwrap();
        drop(theirs);
        assert_eq!(link.next::<Report>(LINE).await.unwrap(), Some(Report::Unknown));
        assert_eq!(
            link.next::<Report>(LINE).await.unwrap(),
            Some(Report::Ended { completed: true, account: Account::default() })
        );
        assert_eq!(link.next::<Report>(LINE).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_line_that_comes_in_pieces_survives_a_reader_that_turned_away() {
        let (mut link, mut theirs) = pair();
        theirs.write_all(b"{\"type\":").await.unwrap();
        tokio::select! {
            biased;
            _ = link.next::<Report>(LINE) => panic!("there is no whole line"),
            () = tokio::task::yield_now() => {}
        }
        theirs.write_all(b"\"taken\"}\n").await.unwrap();
        assert_eq!(link.next::<Report>(LINE).await.unwrap(), Some(Report::Taken));
    }

    #[tokio::test]
    async fn a_line_without_end_is_refused() {
        let (mut link, mut theirs) = pair();
        theirs.write_all(&[b' '; 101]).await.unwrap();
        let fault = link.next::<Report>(100).await.unwrap_err();
        assert!(fault.to_string().contains("longer than 100 bytes"), "{fault}");
    }

    #[tokio::test]
    async fn a_job_comes_through_as_it_was() {
        let payload = serde_json::json!({
            "version": 2, "id": 7, "token": "t0ken", "queue": "batches", "repositoryName": "app", "commit": "c0ffee",
            "files": {"a b": {"content": "AP8K"}}, "dockerSteps": [{"key": "k", "image": "alpine:3", "commands": ["x"],
            "dir": "sub", "env": ["A=b"]}], "redactedValues": {"s3cret": "WORD"}, "dockerAuthConfig": {}
        });
        let job: Job = serde_json::from_value(payload).unwrap();
        let sent = Order::Job(Box::new(Assignment {
            job: job.clone(),
            queue: "batches".to_owned(),
            at: BootTime::now(),
            renewed: None,
            term_ms: Some(25_000),
            append: true,
            incarnation: "i".to_owned(),
        }));
        let (mut link, theirs) = pair();
        let mut other = Link::new(theirs);
        link.send(&sent).await.unwrap();
        let Some(Order::Job(got)) = other.next::<Order>(JOB_LINE).await.unwrap() else { panic!("no job") };
        assert!(got.job == job && got.append && got.term_ms == Some(25_000));
    }
}
