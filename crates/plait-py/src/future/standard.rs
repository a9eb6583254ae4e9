//! The face that a future shows to `concurrent.futures.wait`,
//! `as_completed` and whoever else reads `_condition`, `_state` and
//! `_waiters` of the standard class.
//!
//! Such readers hold `_condition`, look at `_state` (several times), append
//! to `_waiters`, and rely on nothing changing meanwhile. Our fate is decided
//! without any lock, perhaps in a thread without the interpreter. So a future
//! whose `_condition` was read has two states: the fate, and the *published*
//! state, which `_state` shows and which becomes final only in
//! [`Standard::publish`], with the condition held.
//!
//! | race | why it is harmless |
//! |---|---|
//! | the first `_condition` against the end of the task | `subscribe` on the fate decides. Accepted: the list of wakers has the future in it, and `publish` will come. Refused: the task had ended, and the published state is final from the start |
//! | `publish` against the making of the face | the face is put in place under the same lock under which it subscribed, so a publisher that was called by that subscription finds it |
//! | two first readers | both make a condition, one puts it in place, the other drops its own |
//! | a publisher that was called for callbacks alone, against a face made after the end | the face was born published: the publisher tells its waiters nothing, who saw the final state |
//! | `wait` between its looks at `_state` against the publisher | it holds the condition, the publisher waits for it |
//! | a waiter that appends itself against the publisher | the same: it is in the list before the publisher reads it, or has seen the final state |
//! | `publish` twice | `published` is changed once, with the condition held |
//! | an interrupt (Ctrl-C) while the main thread waits for the condition | nothing has been published: the notifier is given the work, and the interrupt goes on |

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyList;
use pyo3::{PyTraverseError, PyVisit};

/// What `concurrent.futures.Future.__init__` would have made.
pub(super) struct Standard {
    pub(super) condition: Py<PyAny>,
    pub(super) waiters: Py<PyList>,
    /// Read and written with the interpreter lock held, which orders it.
    published: AtomicBool,
}

/// What the waiters are told.
#[derive(Clone, Copy)]
pub(super) enum News {
    Result,
    Exception,
    Cancelled,
}

impl News {
    fn method(self) -> &'static str {
        match self {
            Self::Result => "add_result",
            Self::Exception => "add_exception",
            Self::Cancelled => "add_cancelled",
        }
    }
}

/// How far [`Standard::publish`] came.
pub(super) enum Published {
    /// Everybody was told; the error is the first that a waiter raised.
    Told(PyResult<()>),
    /// The condition could not be taken: nothing was published.
    Refused(PyErr),
}

impl Standard {
    pub(super) fn new(py: Python<'_>) -> PyResult<Self> {
        static CONDITION: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let condition = CONDITION.import(py, "threading", "Condition")?.call0()?.unbind();
        Ok(Self { condition, waiters: PyList::empty(py).unbind(), published: AtomicBool::new(false) })
    }

    /// For a task that had ended before anybody looked.
    pub(super) fn born_published(&self) {
        self.published.store(true, Relaxed);
    }

    pub(super) fn is_published(&self) -> bool {
        self.published.load(Relaxed)
    }

    /// Makes the published state final and tells those who wait.
    pub(super) fn publish(&self, future: &Bound<'_, PyAny>, news: News) -> Published {
        let py = future.py();
        let condition = self.condition.bind(py);
        if let Err(error) = condition.call_method0(intern!(py, "acquire")) {
            return Published::Refused(error);
        }
        let mut told = Ok(());
        if !self.published.swap(true, Relaxed) {
            for waiter in self.waiters.bind(py).iter() {
                told = told.and(waiter.call_method1(news.method(), (future,)).map(drop));
            }
            told = told.and(condition.call_method0(intern!(py, "notify_all")).map(drop));
        }
        told = told.and(condition.call_method0(intern!(py, "release")).map(drop));
        Published::Told(told)
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.condition)?;
        visit.call(&self.waiters)
    }
}
