//! The loop's state, and the calls that put something into it.

use std::cell::RefMut;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};

use plait_loop::fds::FdTable;
use plait_loop::poller::Poller;
use plait_loop::timers::Timers;
use plait_sys::clock::Instant;
use plait_sys::epoll::Event;
use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::endpoint::Endpoint;
use super::inherited::Inherited;
use super::io_watcher::IoWatcher;
use super::letterbox::Letterbox;
use super::listeners::Watch;
use super::phases::Phases;
use super::transport::Scratch;
use crate::error::Error;
use crate::hot::cell::GilCell;
use crate::hot::handle::Handle;
use crate::hot::spare::Spare;

/// What waits for its turn.
pub(super) enum Ready {
    /// A callback.
    Call(Handle),
    /// A transport whose protocol is to be told of it.
    Begin(Endpoint),
    /// A watcher that has something to tell.
    Watcher(Py<IoWatcher>),
    /// A transport that can read or write.
    Io { endpoint: Endpoint, readable: bool, writable: bool },
    /// A transport whose protocol is to be told of its end.
    End(Endpoint),
}

impl Ready {
    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Call(handle) => handle.traverse(visit),
            Self::Watcher(watcher) => visit.call(watcher),
            Self::Begin(endpoint) | Self::End(endpoint) | Self::Io { endpoint, .. } => {
                endpoint.traverse(visit)
            }
        }
    }
}

/// Who watches a descriptor.
pub(super) enum Owner {
    /// `add_reader` and `add_writer`.
    Watch(Watch),
    /// A transport, which owns the descriptor.
    Transport(Endpoint),
}

impl Owner {
    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Watch(watch) => watch.traverse(visit),
            Self::Transport(endpoint) => endpoint.traverse(visit),
        }
    }

    /// Whether anybody but watchers listens.
    pub(super) fn has_listener(&self) -> bool {
        match self {
            Self::Watch(watch) => watch.has_listener(),
            Self::Transport(_) => true,
        }
    }

    /// It has left the table, whose lock is free: those who listen do so no
    /// more.
    pub(super) fn dismiss(self, py: Python<'_>) {
        if let Self::Watch(watch) = self {
            watch.dismiss(py);
        }
    }
}

/// What changes from turn to turn.
pub(super) struct Core {
    pub(super) ready: VecDeque<Ready>,
    pub(super) timers: Timers<Handle>,
    pub(super) fds: FdTable<Owner>,
    /// How many of the watched descriptors are the loop's own: signals.
    pub(super) inner: usize,
    /// The kernel's tick at the last poll.
    pub(super) polled: Instant,
    pub(super) phases: Phases,
    /// How many watchers are started, and how many of these keep the loop
    /// alive.
    pub(super) watchers: usize,
    pub(super) keeping: usize,
    /// What keeps the loop alive beyond all that is in here; below zero, so
    /// much of what is in here does not.
    pub(super) refs: isize,
    /// None once the loop is closed, and in a process forked from its own.
    pub(super) poller: Option<Arc<Poller>>,
    pub(super) inherited: Option<Box<Inherited>>,
}

impl Core {
    /// Adds something to be run, and wakes the loop should it sleep: that it
    /// was called from another thread costs one load to find out, so nothing
    /// scheduled the wrong way is left lying either.
    pub(super) fn push(&mut self, item: Ready) -> PyResult<()> {
        self.ring_or_gone()?;
        self.ready.push_back(item);
        Ok(())
    }

    /// Wakes the loop should it sleep, for what is added next: it cannot look
    /// before the caller lets go of the lock. Rung first, for what failed must
    /// not happen all the same.
    pub(super) fn ring_or_gone(&self) -> PyResult<()> {
        let Some(poller) = &self.poller else { return Err(self.gone()) };
        Ok(poller.ring().map_err(Error::from)?)
    }

    /// A watcher has started (1) or stopped (-1).
    pub(super) fn count_watcher(&mut self, change: isize, keeps: bool) {
        self.watchers = self.watchers.saturating_add_signed(change);
        if keeps {
            self.keeping = self.keeping.saturating_add_signed(change);
        }
    }

    /// Refuses a loop without its poller.
    pub(super) fn alive_or_gone(&self) -> PyResult<()> {
        if self.poller.is_some() { Ok(()) } else { Err(self.gone()) }
    }

    /// The error that every call on a loop without its poller raises.
    pub(super) fn gone(&self) -> PyErr {
        self.inherited
            .as_ref()
            .map_or_else(|| PyRuntimeError::new_err("Event loop is closed"), |inherited| inherited.error())
    }
}

/// The native half of `plait.EventLoop`.
#[pyclass(frozen, subclass, module = "plait._native")]
pub(crate) struct Loop {
    core: GilCell<Core>,
    /// How many cancelled timers the heap holds.
    dead_timers: AtomicUsize,
    /// See `scheduling`.
    pub(super) runs: AtomicBool,
    /// The version of a class whose `time` is ours, or 0.
    pub(super) clock_version: AtomicU32,
    /// How far `loop.time()` is ahead of the system's clock, as the bits of
    /// seconds: 0 unless somebody has replaced it.
    pub(super) clock_ahead: AtomicU64,
    pub(super) debug: AtomicBool,
    pub(super) stopping: AtomicBool,
    /// Whether a phase of the turn may have callbacks.
    pub(super) phased: AtomicBool,
    /// Reused from wait to wait.
    pub(super) events: GilCell<Vec<Event>>,
    /// Reused from read to read; empty until the first.
    pub(super) read_buffer: GilCell<Vec<u8>>,
    /// What the last message was in, if its protocol did not keep it.
    pub(super) spare: GilCell<Option<Spare>>,
    /// The same for TLS, as an object that a BIO can read from.
    pub(super) tls_buffer: GilCell<Option<Scratch>>,
    /// `{"loop": self}`, what every new future is given; none while the loop
    /// is at rest, which it may be as garbage.
    pub(super) future_options: GilCell<Option<Py<PyDict>>>,
    /// None until somebody waits for a thread without the interpreter.
    pub(super) letterbox: GilCell<Option<Arc<Letterbox>>>,
}

impl Loop {
    pub(super) fn core(&self, py: Python<'_>) -> RefMut<'_, Core> {
        self.core.borrow(py)
    }

    pub(crate) fn debug(&self) -> bool {
        self.debug.load(Relaxed)
    }

    pub(super) fn dead_timers(&self) -> usize {
        self.dead_timers.load(Relaxed)
    }

    /// A timer in the heap was cancelled (1), or a cancelled one has left it
    /// (-1).
    pub(crate) fn count_dead(&self, change: isize) {
        // Relaxed: the interpreter lock orders it.
        self.dead_timers.store(self.dead_timers().saturating_add_signed(change), Relaxed);
    }

    /// Tells the exception handler that something raised, unless it is one of
    /// the two exceptions that end the loop: those are given back.
    pub(super) fn report(
        slf: &Bound<'_, Self>,
        error: PyErr,
        describe: impl FnOnce(&Bound<'_, PyDict>) -> PyResult<()>,
    ) -> PyResult<()> {
        let py = slf.py();
        if is_fatal(py, &error) {
            return Err(error);
        }
        let context = PyDict::new(py);
        context.set_item("exception", error.into_value(py))?;
        describe(&context)?;
        slf.call_method1("call_exception_handler", (context,)).map(drop)
    }
}

/// Whether asyncio lets it through every callback.
pub(super) fn is_fatal(py: Python<'_>, error: &PyErr) -> bool {
    use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
    error.is_instance_of::<PySystemExit>(py) || error.is_instance_of::<PyKeyboardInterrupt>(py)
}

/// The outcome of two things that were done one after the other, the second
/// also if the first failed: only one error can be raised, and the other is
/// told as an unraisable one.
pub(super) fn keep_first(py: Python<'_>, first: PyResult<()>, second: PyResult<()>) -> PyResult<()> {
    match (first, second) {
        (Err(first), Err(second)) => {
            second.write_unraisable(py, None);
            Err(first)
        }
        (first, second) => first.and(second),
    }
}

/// Above what one read brings and what protocols make of it.
const KEPT: usize = 1 << 20;

#[pymethods]
impl Loop {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        plait_sys::allocator::keep_blocks(KEPT);
        Ok(Self {
            core: GilCell::new(Core {
                ready: VecDeque::new(),
                timers: Timers::default(),
                fds: FdTable::default(),
                inner: 0,
                polled: Instant::default(),
                phases: Phases::default(),
                watchers: 0,
                keeping: 0,
                refs: 0,
                poller: Some(Arc::new(Poller::new().map_err(Error::from)?)),
                inherited: None,
            }),
            dead_timers: AtomicUsize::new(0),
            runs: AtomicBool::new(false),
            clock_version: AtomicU32::new(0),
            clock_ahead: AtomicU64::new(0),
            debug: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            phased: AtomicBool::new(false),
            events: GilCell::default(),
            read_buffer: GilCell::default(),
            spare: GilCell::default(),
            tls_buffer: GilCell::default(),
            future_options: GilCell::default(),
            letterbox: GilCell::default(),
        })
    }

    /// The loop's clock, in seconds: `time.monotonic()`.
    #[expect(clippy::unused_self, reason = "a method of the loop for Python")]
    fn time(&self) -> f64 {
        Instant::now().as_secs_f64()
    }

    /// What `set_debug` sets; asyncio's own code reads it too.
    #[getter(_debug)]
    fn debug_mode(&self) -> bool {
        self.debug()
    }

    #[setter(_debug)]
    fn set_debug_mode(&self, enabled: &Bound<'_, PyAny>) -> PyResult<()> {
        self.debug.store(enabled.is_truthy()?, Relaxed);
        Ok(())
    }

    /// Says how many of the watched descriptors are the loop's own.
    fn _set_inner_watches(&self, py: Python<'_>, count: usize) {
        self.core(py).inner = count;
    }

    fn _set_stopping(&self, py: Python<'_>, stopping: bool) -> PyResult<()> {
        self.stopping.store(stopping, SeqCst);
        if let Some(poller) = self.core(py).poller.clone() {
            poller.ring().map_err(Error::from)?;
        }
        Ok(())
    }

    /// Lets go of everything that waits, and of the descriptors.
    fn _close_native(&self, py: Python<'_>) {
        let mut core = self.core(py);
        let ready = std::mem::take(&mut core.ready);
        let timers = core.timers.drain();
        let owners = core.fds.drain();
        let phases = std::mem::take(&mut core.phases);
        let poller = core.poller.take();
        let inherited = core.inherited.take();
        drop(core);
        for timer in timers.iter().chain(inherited.iter().flat_map(|inherited| inherited.timers())) {
            timer.left_heap(py);
        }
        for owner in owners {
            owner.dismiss(py);
        }
        drop((ready, timers, phases, poller, inherited));
        self.close_letterbox(py);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(core) = self.core.visit(&visit) else { return Ok(()) };
        for item in &core.ready {
            item.traverse(&visit)?;
        }
        for timer in core.timers.iter() {
            timer.traverse(&visit)?;
        }
        for owner in core.fds.owners() {
            owner.traverse(&visit)?;
        }
        core.phases.traverse(&visit)?;
        if let Some(letterbox) = self.letterbox.visit(&visit).as_deref().and_then(Option::as_ref) {
            letterbox.traverse(&visit)?;
        }
        core.inherited.as_ref().map_or(Ok(()), |inherited| inherited.traverse(&visit))
    }

    fn __clear__(&self, py: Python<'_>) {
        self._close_native(py);
    }
}
