//! The queue of a thread pool as Python sees it, and the loop of its workers.

use std::sync::Arc;

use plait_pool::completion::Waited;
use plait_pool::queue::{Closed, Found, Queue, Refused, Wanted};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use crate::error::Error;
use crate::fork::Home;
use crate::future::{Fate, Future, Outcome, deliver, new_future, wake_here};

/// A call that a worker will make.
struct Task {
    fate: Arc<Fate>,
    function: Py<PyAny>,
    arguments: Py<PyTuple>,
    keywords: Option<Py<PyDict>>,
}

impl Task {
    /// Makes the call, unless it has been cancelled, and ends the future.
    fn run(self, py: Python<'_>) {
        if !self.fate.try_begin() {
            return;
        }
        let keywords = self.keywords.as_ref().map(|keywords| keywords.bind(py));
        let outcome = match self.function.bind(py).call(self.arguments.bind(py), keywords) {
            Ok(value) => Outcome::value(value.unbind()),
            Err(error) => Outcome::error(error.into_value(py).into_bound(py).into_any()),
        };
        self.end(py, outcome);
    }

    fn end(self, py: Python<'_>, outcome: Outcome) {
        let Self { fate, function, arguments, keywords } = self;
        // Before the end is known: who has the result can rely on the pool
        // holding nothing of the call any more.
        drop((function, arguments, keywords));
        // Refused if somebody has set the future by hand: theirs stands.
        if let Ok(wakers) = fate.finish(outcome) {
            wake_here(py, wakers);
        }
    }
}

/// The queue of one `plait.ThreadPoolExecutor`.
///
/// Its lock is held by a detached thread for a few instructions only, which
/// never wait for the interpreter; so attached threads (and the collector)
/// simply take it. A forked child never does: see `Home`.
#[pyclass(frozen, weakref, module = "plait._native")]
struct ThreadQueue {
    queue: Queue<Task>,
    home: Home,
}

impl ThreadQueue {
    fn check_home(&self) -> PyResult<()> {
        if self.home.is_here() {
            return Ok(());
        }
        Err(PyRuntimeError::new_err(
            "cannot schedule new futures: this thread pool belongs to the process that this one was \
             forked from, and its threads exist only there; make a new pool",
        ))
    }
}

#[pymethods]
impl ThreadQueue {
    #[new]
    fn new(limit: usize) -> Self {
        Self { queue: Queue::new(limit), home: Home::here() }
    }

    /// Queues a call. Returns its future and whether a worker is to be
    /// started, which is to call `work`; if it will not, call `forgo`.
    fn submit<'py>(
        &self,
        function: Bound<'py, PyAny>,
        arguments: Bound<'py, PyTuple>,
        keywords: Bound<'py, PyDict>,
    ) -> PyResult<(Py<Future>, bool)> {
        self.check_home()?;
        let (future, fate) = new_future(function.py())?;
        let task = Task {
            fate,
            function: function.unbind(),
            arguments: arguments.unbind(),
            keywords: (!keywords.is_empty()).then(|| keywords.unbind()),
        };
        match self.queue.push(task) {
            Ok(wanted) => Ok((future, wanted == Wanted::Worker)),
            Err(Refused { item, reason }) => {
                drop(item);
                Err(Error::from(reason).into())
            }
        }
    }

    /// Works in this thread until the queue is closed and empty.
    fn work(&self, py: Python<'_>) {
        let mut worker = self.queue.join();
        loop {
            match worker.try_take() {
                Found::Item(task) => task.run(py),
                Found::Nothing => py.detach(|| worker.sleep()),
                Found::End => return,
            }
        }
    }

    /// Says that a worker which `submit` wanted will not work.
    fn forgo(&self) {
        self.queue.forgo();
    }

    /// Takes nothing more; what is queued is still done.
    fn close(&self) {
        if self.home.is_here() {
            self.queue.close(Closed::Shutdown);
        }
    }

    /// As `close`, because the interpreter is exiting.
    fn close_at_exit(&self) {
        if self.home.is_here() {
            self.queue.close(Closed::Exit);
        }
    }

    /// Cancels what has not begun.
    fn cancel_pending(&self, py: Python<'_>) -> PyResult<()> {
        if !self.home.is_here() {
            return Ok(());
        }
        let mut told = Ok(());
        for task in self.queue.drain() {
            if let Some(wakers) = task.fate.try_cancel() {
                told = told.and(deliver(py, wakers));
            }
        }
        told
    }

    /// Takes nothing more, and ends what is queued with an exception each:
    /// the workers cannot be set up, because of `cause`.
    fn fail(&self, py: Python<'_>, cause: &Bound<'_, PyAny>) {
        for task in self.queue.fail() {
            if task.fate.try_begin() {
                let error = PyErr::from(Error::from(Closed::Broken));
                error.set_cause(py, Some(PyErr::from_value(cause.clone())));
                task.end(py, Outcome::error(error.into_value(py).into_bound(py).into_any()));
            }
        }
    }

    /// Waits until the queue has been closed and its workers have ended.
    fn wait(&self, py: Python<'_>) -> PyResult<()> {
        while self.home.is_here() {
            match py.detach(|| self.queue.wait(None)).map_err(Error::from)? {
                Waited::Interrupted => py.check_signals()?,
                Waited::Done | Waited::TimedOut => break,
            }
        }
        Ok(())
    }

    /// How many calls have not begun.
    fn qsize(&self) -> PyResult<usize> {
        self.check_home()?;
        Ok(self.queue.len())
    }

    /// How many workers have nothing to do.
    fn idle(&self) -> PyResult<usize> {
        self.check_home()?;
        Ok(self.queue.workers().1)
    }

    /// Why calls are refused, if they are.
    #[getter]
    fn closed(&self) -> PyResult<Option<&'static str>> {
        self.check_home()?;
        Ok(self.queue.closed().map(|reason| match reason {
            Closed::Shutdown => "shutdown",
            Closed::Exit => "exit",
            Closed::Broken => "broken",
        }))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if !self.home.is_here() {
            return Ok(());
        }
        // Not `try_lock`: an object that one pass of a collection sees and
        // the next does not would be freed while it is in use.
        self.queue.with_items(|tasks| {
            tasks.iter().try_for_each(|task| {
                visit.call(&task.function)?;
                visit.call(&task.arguments)?;
                visit.call(&task.keywords)
            })
        })
    }

    fn __clear__(&self) {
        if self.home.is_here() {
            drop(self.queue.drain());
        }
    }
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ThreadQueue>()
}
