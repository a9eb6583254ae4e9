//! Where threads without the interpreter put who is to be woken.
//!
//! A coroutine that awaits a task of the process pool waits for a future of
//! its loop. Whoever ends the task drops that future in here and rings the
//! loop's bell; the next turn sets it, and the coroutine goes on in that same
//! turn. On the other way, over the notifier's thread and
//! `call_soon_threadsafe`, two threads take the interpreter in turns and the
//! loop turns twice.
//!
//! | race | why it is harmless |
//! |---|---|
//! | a letter comes just before the loop lies down | the loop lies down, then looks in here, under the lock; the other side drops the letter, under the lock, then rings: one of them sees the other |
//! | a letter comes while the loop closes | both under the lock: what came before goes with the loop, what comes later is given back |
//! | a fork while another thread holds the lock | the child takes no lock of the parent's: it gives the letter back, and makes a letterbox of its own when it needs one |

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use plait_loop::poller::Poller;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use super::core::{Loop, keep_first};
use super::waiter;
use crate::fork::Home;
use crate::future::Future;
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

/// See the head of the module.
pub(crate) struct Letterbox {
    letters: Mutex<Letters>,
    /// Whether a look is worth the lock, for a loop that is awake.
    filled: AtomicBool,
    poller: Arc<Poller>,
    home: Home,
}

impl Letterbox {
    fn new(poller: Arc<Poller>) -> Self {
        let letters = Letters { unread: Vec::new(), closed: false };
        Self { letters: Mutex::new(letters), filled: AtomicBool::new(false), poller, home: Home::here() }
    }

    /// Has the loop do what `letter` says. Needs no interpreter.
    ///
    /// # Errors
    /// Gives it back if the loop is closed, or belongs to the parent of this
    /// process.
    pub(crate) fn post(&self, letter: Letter) -> Result<(), Letter> {
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
        // In use by somebody, or by nobody who is left: a letter that is not
        // visited is kept.
        let Ok(letters) = self.letters.try_lock() else { return Ok(()) };
        letters.unread.iter().try_for_each(|letter| letter.traverse(visit))
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
