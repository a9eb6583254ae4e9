//! A call in a thread of this process that can be stopped.
//!
//! A frame of Python makes the call, not one of ours: a thread that was
//! abandoned in C is still there when the interpreter ends, which up to 3.13
//! unwinds it by `pthread_exit`, and Rust's frames abort at that. See
//! `plait._thread_calls` for that frame, and `running` for what it relies on.
//!
//! That frame cannot do anything about an error of ours, and a call whose future
//! never ends is the worst of them. So what fails while a call is being ended
//! (memory runs out, `backoff` raises) becomes the exception of its future.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use plait_pool::stopping::{Limits, Stop, Why};
use plait_sys::clock::Instant;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use crate::error::Result;
use crate::future::{Cancelled, Engine, Fate, Future, Outcome, Waker, new_future, notify, wake, wake_here};
use crate::hot::cell::GilCell;
use crate::running;
use crate::sync::lock;
use crate::thread_counts::{Count, Counts};

/// What a future asks about its call.
struct Run {
    /// Its number among those that run; 0: it has not begun.
    id: AtomicU64,
    /// Whether somebody wants it to stop; who waits for the next attempt looks.
    cancelled: Mutex<bool>,
    woken: Condvar,
}

impl Run {
    fn id(&self) -> u64 {
        // Relaxed: changed and read under the interpreter lock.
        self.id.load(Relaxed)
    }
}

impl Engine for Run {
    fn cancel(&self, _task: u64) -> Result<Cancelled> {
        let id = self.id();
        if id == 0 {
            // It finds its future ended when its turn comes.
            return Ok(Cancelled::TakenBack);
        }
        let stopping = Python::attach(|py| running::cancel(py, id));
        if matches!(stopping, Ok(false)) {
            return Ok(Cancelled::Refused);
        }
        *lock(&self.cancelled) = true;
        self.woken.notify_all();
        // An error is one of looking into the thread: the watcher looks again.
        Ok(Cancelled::Stopping)
    }

    fn withdraw(&self, _task: u64) -> Result<bool> {
        Ok(self.id() == 0)
    }

    fn has_begun(&self, _task: u64) -> Result<bool> {
        Ok(self.id() != 0)
    }

    fn help(&self, _until: &dyn Fn() -> bool, _look: Duration) -> Option<bool> {
        None
    }
}

/// What to call.
pub(crate) struct What {
    pub(crate) function: Py<PyAny>,
    pub(crate) arguments: Py<PyTuple>,
    pub(crate) keywords: Option<Py<PyDict>>,
}

impl What {
    pub(crate) fn new(
        function: Bound<'_, PyAny>,
        arguments: Bound<'_, PyTuple>,
        keywords: Bound<'_, PyDict>,
    ) -> Self {
        let keywords = (!keywords.is_empty()).then(|| keywords.unbind());
        Self { function: function.unbind(), arguments: arguments.unbind(), keywords }
    }

    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> std::result::Result<(), PyTraverseError> {
        visit.call(&self.function)?;
        visit.call(&self.arguments)?;
        visit.call(&self.keywords)
    }
}

/// How a stop ended its call.
#[derive(Clone, Copy)]
enum How {
    Stopped,
    Abandoned,
    /// Nothing of it ran when it was cancelled.
    Resting,
}

impl How {
    const fn word(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Abandoned => "abandoned",
            Self::Resting => "resting",
        }
    }
}

/// A call with terms: see the head of the file.
#[pyclass(frozen, module = "plait._native")]
pub(crate) struct ThreadCall {
    run: Arc<Run>,
    /// What its future ends with, until then: frames that an exception keeps
    /// may keep the call, and the collector is not told of the fate here.
    fate: Mutex<Option<Arc<Fate>>>,
    limits: Limits,
    /// What `plait.task` was given, for what only Python decides.
    terms: Py<PyAny>,
    /// In whose copies the attempts run, if in any.
    context: Option<Py<PyAny>>,
    attempts: Count,
    what: GilCell<Option<What>>,
    abandoned: AtomicBool,
    /// Whether the notifier tells of its end, not its thread.
    notifies: bool,
    counts: Arc<Counts>,
}

impl ThreadCall {
    /// A call, and its future.
    pub(crate) fn new(
        what: What,
        terms: &Bound<'_, PyAny>,
        context: Option<Bound<'_, PyAny>>,
        notifies: bool,
        counts: Arc<Counts>,
    ) -> PyResult<(Py<Future>, Py<Self>)> {
        let py = terms.py();
        let (timeout, grace, _retries): (Option<f64>, f64, u32) = terms.call_method0("limits")?.extract()?;
        let limits = Limits { timeout: timeout.map(seconds), grace: seconds(grace) };
        let (future, fate) = new_future(py)?;
        let run = Run { id: AtomicU64::new(0), cancelled: Mutex::new(false), woken: Condvar::new() };
        let run = Arc::new(run);
        future.get().work_for(Arc::clone(&run) as Arc<dyn Engine>, 0);
        let call = Self {
            run,
            fate: Mutex::new(Some(fate)),
            limits,
            terms: terms.clone().unbind(),
            context: context.map(Bound::unbind),
            attempts: Count::default(),
            what: GilCell::new(Some(what)),
            abandoned: AtomicBool::new(false),
            notifies,
            counts,
        };
        Ok((future, Py::new(py, call)?))
    }

    /// What its future ends with; `None` once it has ended.
    pub(crate) fn fate(&self) -> Option<Arc<Fate>> {
        lock(&self.fate).clone()
    }

    /// Ends its future, unless it has ended; `count` is where that is counted.
    pub(crate) fn end(&self, py: Python<'_>, outcome: Outcome, count: &Count) {
        if let Some((fate, wakers)) = self.settle(py, outcome, count) {
            self.tell(py, &fate, wakers);
        }
    }

    fn tell(&self, py: Python<'_>, fate: &Arc<Fate>, wakers: Vec<Waker>) {
        if self.notifies {
            wake(wakers);
        } else {
            wake_here(py, wakers);
        }
        // Nobody can ask any more. While the future is there, that is its
        // finaliser's to say.
        if Arc::strong_count(fate) == 1 {
            fate.report_lost(py);
        }
    }

    /// That it has failed with `error`.
    fn failure(&self, py: Python<'_>, error: Bound<'_, PyAny>) -> Outcome {
        let given = self.terms.bind(py).getattr(intern!(py, "name")).and_then(|name| name.extract());
        if let Ok(Some(name)) = given {
            return Outcome::error_in(Some(name), error);
        }
        let function = self.what.borrow(py).as_ref().map(|what| what.function.clone_ref(py));
        match function {
            Some(function) => Outcome::error_of(function.bind(py), error),
            None => Outcome::error(error),
        }
    }

    /// Does that, and returns who is to be told.
    fn settle(&self, py: Python<'_>, outcome: Outcome, count: &Count) -> Option<(Arc<Fate>, Vec<Waker>)> {
        let what = self.what.borrow(py).take();
        // Before the end is known: who has the result can rely on nothing of
        // the call being held any more.
        drop(what);
        count.add(1);
        // Refused where somebody has set it by hand.
        let fate = lock(&self.fate).take()?;
        let wakers = fate.finish_in(self.counts.pool, outcome).unwrap_or_default();
        Some((fate, wakers))
    }

    /// It begins now; false if somebody has cancelled it.
    fn accept(&self, py: Python<'_>) -> bool {
        if self.fate().is_some_and(|fate| fate.try_begin()) {
            self.counts.begun.add(1);
            return true;
        }
        self.counts.cancelled.add(1);
        let what = self.what.borrow(py).take();
        drop(what);
        false
    }

    /// Ends it with an exception of its own.
    fn fail(&self, py: Python<'_>, error: &Bound<'_, PyAny>) {
        static FAILED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let made = FAILED
            .import(py, "plait._thread_calls", "failed")
            .and_then(|make| make.call1((error, self.attempts.get())));
        self.end(py, self.failure(py, value_or_error(py, made)), &self.counts.failed);
    }

    /// Ends it as stopped. `place`: what it raised, or where its thread is.
    fn end_stopped(&self, py: Python<'_>, stop: Stop, how: How, place: &Bound<'_, PyAny>) {
        static STOPPED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let (late, count) = match stop.why {
            Why::Deadline => (true, &self.counts.timed_out),
            Why::Cancel => (false, &self.counts.killed),
        };
        let (ran, grace) = (stop.ran.as_secs_f64(), stop.grace.as_secs_f64());
        let function = self.what.borrow(py).as_ref().map(|what| what.function.clone_ref(py));
        let made = STOPPED.import(py, "plait._thread_calls", "stopped").and_then(|make| {
            make.call1((&self.terms, function, late, ran, grace, how.word(), place, self.attempts.get()))
        });
        let settled = self.settle(py, self.failure(py, value_or_error(py, made)), count);
        let Some((fate, wakers)) = settled else { return };
        match how {
            // In the watcher, which has other calls to see to.
            How::Abandoned => {
                wake(wakers);
                if Arc::strong_count(&fate) == 1 {
                    notify(move |py| fate.report_lost(py));
                }
            }
            How::Stopped | How::Resting => self.tell(py, &fate, wakers),
        }
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}

/// What was made, or the exception that came instead of it.
fn value_or_error<'py>(py: Python<'py>, made: PyResult<Bound<'py, PyAny>>) -> Bound<'py, PyAny> {
    made.unwrap_or_else(|error| error.into_value(py).into_bound(py).into_any())
}

type Parts = (Py<PyAny>, Py<PyTuple>, Option<Py<PyDict>>, Option<Py<PyAny>>);

#[pymethods]
impl ThreadCall {
    /// What to call: function, arguments, keywords, context. None: it has
    /// ended.
    fn parts(&self, py: Python<'_>) -> Option<Parts> {
        let what = self.what.borrow(py);
        let What { function, arguments, keywords } = what.as_ref()?;
        let keywords = keywords.as_ref().map(|keywords| keywords.clone_ref(py));
        let context = self.context.as_ref().map(|context| context.clone_ref(py));
        Some((function.clone_ref(py), arguments.clone_ref(py), keywords, context))
    }

    /// An attempt begins in the calling thread, whose `threading.get_ident()`
    /// is `thread`: from here on it may be interrupted. False: it is not to
    /// begin, and the call has ended. `member.lose()` is to be called if the
    /// call is abandoned.
    fn begin(slf: &Bound<'_, Self>, thread: u64, member: Bound<'_, PyAny>) -> bool {
        let (py, this) = (slf.py(), slf.get());
        let id = this.run.id();
        if id == 0 {
            if !this.accept(py) {
                return false;
            }
            this.attempts.add(1);
            let id = running::begin(py, slf.clone().unbind(), thread, member.unbind(), this.limits);
            this.run.id.store(id, Relaxed);
            return true;
        }
        if running::begin_again(py, id) {
            this.attempts.add(1);
            return true;
        }
        if let Some(stop) = running::end(py, id) {
            this.end_stopped(py, stop, How::Resting, py.None().bind(py));
        }
        false
    }

    /// Ends it with an exception, without an attempt.
    fn refuse(&self, py: Python<'_>, error: Bound<'_, PyAny>) {
        if self.accept(py) {
            self.end(py, Outcome::error(error), &self.counts.failed);
        }
    }

    /// The attempt has returned `value`.
    fn returned(&self, py: Python<'_>, value: Bound<'_, PyAny>) {
        match running::end(py, self.run.id()) {
            Some(Stop { abandoned: true, .. }) => self.counts.late.add(1),
            Some(stop) => self.end_stopped(py, stop, How::Stopped, py.None().bind(py)),
            None => self.end(py, Outcome::value(value.unbind()), &self.counts.done),
        }
    }

    /// The attempt has raised `error`. How many seconds to wait before the
    /// next; None: there is none, and the call has ended.
    fn raised(&self, py: Python<'_>, error: Bound<'_, PyAny>) -> Option<f64> {
        static PAUSE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let id = self.run.id();
        let stop = running::pause(py, id);
        let last = stop.is_some_and(|stop| stop.abandoned || stop.why == Why::Cancel);
        let pause = if last {
            Ok(None)
        } else {
            PAUSE
                .import(py, "plait._thread_calls", "pause_after")
                .and_then(|after| after.call1((&self.terms, &error, self.attempts.get(), stop.is_some())))
                .and_then(|pause| pause.extract())
        };
        if let Ok(Some(_)) = pause {
            return pause.ok().flatten();
        }
        // A cancel that came with the last attempt's end is too late, but one
        // that came while it was being stopped counts.
        let stop = stop.and(running::end(py, id));
        match (stop, pause) {
            (_, Err(error)) => self.fail(py, error.value(py)),
            (Some(Stop { abandoned: true, .. }), _) => self.counts.late.add(1),
            (Some(stop), _) => self.end_stopped(py, stop, How::Stopped, &error),
            (None, _) => self.fail(py, &error),
        }
        None
    }

    /// Waits so many seconds before the next attempt, or until it is cancelled.
    fn rest(&self, py: Python<'_>, pause: f64) {
        let end = Instant::now() + seconds(pause);
        py.detach(|| {
            let mut cancelled = lock(&self.run.cancelled);
            while !*cancelled {
                let left = end.saturating_since(Instant::now());
                if left.is_zero() {
                    return;
                }
                let slept = self.run.woken.wait_timeout(cancelled, left);
                cancelled = slept.unwrap_or_else(PoisonError::into_inner).0;
            }
        });
    }

    /// Ends its future although it runs, and counts it. `place`: where its
    /// thread is. False if it has ended meanwhile.
    fn abandon(&self, py: Python<'_>, place: &Bound<'_, PyAny>) -> bool {
        let Some(stop) = running::abandon(py, self.run.id()) else { return false };
        self.abandoned.store(true, Relaxed);
        self.counts.abandoned.add(1);
        self.end_stopped(py, stop, How::Abandoned, place);
        true
    }

    /// Whether it was abandoned: its thread has lost its place.
    #[getter]
    fn abandoned(&self) -> bool {
        self.abandoned.load(Relaxed)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> std::result::Result<(), PyTraverseError> {
        visit.call(&self.terms)?;
        visit.call(&self.context)?;
        match self.what.visit(&visit).as_deref() {
            Some(Some(what)) => what.visit(&visit),
            _ => Ok(()),
        }
    }

    fn __clear__(&self, py: Python<'_>) {
        let what = self.what.borrow(py).take();
        drop(what);
    }
}

/// A call that any thread may make, and its future.
#[pyfunction]
fn stoppable(
    function: Bound<'_, PyAny>,
    arguments: Bound<'_, PyTuple>,
    keywords: Bound<'_, PyDict>,
    terms: &Bound<'_, PyAny>,
) -> PyResult<(Py<Future>, Py<ThreadCall>)> {
    ThreadCall::new(What::new(function, arguments, keywords), terms, None, false, Arc::default())
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(stoppable, module)?)?;
    module.add_class::<ThreadCall>()
}
