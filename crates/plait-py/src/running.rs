//! The calls of this process that run in threads and may have to be stopped,
//! and the thread that sees to it.
//!
//! All of it happens under the interpreter lock: what is found to run, runs
//! until somebody who has the lock says that it has ended. So nothing is raised
//! in code that is not the call's, nor in the next call of the same thread.
//!
//! Python code can let other threads run. So nothing is carried over a call
//! into it: what is to be done is decided afterwards.

use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use plait_pool::stopping::{Act, Calls, Cancel, Limits, Stop};
use plait_sys::clock::Instant;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType};

use crate::hot::cell::GilCell;
use crate::hot::interrupt;
use crate::sync::lock;
use crate::thread_call::ThreadCall;

/// A call is not interrupted in the middle of an import; so long later it is
/// tried again.
const IMPORT_PAUSE: Duration = Duration::from_millis(5);

/// A call that runs.
struct Subject {
    call: Py<ThreadCall>,
    /// The `threading.get_ident()` of its thread...
    thread: u64,
    /// ...and the object: its `lose` is called if the call is abandoned.
    member: Py<PyAny>,
}

struct Running {
    calls: Calls<Subject>,
    watch: Arc<Watch>,
    /// Whether the watcher is to settle what was raised.
    unsettled: bool,
}

/// What the watcher sleeps on.
#[derive(Default)]
struct Watch {
    rest: Mutex<Rest>,
    woken: Condvar,
}

#[derive(Default)]
struct Rest {
    until: Option<Instant>,
    /// Whether there is a thread that watches, or has been.
    claimed: bool,
    stopped: bool,
}

static RUNNING: GilCell<Option<Running>> = GilCell::new(None);

fn with<R>(py: Python<'_>, act: impl FnOnce(&mut Running) -> R) -> R {
    let mut running = RUNNING.borrow(py);
    act(running.get_or_insert_with(|| Running {
        calls: Calls::default(),
        watch: Arc::default(),
        unsettled: false,
    }))
}

impl Watch {
    fn rest(&self) -> MutexGuard<'_, Rest> {
        lock(&self.rest)
    }

    /// Has the watcher look by then.
    fn look_by(&self, time: Option<Instant>) {
        let Some(time) = time else { return };
        let mut rest = self.rest();
        if rest.until.is_none_or(|until| time < until) {
            rest.until = Some(time);
            self.woken.notify_one();
        }
    }

    /// Sleeps until it is time. False if there is nothing to watch any more.
    fn sleep(&self) -> bool {
        let mut rest = self.rest();
        while !rest.stopped {
            let now = Instant::now();
            rest = match rest.until {
                Some(until) if until <= now => {
                    rest.until = None;
                    return true;
                }
                Some(until) => {
                    let slept = self.woken.wait_timeout(rest, until.saturating_since(now));
                    slept.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.woken.wait(rest).unwrap_or_else(PoisonError::into_inner),
            };
        }
        false
    }
}

/// A call begins, in the thread with this `threading.get_ident()`.
pub(crate) fn begin(
    py: Python<'_>,
    call: Py<ThreadCall>,
    thread: u64,
    member: Py<PyAny>,
    limits: Limits,
) -> u64 {
    with(py, |running| {
        let id = running.calls.begin(Subject { call, thread, member }, limits, Instant::now());
        running.watch.look_by(running.calls.next());
        id
    })
}

/// Another attempt of it begins; false if it is not to.
pub(crate) fn begin_again(py: Python<'_>, id: u64) -> bool {
    with(py, |running| {
        let begun = running.calls.begin_again(id, Instant::now());
        running.watch.look_by(running.calls.next());
        begun
    })
}

/// An attempt has ended, in this thread; see `Calls::pause`.
pub(crate) fn pause(py: Python<'_>, id: u64) -> Option<Stop> {
    let stop = with(py, |running| {
        let stop = running.calls.pause(id)?;
        take_back(py, running, id);
        Some(stop)
    });
    if stop.is_some() {
        settle(py);
    }
    stop
}

/// The call has ended, in this thread. The stop that was under way.
pub(crate) fn end(py: Python<'_>, id: u64) -> Option<Stop> {
    let (stopping, ended) = with(py, |running| {
        let stopping = running.calls.is_stopping(id);
        if stopping {
            take_back(py, running, id);
        }
        (stopping, running.calls.end(id))
    });
    if stopping {
        settle(py);
    }
    // Dropped here, behind the borrow.
    ended.and_then(|(_subject, stop)| stop)
}

/// Nothing of a stop reaches the thread any more.
fn take_back(py: Python<'_>, running: &Running, id: u64) {
    if let Some(subject) = running.calls.subject(id) {
        interrupt::raise_in(py, subject.thread, None);
    }
}

/// Settles, in this thread, what was raised in any; for that see
/// `interrupt::must_settle`. No exception may wait for this thread.
fn settle(py: Python<'_>) {
    if !interrupt::must_settle(py) {
        return;
    }
    // Before, as others may raise something meanwhile.
    with(py, |running| running.unsettled = false);
    let settled = stopped(py).and_then(|class| Ok(interrupt::settle(class, spin(py)?)));
    if !settled.unwrap_or(false) {
        // The watcher tries again when it next wakes.
        with(py, |running| running.unsettled = true);
    }
}

/// Does that if it was left to the watcher.
fn settle_rest(py: Python<'_>) {
    if with(py, |running| running.unsettled) {
        settle(py);
    }
}

/// Abandons it, unless it has ended meanwhile.
pub(crate) fn abandon(py: Python<'_>, id: u64) -> Option<Stop> {
    with(py, |running| running.calls.abandon(id, Instant::now()))
}

/// Stops it. False if it has ended.
pub(crate) fn cancel(py: Python<'_>, id: u64) -> PyResult<bool> {
    // Imported before anything is decided.
    let class = stopped(py)?;
    let cancel = with(py, |running| {
        let cancel = running.calls.cancel(id, Instant::now());
        running.watch.look_by(running.calls.next());
        cancel
    });
    if cancel == Some(Cancel::Interrupt) {
        raise(py, id, class);
        with(py, |running| {
            // Not here: one may wait for this very thread.
            if running.unsettled {
                running.watch.look_by(Some(Instant::now()));
            }
        });
    }
    Ok(cancel.is_some())
}

fn stopped(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    CLASS.import(py, "plait._worker.stopping", "Stopped")
}

fn spin(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static SPIN: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    SPIN.import(py, "plait._worker.stopping", "spin")
}

/// Raises the exception in the thread of `id`, unless it has ended meanwhile.
fn raise(py: Python<'_>, id: u64, class: &Bound<'_, PyType>) {
    let Some(thread) = with(py, |running| running.calls.subject(id).map(|subject| subject.thread)) else {
        return;
    };
    // Where that cannot be told, for want of memory say, it is not waited for.
    let imports = imports(py, thread).unwrap_or(false);
    with(py, |running| {
        // Python code has run: only what is still to be stopped is.
        if !running.calls.is_stopping(id) {
            return;
        }
        if imports {
            running.calls.postpone(id, Instant::now(), IMPORT_PAUSE);
            running.watch.look_by(running.calls.next());
        } else {
            interrupt::raise_in(py, thread, Some(class));
            running.unsettled = interrupt::must_settle(py);
        }
    });
}

/// Whether that thread is importing a module: half of one would be left behind,
/// for others to trip over.
fn imports(py: Python<'_>, thread: u64) -> PyResult<bool> {
    let frames = py.import(intern!(py, "sys"))?.call_method0(intern!(py, "_current_frames"))?;
    match frames.cast::<PyDict>()?.get_item(thread)? {
        Some(frame) => crate::worker::imports(frame),
        None => Ok(false),
    }
}

/// Whether the caller is to start the thread that calls `watch_calls`.
#[pyfunction]
fn claim_watch(py: Python<'_>) -> PyResult<bool> {
    // Looked up here, not by the thread: a process that is forked in the middle
    // of that would wait for ever for its end.
    stopped(py)?;
    spin(py)?;
    interrupt::must_settle(py);
    let watch = with(py, |running| Arc::clone(&running.watch));
    let mut rest = watch.rest();
    Ok(!rest.stopped && !std::mem::replace(&mut rest.claimed, true))
}

/// That thread could not be started.
#[pyfunction]
fn disclaim_watch(py: Python<'_>) {
    with(py, |running| running.watch.rest().claimed = false);
}

/// Call, number of its thread, and the thread.
type Due = (Py<ThreadCall>, u64, Py<PyAny>);

/// Waits until something is due, for so many seconds at most, and interrupts
/// what is to be interrupted. Returns the calls that are to be abandoned; None
/// once `stop_watch` was called.
#[pyfunction]
fn watch_calls(py: Python<'_>, seconds: Option<f64>) -> PyResult<Option<Vec<Due>>> {
    let class = stopped(py)?;
    let watch = with(py, |running| Arc::clone(&running.watch));
    let limit = seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
    watch.look_by(limit.map(|limit| Instant::now() + limit));
    if !py.detach(|| watch.sleep()) {
        settle_rest(py);
        return Ok(None);
    }
    let mut abandoned = Vec::new();
    loop {
        let due = with(py, |running| {
            let (id, act) = running.calls.due(Instant::now())?;
            let Subject { call, thread, member } = running.calls.subject(id)?;
            Some((id, act, (call.clone_ref(py), *thread, member.clone_ref(py))))
        });
        let Some((id, act, due)) = due else { break };
        raise(py, id, class);
        if act == Act::Abandon {
            abandoned.push(due);
        }
    }
    settle_rest(py);
    with(py, |running| running.watch.look_by(running.calls.next()));
    Ok(Some(abandoned))
}

/// Ends `watch_calls`, for good.
#[pyfunction]
fn stop_watch(py: Python<'_>) {
    let watch = with(py, |running| Arc::clone(&running.watch));
    watch.rest().stopped = true;
    watch.woken.notify_all();
}

/// In a forked child: what ran, ran in the parent, whose watcher may have had
/// the lock.
pub(crate) fn forget(py: Python<'_>) {
    with(py, |running| {
        running.calls.forget();
        mem::forget(mem::take(&mut running.watch));
    });
    settle_rest(py);
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(claim_watch, module)?)?;
    module.add_function(wrap_pyfunction!(disclaim_watch, module)?)?;
    module.add_function(wrap_pyfunction!(watch_calls, module)?)?;
    module.add_function(wrap_pyfunction!(stop_watch, module)?)
}
