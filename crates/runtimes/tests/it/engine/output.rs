//! Output that is taken late.

use super::bench::run;
use crate::harness::{NoProgress, step};
use runtimes::{ExitStatus, Limits, Output, Stream};
use std::io;
use std::time::Duration;
use testkit::EngineKind;
use tokio_util::sync::CancellationToken;

/// Longer than engines wait for a container's output once it has ended.
const LATE: Duration = Duration::from_secs(4);

/// Takes nothing for a while, after its first bytes.
struct Late(u64);

#[async_trait::async_trait]
impl Output for Late {
    async fn write(&mut self, _: Stream, bytes: &[u8]) -> io::Result<()> {
        if self.0 == 0 {
            tokio::time::sleep(LATE).await;
        }
        self.0 += bytes.len() as u64;
        Ok(())
    }

    fn progress(&self) -> &dyn images::Progress {
        &NoProgress
    }
}

#[test]
fn what_is_taken_late_is_whole() {
    run("engine::output::what_is_taken_late_is_whole", EngineKind::Docker, async |bench| {
        let mut sandbox = bench.open(Limits::default()).await;
        // The engine and the kernel keep a little more than a megabyte between them.
        for kibibytes in [4, 1_300, 8 << 10] {
            let script = format!("head -c {} /dev/zero | tr '\\0' x", kibibytes << 10);
            let mut late = Late(0);
            let step = step(&["sh", "-c", &script]);
            let exit = sandbox.0.run(step, &mut late, &CancellationToken::new()).await.unwrap();
            assert_eq!((exit.status, late.0), (ExitStatus::Code(0), kibibytes << 10));
        }
        sandbox.close().await;
    });
}
