//! What is said in our own log.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// What a subscriber wrote. Give it one as its writer, or hear everything with [`Told::all`].
#[derive(Clone, Default)]
pub struct Told(Arc<Mutex<Vec<u8>>>);

impl Told {
    /// What every thread of this process says from now on.
    pub fn all() -> Self {
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

    /// All of it so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    /// Its lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.text().lines().map(str::to_owned).collect()
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
