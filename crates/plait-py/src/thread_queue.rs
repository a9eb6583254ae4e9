//! The queue of a thread pool as Python sees it, and the loop of its workers.

use std::collections::VecDeque;
use std::sync::Arc;

use plait_pool::completion::Waited;
use plait_pool::queue::{Closed, Found, Queue, Refused, Wanted};
use plait_shm::Sight;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use crate::error::Error;
use crate::fork::Home;
use crate::future::{Fate, Future, Outcome, PoolNumber, deliver, new_future, wake_here};
use crate::handover;
use crate::thread_call::{ThreadCall, What};
use crate::thread_counts::{Count, Counts};

/// A call that a worker will make.
struct Task {
    fate: Arc<Fate>,
    what: What,
}

impl Task {
    /// Makes the call, unless it has been cancelled, and ends the future.
    fn run(self, py: Python<'_>, counts: &Counts) {
        if !self.fate.try_begin() {
            counts.cancelled.add(1);
            return;
        }
        counts.begun.add(1);
        let keywords = self.what.keywords.as_ref().map(|keywords| keywords.bind(py));
        let (outcome, count) = match self.what.function.bind(py).call(self.what.arguments.bind(py), keywords)
        {
            Ok(value) => (Outcome::value(value.unbind()), &counts.done),
            Err(error) => {
                let error = error.into_value(py).into_bound(py).into_any();
                (Outcome::error_of(self.what.function.bind(py), error), &counts.failed)
            }
        };
        self.end(py, outcome, count, counts.pool);
    }

    fn end(self, py: Python<'_>, outcome: Outcome, count: &Count, pool: PoolNumber) {
        let Self { fate, what } = self;
        // Before the end is known: who has the result can rely on the pool
        // holding nothing of the call any more.
        drop(what);
        count.add(1);
        // Refused if somebody has set the future by hand: theirs stands.
        if let Ok(wakers) = fate.finish_in(pool, outcome) {
            wake_here(py, wakers);
        }
        // Nobody can ask any more. While the future is there, that is its
        // finaliser's to say.
        if Arc::strong_count(&fate) == 1 {
            fate.report_lost(py);
        }
    }
}

/// See `ThreadQueue::statistics`.
type Statistics = (u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64);

/// What a worker takes.
enum Item {
    Plain(Task),
    /// To be made by Python code: it may have to be stopped.
    Stoppable(Py<ThreadCall>),
}

impl Item {
    /// What its future ends with; `None` once it has ended.
    fn fate(&self) -> Option<Arc<Fate>> {
        match self {
            Self::Plain(task) => Some(Arc::clone(&task.fate)),
            Self::Stoppable(call) => call.get().fate(),
        }
    }

    fn end(self, py: Python<'_>, outcome: Outcome, count: &Count, pool: PoolNumber) {
        match self {
            Self::Plain(task) => task.end(py, outcome, count, pool),
            Self::Stoppable(call) => call.get().end(py, outcome, count),
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
    queue: Queue<Item>,
    counts: Arc<Counts>,
    notifies: bool,
    home: Home,
}

impl ThreadQueue {
    /// Ends calls that nobody will make, but for those that were cancelled.
    fn refuse(&self, py: Python<'_>, items: VecDeque<Item>, error: impl Fn(Python<'_>) -> PyErr) {
        for item in items {
            if item.fate().is_some_and(|fate| fate.try_begin()) {
                self.counts.begun.add(1);
                let error = error(py).into_value(py).into_bound(py).into_any();
                item.end(py, Outcome::error(error), &self.counts.failed, self.counts.pool);
            } else {
                self.counts.cancelled.add(1);
            }
        }
    }

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
    /// `notifies`: the notifier tells of the ends of calls with terms, not the
    /// worker.
    #[new]
    #[pyo3(signature = (limit, notifies=false))]
    fn new(limit: usize, notifies: bool) -> Self {
        Self { queue: Queue::new(limit), counts: Arc::default(), notifies, home: Home::here() }
    }

    /// Queues a call, on `terms` if it may have to be stopped; then each
    /// attempt may have a copy of `context`. Returns its future and whether a
    /// worker is to be started, which is to call `work`; if it will not, call
    /// `forgo`.
    #[pyo3(signature = (function, arguments, keywords, terms=None, context=None))]
    fn submit<'py>(
        &self,
        function: Bound<'py, PyAny>,
        arguments: Bound<'py, PyTuple>,
        keywords: Bound<'py, PyDict>,
        terms: Option<Bound<'py, PyAny>>,
        context: Option<Bound<'py, PyAny>>,
    ) -> PyResult<(Py<Future>, bool)> {
        self.check_home()?;
        let py = function.py();
        let what = What::new(function, arguments, keywords);
        let (future, item) = match terms {
            None => {
                let (future, fate) = new_future(py)?;
                (future, Item::Plain(Task { fate, what }))
            }
            Some(terms) => {
                let (future, call) =
                    ThreadCall::new(what, &terms, context, self.notifies, Arc::clone(&self.counts))?;
                (future, Item::Stoppable(call))
            }
        };
        match self.queue.push(item) {
            Ok(wanted) => Ok((future, wanted == Wanted::Worker)),
            Err(Refused { item, reason }) => {
                drop(item);
                Err(Error::from(reason).into())
            }
        }
    }

    /// Works in this thread until the queue is closed and empty: then it
    /// returns None. Or until there is a call that Python code has to make:
    /// the thread makes it and calls `work` again.
    fn work(&self, py: Python<'_>) -> Option<Py<ThreadCall>> {
        let mut worker = self.queue.join();
        loop {
            match worker.try_take() {
                Found::Item(Item::Plain(task)) => task.run(py, &self.counts),
                Found::Item(Item::Stoppable(call)) => {
                    worker.step_aside();
                    return Some(call);
                }
                Found::Nothing => {
                    let see = || if worker.stirs() { Sight::There } else { Sight::Nothing };
                    py.detach(|| handover::wait(see, || worker.sleep()));
                }
                Found::End => return None,
            }
        }
    }

    /// Says that a thread does not come back from its call. Whether another
    /// is to be started, as `submit` may want one.
    fn lose(&self) -> bool {
        self.queue.lose() == Wanted::Worker
    }

    /// Says that a worker which `submit` wanted will not work.
    fn forgo(&self) {
        self.queue.forgo();
    }

    /// As `forgo`; what there is no other worker for ends with an exception.
    fn give_up(&self, py: Python<'_>, cause: &Bound<'_, PyAny>) {
        self.refuse(py, self.queue.give_up(), |py| {
            let error = PyRuntimeError::new_err("no thread could be started for this call");
            error.set_cause(py, Some(PyErr::from_value(cause.clone())));
            error
        });
    }

    /// Whether the calling thread is to `work`: something is left that nobody
    /// else will do.
    fn stand_in(&self) -> bool {
        self.home.is_here() && self.queue.stand_in()
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
        for item in self.queue.drain() {
            self.counts.cancelled.add(1);
            if let Some(wakers) = item.fate().and_then(|fate| fate.try_cancel()) {
                told = told.and(deliver(py, wakers));
            }
        }
        told
    }

    /// Takes nothing more, and ends what is queued with an exception each:
    /// the workers cannot be set up, because of `cause`.
    fn fail(&self, py: Python<'_>, cause: &Bound<'_, PyAny>) {
        self.refuse(py, self.queue.fail(), |py| {
            let error = PyErr::from(Error::from(Closed::Broken));
            error.set_cause(py, Some(PyErr::from_value(cause.clone())));
            error
        });
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

    /// The number of the pool.
    #[getter]
    fn number(&self) -> u64 {
        self.counts.pool.get()
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

    /// How many calls are queued, run, have ended in which way (done, failed,
    /// killed, timed out, abandoned, of these late, cancelled), and workers
    /// there are, and how many of these are idle.
    fn statistics(&self) -> PyResult<Statistics> {
        self.check_home()?;
        // A call that was cancelled stays where it is until its turn comes.
        let (queued, cancelled) = self.queue.with_items(|items| {
            let cancelled =
                items.iter().filter(|item| item.fate().is_none_or(|fate| fate.state().is_final())).count();
            (items.len() - cancelled, cancelled)
        });
        let counts = &self.counts;
        let (workers, idle) = self.queue.workers();
        Ok((
            queued as u64,
            counts.running(),
            counts.done.get(),
            counts.failed.get(),
            counts.killed.get(),
            counts.timed_out.get(),
            counts.abandoned.get(),
            counts.late.get(),
            counts.cancelled.get() + cancelled as u64,
            workers as u64,
            idle as u64,
        ))
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
        self.queue.with_items(|items| {
            items.iter().try_for_each(|item| match item {
                Item::Plain(task) => task.what.visit(&visit),
                Item::Stoppable(call) => visit.call(call),
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
