//! What the agent says in its own log.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, OnceLock};

/// What a subscriber wrote.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<u8>>>);

impl Told {
    /// What every thread of this process says from now on.
    pub(crate) fn all() -> Self {
        static ALL: OnceLock<Told> = OnceLock::new();
        let all = ALL.get_or_init(|| {
            let told = Self::default();
            let writer = told.clone();
            let subscriber = tracing_subscriber::fmt().with_env_filter("info").with_ansi(false);
            subscriber.with_writer(move || writer.clone()).init();
            told
        });
        all.clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
