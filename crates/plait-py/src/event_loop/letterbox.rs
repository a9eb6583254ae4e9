//! Where threads without the interpreter put who is to be woken.
//!
//! A coroutine that awaits a task of the process pool waits for a future of
//! its loop. Whoever ends the task drops that future in here and rings the
//! loop's bell; the next turn sets it, and the coroutine goes on in that same
//! turn. On the other way, over the notifier's thread and
//! `call_soon_threadsafe`, two threads take the interpreter in turns and the
//! loop turns twice.
//!
//! Before it sleeps, a loop that expects letters looks for them for about 20 µs
//! where the last wait for one was short, and helps the pool of processes that
//! has the task: what the workers say is then read by the loop's own thread.
//! While it looks nobody rings; a call from another thread waits for the end of
//! the look.
//!
//! | race | why it is harmless |
//! |---|---|
//! | a letter comes just before the loop lies down | the loop lies down, then looks in here, under the lock; the other side drops the letter, under the lock, then rings: one of them sees the other |
//! | a letter comes while the loop closes | both under the lock: what came before goes with the loop, what comes later is given back |
//! | a fork while another thread holds the lock | the child takes no lock of the parent's: it gives the letter back, and makes a letterbox of its own when it needs one |

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, Weak};

use plait_loop::poller::Poller;
use plait_pool::completion::State;
use plait_shm::{LOOK, Sight, Spin};
use plait_sys::clock::Instant;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use super::core::{Loop, keep_first};
use super::poll::Wait;
use super::waiter;
use crate::fork::Home;
use crate::future::{Awaited, Engine, Fate, Future};
use crate::handover;
use crate::sync::lock;

/// What the loop is to do.
pub(crate) enum Letter {
    /// Set this future of its own to None, unless it is done.
    Wake(Py<PyAny>),
    /// Give this future of its own the outcome of `source`, unless it is done.
    Copy { source: Py<Future>, target: Py<PyAny> },
}

impl Letter {
    /// The loop's future.
    pub(crate) fn target(&self) -> &Py<PyAny> {
        match self {
            Self::Wake(target) | Self::Copy { target, .. } => target,
        }
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Self::Copy { source, .. } = self {
            visit.call(source)?;
        }
        visit.call(self.target())
    }

    /// Does it, in the loop's thread.
    pub(crate) fn open(&self, py: Python<'_>) -> PyResult<()> {
        match self {
            Self::Wake(waiter) => waiter::wake_unless_done(waiter.bind(py)),
            Self::Copy { source, target } => Future::copy_outcome(source.bind(py), target.bind(py)),
        }
    }
}

struct Letters {
    unread: Vec<Letter>,
    closed: bool,
}

/// The sleep of a loop that expects letters.
pub(super) struct Sleep {
    letterbox: Arc<Letterbox>,
    since: Instant,
}

impl Sleep {
    /// It is over; the next one is preceded by a look if this was short.
    pub(super) fn end(self) {
        lock(&self.letterbox.spin).slept(self.since);
    }
}

/// See the head of the module.
pub(crate) struct Letterbox {
    letters: Mutex<Letters>,
    /// Whether a look is worth the lock, for a loop that is awake.
    filled: AtomicBool,
    poller: Arc<Poller>,
    home: Home,
    /// How many letters are to come.
    expected: AtomicUsize,
    /// The task that somebody began to wait for last.
    awaited: Mutex<Option<Awaited>>,
    /// Whether to look for letters.
    spin: Mutex<Spin>,
}

/// A letter that is to come, and where.
pub(crate) struct Expected {
    letterbox: Arc<Letterbox>,
    letter: Option<Letter>,
}

impl Expected {
    pub(crate) fn new(letterbox: Arc<Letterbox>, letter: Letter, awaited: Awaited) -> Self {
        // Relaxed: a hint.
        letterbox.expected.fetch_add(1, Relaxed);
        *lock(&letterbox.awaited) = Some(awaited);
        Self { letterbox, letter: Some(letter) }
    }

    /// It has come; given back if it cannot be delivered. Needs no interpreter.
    ///
    /// # Errors
    /// The loop is closed, or belongs to the parent of this process.
    pub(crate) fn post(mut self) -> Result<(), Letter> {
        self.letter.take().map_or(Ok(()), |letter| self.letterbox.post(letter))
    }

    pub(crate) fn letter(&self) -> Option<&Letter> {
        self.letter.as_ref()
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.letterbox.expected.fetch_sub(1, Relaxed);
    }
}

impl Letterbox {
    fn new(poller: Arc<Poller>) -> Self {
        let letters = Letters { unread: Vec::new(), closed: false };
        Self {
            letters: Mutex::new(letters),
            filled: AtomicBool::new(false),
            poller,
            home: Home::here(),
            expected: AtomicUsize::new(0),
            awaited: Mutex::new(None),
            spin: Mutex::new(Spin::new()),
        }
    }

    /// Has the loop do what `letter` says. Needs no interpreter.
    ///
    /// # Errors
    /// Gives it back if the loop is closed, or belongs to the parent of this
    /// process.
    fn post(&self, letter: Letter) -> Result<(), Letter> {
        if !self.home.is_here() {
            return Err(letter);
        }
        let mut letters = lock(&self.letters);
        if letters.closed {
            return Err(letter);
        }
        letters.unread.push(letter);
        // Relaxed: a loop that is awake sees it in a turn or two, and one
        // that lies down looks under the lock.
        self.filled.store(true, Relaxed);
        drop(letters);
        // Refused if somebody has closed the descriptor under the loop's
        // hands, which finds out when it sleeps; the letter is in.
        let _ = self.poller.ring();
        Ok(())
    }

    /// Whether there may be letters; for sure if the loop has lain down before.
    fn is_filled(&self, lies_down: bool) -> bool {
        if lies_down { !lock(&self.letters).unread.is_empty() } else { self.filled.load(Relaxed) }
    }

    fn expects(&self) -> bool {
        self.home.is_here() && self.expected.load(Relaxed) > 0
    }

    /// The task that somebody began to wait for last, if it is still there.
    fn awaited(&self) -> (Option<Arc<Fate>>, Option<Arc<dyn Engine>>) {
        lock(&self.awaited).as_ref().map_or((None, None), |awaited| {
            (awaited.fate.upgrade(), awaited.engine.as_ref().and_then(Weak::upgrade))
        })
    }

    /// Looks for letters for a while. Called without the interpreter.
    fn look(&self, fate: Option<&Fate>, engine: Option<&dyn Engine>) {
        handover::released();
        let filled = || self.filled.load(Relaxed);
        // If one is found, the wait was short; else the sleep tells.
        if engine.and_then(|engine| engine.help(&filled, LOOK)).is_none() {
            let see = || match fate {
                _ if filled() => Sight::There,
                Some(fate) if fate.state() == State::Pending => Sight::Coming,
                _ => Sight::Nothing,
            };
            lock(&self.spin).look(handover::when_released(see));
        }
    }

    fn take(&self) -> Vec<Letter> {
        let mut letters = lock(&self.letters);
        self.filled.store(false, Relaxed);
        std::mem::take(&mut letters.unread)
    }

    fn close(&self) {
        let mut letters = lock(&self.letters);
        letters.closed = true;
        let unread = std::mem::take(&mut letters.unread);
        drop(letters);
        drop(unread);
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if !self.home.is_here() {
            // The lock may be held by a thread that is not here: its letters
            // are kept.
            return Ok(());
        }
        // Not `try_lock`: a letter that one pass of a collection sees and the
        // next does not would be taken for garbage. Who holds the lock does
        // not wait for the interpreter.
        lock(&self.letters).unread.iter().try_for_each(|letter| letter.traverse(visit))
    }
}

impl Loop {
    /// The letterbox of this loop; `None` if it is closed, or its parent's.
    pub(crate) fn letterbox(&self, py: Python<'_>) -> Option<Arc<Letterbox>> {
        let poller = self.core(py).poller.clone()?;
        let mut place = self.letterbox.borrow(py);
        match &*place {
            Some(letterbox) if letterbox.home.is_here() => Some(Arc::clone(letterbox)),
            _ => {
                let before = place.replace(Arc::new(Letterbox::new(poller)));
                let letterbox = place.as_ref().map(Arc::clone);
                drop(place);
                // The parent's: its letters are its own, and its lock may be
                // held by a thread that is not here.
                std::mem::forget(before);
                letterbox
            }
        }
    }

    /// Whether somebody is to be woken who waits for a native thread.
    pub(super) fn has_letters(&self, py: Python<'_>, lies_down: bool) -> bool {
        self.letterbox
            .borrow(py)
            .as_ref()
            .is_some_and(|letterbox| letterbox.home.is_here() && letterbox.is_filled(lies_down))
    }

    /// Looks for letters for a moment before the loop sleeps, if that may pay.
    pub(super) fn look_for_letters(&self, py: Python<'_>, wait: Wait) {
        let letterbox = match &*self.letterbox.borrow(py) {
            Some(letterbox) if letterbox.expects() && lock(&letterbox.spin).may_pay() => {
                Arc::clone(letterbox)
            }
            _ => return,
        };
        let mut removed = Vec::new();
        let timeout = self.sleep_time(py, &mut self.core(py), wait, &mut removed);
        for timer in &removed {
            timer.left_heap(py);
        }
        drop(removed);
        if timeout.is_none_or(|timeout| timeout > LOOK) {
            let (fate, engine) = letterbox.awaited();
            py.detach(|| letterbox.look(fate.as_deref(), engine.as_deref()));
        }
    }

    /// A sleep begins: what is to be told of its end.
    pub(super) fn begin_sleep(&self, py: Python<'_>) -> Option<Sleep> {
        match &*self.letterbox.borrow(py) {
            Some(letterbox) if letterbox.expects() => {
                Some(Sleep { letterbox: Arc::clone(letterbox), since: Instant::now() })
            }
            _ => None,
        }
    }

    /// Does what the letters say. Tasks that they wake join the queue of this
    /// turn. All are opened, whatever one of them raises: none comes twice.
    pub(super) fn open_letters(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        if !this.has_letters(py, false) {
            return Ok(());
        }
        let letters = this.letterbox.borrow(py).as_ref().map_or_else(Vec::new, |letterbox| letterbox.take());
        let mut outcome = Ok(());
        for letter in letters {
            if let Err(error) = letter.open(py) {
                let reported = Self::report(slf, error, |context| {
                    context.set_item("message", "Exception in waking who waits for a task")?;
                    context.set_item("future", letter.target())
                });
                outcome = keep_first(py, outcome, reported);
            }
        }
        outcome
    }

    pub(super) fn close_letterbox(&self, py: Python<'_>) {
        let letterbox = self.letterbox.borrow(py).take();
        match letterbox {
            Some(letterbox) if letterbox.home.is_here() => letterbox.close(),
            // As above.
            inherited => std::mem::forget(inherited),
        }
    }
}
