//! How often this process has been forked off, so that what came along from
//! the parent (pools, their futures, the notifier) can be told from our own.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use pyo3::prelude::*;

use crate::future::notifier;
use crate::running;

static GENERATION: AtomicU32 = AtomicU32::new(0);

/// Where something was made: it works only in that process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Home(u32);

impl Home {
    /// This process.
    pub(crate) fn here() -> Self {
        // Relaxed: changed only in a child that has one thread.
        Self(GENERATION.load(Relaxed))
    }

    /// Whether this process is the one where it was made.
    pub(crate) fn is_here(self) -> bool {
        self == Self::here()
    }
}

/// Runs in the child of an `os.fork`, before anything else of ours does.
#[pyfunction]
fn after_fork_in_child(py: Python<'_>) {
    GENERATION.fetch_add(1, Relaxed);
    notifier::abandon();
    running::forget(py);
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(after_fork_in_child, module)?)
}
