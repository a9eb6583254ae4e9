//! The log records of workers, on their way to the handlers of this process.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use plait_pool::process::{Listener, Said};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyBytes;

use crate::future::{notifier, notify};

/// So many bytes may wait for the notifier's thread. Beyond that, nothing more
/// is read, and workers that log wait.
const ENOUGH: usize = 1 << 20;
/// What a record costs beside its bytes.
const EACH: usize = 256;

/// Hands records to the notifier's thread.
#[derive(Clone, Default)]
pub(crate) struct Records {
    waiting: Arc<AtomicUsize>,
}

impl Records {
    /// Whether there are some that have not been handled.
    pub(crate) fn are_waiting(&self) -> bool {
        // Relaxed, here and below: a count, which publishes nothing.
        self.waiting.load(Relaxed) > 0
    }
}

impl Listener for Records {
    fn hear(&self, said: Said) {
        let Said { writer, number, message } = said;
        let size = message.len() + EACH;
        self.waiting.fetch_add(size, Relaxed);
        let waiting = Arc::clone(&self.waiting);
        notify(move |py| {
            if let Err(error) = handle(py, &message) {
                error.write_unraisable(py, None);
            }
            waiting.fetch_sub(size, Relaxed);
            notifier::note_heard(writer, number);
        });
    }

    fn mishear(&self, bytes: u64) {
        notify(move |py| {
            let told = py
                .import("plait._records")
                .and_then(|records| records.call_method1("tell_of_noise", (bytes,)));
            if let Err(error) = told {
                error.write_unraisable(py, None);
            }
        });
    }

    fn is_behind(&self) -> bool {
        self.waiting.load(Relaxed) > ENOUGH
    }
}

fn handle(py: Python<'_>, message: &[u8]) -> PyResult<()> {
    static HANDLE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let handle = HANDLE.import(py, "plait._records", "handle")?;
    handle.call1((PyBytes::new(py, message),)).map(drop)
}
