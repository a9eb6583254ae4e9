//! The notifier: one Python thread that runs what native threads must not.
//!
//! A thread without the interpreter (the process pool's supervisor) that has
//! ended a task hands the wakers over here. Such a thread never attaches:
//! while the interpreter shuts down, attaching would hang or kill it.
//!
//! The Python side (`plait._notifier`) starts the thread, whose outer loop it
//! is, joins it at exit and calls [`abandon`] in a forked child.
//!
//! | race | why it is harmless |
//! |---|---|
//! | `send` against `stop` | both under the lock of the inbox; what came before is delivered, what comes later waits for a `flush` |
//! | `flush` against the end of the thread | a mark that was queued is delivered like everything else before the thread ends; once it has stopped, `flush` delivers itself |
//! | two `flush` at once after the end | each entry is taken by one of them; an entry of the other may still be under way when one returns |
//! | a fork while a native thread holds the lock | the child never touches that lock again: it goes on with a new queue |

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use plait_pool::completion::{Completion, Waited};
use plait_sys::clock::Instant;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::failures::Failures;
use super::waker::{Waker, report, wake_here};
use crate::error::Error;
use crate::sync::lock;

/// How long a result is held back for what its task has logged. A handler may
/// need a lock that whoever asks for the result holds, or be slow.
const PATIENCE: Duration = Duration::from_millis(250);
/// So many processes are remembered.
const MANY_WRITERS: usize = 1024;

type Call = Box<dyn FnOnce(Python<'_>) + Send>;

enum Entry {
    Waker(Waker),
    /// Something else to be done there.
    Call(Call),
    /// Everything queued before it has been delivered.
    Mark(Arc<Completion<(), Infallible>>),
}

enum Service {
    /// No thread yet: what comes in waits for it.
    None,
    /// A thread delivers.
    Running(Option<ThreadId>),
    /// The thread ends, or has ended, for good.
    Stopped,
}

struct Inbox {
    entries: Vec<Entry>,
    /// What is to be done there later, by the time; dropped at the end.
    later: VecDeque<(Instant, Call)>,
    service: Service,
    sleeping: bool,
}

struct Queue {
    inbox: Mutex<Inbox>,
    arrived: Condvar,
    /// By process: the number of the last thing that it has said and that has
    /// been dealt with here.
    heard: Mutex<BTreeMap<u32, u32>>,
    heard_more: Condvar,
    /// The queue of a forked child; see [`abandon`].
    successor: OnceLock<Box<Queue>>,
    failures: Failures,
}

static FIRST: Queue = Queue::new();

impl Queue {
    const fn new() -> Self {
        Self {
            inbox: Mutex::new(Inbox {
                entries: Vec::new(),
                later: VecDeque::new(),
                service: Service::None,
                sleeping: false,
            }),
            arrived: Condvar::new(),
            heard: Mutex::new(BTreeMap::new()),
            heard_more: Condvar::new(),
            successor: OnceLock::new(),
            failures: Failures::new(),
        }
    }

    /// The queue of this process: as many steps as it is forks deep.
    fn current() -> &'static Self {
        let mut queue = &FIRST;
        while let Some(next) = queue.successor.get() {
            queue = next;
        }
        queue
    }

    fn push(&self, entries: impl IntoIterator<Item = Entry>) {
        let mut inbox = lock(&self.inbox);
        inbox.entries.extend(entries);
        let wake = mem::take(&mut inbox.sleeping);
        drop(inbox);
        if wake {
            self.arrived.notify_one();
        }
    }

    /// Everything queued; waits for it. `None` once the service has stopped
    /// and nothing is left.
    fn take(&self) -> Option<Vec<Entry>> {
        let mut inbox = lock(&self.inbox);
        loop {
            if !inbox.entries.is_empty() {
                return Some(mem::take(&mut inbox.entries));
            }
            if matches!(inbox.service, Service::Stopped) {
                return None;
            }
            let left = inbox.later.front().map(|(due, _)| due.saturating_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return inbox.later.pop_front().map(|(_, call)| vec![Entry::Call(call)]);
            }
            inbox.sleeping = true;
            inbox = match left {
                None => self.arrived.wait(inbox).unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    self.arrived.wait_timeout(inbox, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// Hands wakers over. Needs no interpreter, and never runs Python code.
pub(super) fn send(wakers: Vec<Waker>) {
    if !wakers.is_empty() {
        Queue::current().push(wakers.into_iter().map(Entry::Waker));
    }
}

/// Has the notifier's thread do something, in its turn. Needs no interpreter,
/// and never runs Python code here.
pub(crate) fn notify(call: impl FnOnce(Python<'_>) + Send + 'static) {
    Queue::current().push([Entry::Call(Box::new(call))]);
}

/// As [`notify`], for whoever may be inside of anything, such as a finaliser.
/// What cannot be done there, because there is no such thread any more or can
/// be none, is done here.
pub(crate) fn notify_apart(py: Python<'_>, call: impl FnOnce(Python<'_>) + Send + 'static) {
    if let Err(error) = start(py)
        && !error.is_instance_of::<PyException>(py)
    {
        // Ctrl-C: here it can go nowhere.
        error.write_unraisable(py, None);
    }
    let queue = Queue::current();
    if matches!(lock(&queue.inbox).service, Service::Running(_)) {
        queue.push([Entry::Call(Box::new(call))]);
    } else {
        call(py);
    }
}

/// Has the notifier's thread do something after some time, behind all that was
/// to be done by then.
///
/// # Errors
/// No thread can be started.
pub(super) fn notify_later(
    py: Python<'_>,
    time: Duration,
    call: impl FnOnce(Python<'_>) + Send + 'static,
) -> PyResult<()> {
    start(py)?;
    let queue = Queue::current();
    let due = Instant::now() + time;
    let mut inbox = lock(&queue.inbox);
    let place = inbox.later.partition_point(|(other, _)| *other <= due);
    inbox.later.insert(place, (due, Box::new(call)));
    let wake = mem::take(&mut inbox.sleeping);
    drop(inbox);
    if wake {
        queue.arrived.notify_one();
    }
    Ok(())
}

/// The futures of this process that have failed.
pub(super) fn failures() -> &'static Failures {
    &Queue::current().failures
}

/// What `writer` has said up to `number` has been dealt with.
pub(crate) fn note_heard(writer: u32, number: u32) {
    let queue = Queue::current();
    let mut heard = lock(&queue.heard);
    if heard.len() >= MANY_WRITERS {
        // Those that are still asked after are there again soon.
        heard.clear();
    }
    heard.insert(writer, number);
    drop(heard);
    queue.heard_more.notify_all();
}

/// Waits until what `writer` has said up to `number` has been dealt with, but
/// no longer than [`PATIENCE`]. Returns at once in the notifier's own thread,
/// and where nothing will be dealt with any more.
pub(crate) fn await_heard(py: Python<'_>, writer: u32, number: u32) {
    let queue = Queue::current();
    let serves = match lock(&queue.inbox).service {
        Service::Running(id) => id.is_none_or(|id| id != thread::current().id()),
        Service::None | Service::Stopped => false,
    };
    // Numbers go round.
    let is_behind = |heard: &mut BTreeMap<u32, u32>| {
        heard.get(&writer).is_none_or(|&last| number.wrapping_sub(last).wrapping_sub(1) < u32::MAX / 2)
    };
    if !serves || !is_behind(&mut lock(&queue.heard)) {
        return;
    }
    py.detach(|| {
        let heard = lock(&queue.heard);
        drop(queue.heard_more.wait_timeout_while(heard, PATIENCE, is_behind));
    });
}

/// Makes sure that the notifier's thread runs. To be called, attached, before
/// a thread that is not attached ends futures with [`wake`](super::wake).
pub(crate) fn start(py: Python<'_>) -> PyResult<()> {
    static START: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    if matches!(lock(&Queue::current().inbox).service, Service::Running(_)) {
        return Ok(());
    }
    START.import(py, "plait._notifier", "start")?.call0().map(drop)
}

/// Waits until everything handed over so far has been delivered. A pool's
/// `shutdown(wait=True)` ends with it. In the notifier's own thread (in a
/// callback) it does nothing: what is under way there cannot be waited for.
///
/// # Errors
/// What a signal handler raised in the waiting thread.
pub(crate) fn flush(py: Python<'_>) -> PyResult<()> {
    let queue = Queue::current();
    let mut inbox = lock(&queue.inbox);
    if !matches!(inbox.service, Service::Running(_)) {
        let entries = mem::take(&mut inbox.entries);
        drop(inbox);
        deliver(py, entries);
        return Ok(());
    }
    if matches!(inbox.service, Service::Running(Some(id)) if id == thread::current().id()) {
        return Ok(());
    }
    drop(inbox);
    let mark = Arc::new(Completion::new());
    queue.push([Entry::Mark(Arc::clone(&mark))]);
    loop {
        match py.detach(|| mark.wait(None)).map_err(Error::from)? {
            Waited::Interrupted => py.check_signals()?,
            Waited::Done | Waited::TimedOut => return Ok(()),
        }
    }
}

/// Leaves the parent's queue behind, in a forked child: its lock may be held
/// by a thread that does not exist here.
pub(crate) fn abandon() {
    // Cannot fail: the child has one thread.
    let _ = Queue::current().successor.set(Box::new(Queue::new()));
}

fn deliver(py: Python<'_>, entries: Vec<Entry>) {
    for entry in entries {
        match entry {
            Entry::Waker(waker) => wake_here(py, vec![waker]),
            Entry::Call(call) => call(py),
            Entry::Mark(mark) => {
                // Nobody else ends a mark, and it has no wakers.
                let _ = mark.finish(());
            }
        }
    }
}

/// Delivers what is queued, waiting for it if there is nothing. False once
/// the notifier has been stopped and everything is delivered.
#[pyfunction]
fn notifier_serve(py: Python<'_>) -> bool {
    let queue = Queue::current();
    let entries = {
        let mut inbox = lock(&queue.inbox);
        if let Service::Running(id) = &mut inbox.service {
            *id = Some(thread::current().id());
        }
        mem::take(&mut inbox.entries)
    };
    // Only a wait that may block is worth letting go of the interpreter.
    let entries = if entries.is_empty() { py.detach(|| queue.take()) } else { Some(entries) };
    match entries {
        Some(entries) => {
            deliver(py, entries);
            true
        }
        None => false,
    }
}

/// Says that a thread will serve from now on. False if one does already, or
/// none may any more.
#[pyfunction]
fn notifier_open() -> bool {
    let mut inbox = lock(&Queue::current().inbox);
    let open = matches!(inbox.service, Service::None);
    if open {
        inbox.service = Service::Running(None);
    }
    open
}

/// Takes [`notifier_open`] back: the thread will not serve.
#[pyfunction]
fn notifier_reopen() {
    let mut inbox = lock(&Queue::current().inbox);
    if matches!(inbox.service, Service::Running(_)) {
        inbox.service = Service::None;
    }
}

/// Ends the service, once what is queued has been delivered.
#[pyfunction]
fn notifier_stop() {
    let queue = Queue::current();
    lock(&queue.inbox).service = Service::Stopped;
    queue.arrived.notify_all();
}

/// Calls `callback` with `argument` in the notifier's thread. What it raises is
/// logged.
#[pyfunction]
fn notifier_call(py: Python<'_>, callback: Py<PyAny>, argument: Py<PyAny>) -> PyResult<()> {
    notify(move |py| {
        if let Err(error) = callback.call1(py, (argument,)) {
            report(py, "exception in a callback", (), error);
        }
    });
    start(py)
}

/// Waits until everything handed to the notifier so far has been delivered.
#[pyfunction]
fn notifier_flush(py: Python<'_>) -> PyResult<()> {
    flush(py)
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(notifier_serve, module)?)?;
    module.add_function(wrap_pyfunction!(notifier_open, module)?)?;
    module.add_function(wrap_pyfunction!(notifier_reopen, module)?)?;
    module.add_function(wrap_pyfunction!(notifier_stop, module)?)?;
    module.add_function(wrap_pyfunction!(notifier_call, module)?)?;
    module.add_function(wrap_pyfunction!(notifier_flush, module)?)?;
    Ok(())
}
