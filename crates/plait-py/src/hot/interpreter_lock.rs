//! Who holds the interpreter lock, read without taking it.
//!
//! CPython 3.11 to 3.14 keep the lock in one struct (`_gil_runtime_state` of
//! `Include/internal/pycore_gil.h`) that begins alike in all of them:
//!
//! | word | what it is | while we hold the lock |
//! |---|---|---|
//! | 0 | the switch interval in microseconds | as `sys.getswitchinterval()` says |
//! | 1 | the thread state that holds the lock, or held it last | ours |
//! | 2 | an `int`: whether it is taken | 1 |
//! | 3 | how often it changed hands | |
//! | 4... | two conditions, each with its mutex | |
//!
//! So a thread holds the lock if word 1 is its state and word 2 is 1. Both are
//! atomics of CPython's. Reading one after the other can go wrong only where
//! the lock changes hands in between, for some nanoseconds: that is one sample
//! in thousands, not a fact that anything relies on. A thread's state itself
//! is never looked into: it is freed when its thread ends.
//!
//! Where the struct lies is public nowhere, and differs with version and
//! build: in `_PyRuntime`, on 3.11 directly, from 3.12 on in the main
//! interpreter, which is a part of it. That symbol is public, and its symbol
//! table says how large it is: memory of the program's own that stays mapped.
//! So all of it is searched, once, for the three words above, and what is
//! found has to follow the lock: it must not say that we hold it after we let
//! go, must name another thread when that has it, and us when we are back.
//! What does not leave exactly one place is an error: nothing is guessed.
//!
//! Interpreters with locks of their own (3.12 and later) do not import this
//! module: PyO3 refuses them.

use std::sync::Mutex;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::atomic::{AtomicI32, AtomicUsize};

use plait_pool::sampling::Lock;
use plait_sys::symbol::{self, Extent};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::sync::lock;

const WORD: usize = size_of::<usize>();

/// The struct at its largest: four words, and two pairs of a condition and a
/// mutex, which have 48 bytes each (40 on x86-64 for the second).
const BYTES: usize = 4 * WORD + 2 * (48 + 48);

/// So often a place is read that says we hold what we let go: another thread
/// that takes the lock writes one word before the other.
const LOOKS: usize = 100;

/// Why nobody can tell who holds the interpreter lock.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Unreadable {
    /// There is no such symbol, or no size of it.
    #[error("who holds the interpreter lock cannot be read: _PyRuntime was not found in this process")]
    NoRuntime,
    /// The interpreter keeps its lock in another way than those that are known.
    #[error(
        "who holds the interpreter lock cannot be read: this interpreter keeps it where plait does not know"
    )]
    NotFound,
    /// Several places look like it, and behave like it.
    #[error("who holds the interpreter lock cannot be read: {0} places of the interpreter look like it")]
    Ambiguous(usize),
    /// The thread that is to take the lock for a trial could not be made, or
    /// not attach.
    #[error("who holds the interpreter lock cannot be read: no second thread could take it for a trial")]
    NoTrial,
}

/// The interpreter lock of this process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InterpreterLock {
    holder: &'static AtomicUsize,
    taken: &'static AtomicI32,
}

impl InterpreterLock {
    /// Finds it, once in the life of a process and its forks.
    pub(crate) fn get(py: Python<'_>) -> PyResult<Result<Self, Unreadable>> {
        // Not a once cell: the search lets go of the interpreter, another
        // thread may fork meanwhile, and the child would wait for it for ever.
        static FOUND: Mutex<Option<Result<InterpreterLock, Unreadable>>> = Mutex::new(None);
        if let Some(found) = lock(&FOUND).clone() {
            return Ok(found);
        }
        let interval: f64 = py.import("sys")?.call_method0("getswitchinterval")?.extract()?;
        let found = Self::find(py, (interval * 1e6).round() as usize);
        *lock(&FOUND) = Some(found.clone());
        Ok(found)
    }

    fn find(py: Python<'_>, interval: usize) -> Result<Self, Unreadable> {
        let runtime = symbol::find(c"_PyRuntime").ok_or(Unreadable::NoRuntime)?;
        let own = own_state(py);
        let mut places = Self::alike(runtime, interval, own);
        py.detach(|| {
            places.retain(|place| (0..LOOKS).any(|_| !place.held_by(own)));
            // A thread that dies instead of attaching (the interpreter exits)
            // tells as little as one that cannot.
            let trial = std::thread::Builder::new().name("plait-trial".into()).spawn({
                let places = places.clone();
                move || {
                    Python::try_attach(|py| {
                        let state = own_state(py);
                        places.iter().map(|place| place.held_by(state)).collect::<Vec<bool>>()
                    })
                }
            });
            let seen = trial.ok().and_then(|trial| trial.join().ok().flatten()).ok_or(Unreadable::NoTrial)?;
            let mut seen = seen.into_iter();
            places.retain(|_| seen.next().unwrap_or(false));
            Ok(())
        })?;
        places.retain(|place| place.held_by(own));
        match places[..] {
            [place] => Ok(place),
            [] => Err(Unreadable::NotFound),
            _ => Err(Unreadable::Ambiguous(places.len())),
        }
    }

    /// Every place of the runtime that looks like a lock which `own` holds.
    fn alike(runtime: Extent, interval: usize, own: usize) -> Vec<Self> {
        let words = runtime.bytes.saturating_sub(BYTES) / WORD;
        let base = runtime.address as *mut usize;
        (0..words)
            .filter_map(|at| {
                // SAFETY: the first word of `BYTES` within the runtime, which
                // is aligned to words and stays mapped. Other threads may
                // write to it meanwhile, so it is read as atomics.
                let (word, holder, taken) = unsafe {
                    (
                        AtomicUsize::from_ptr(base.add(at)),
                        AtomicUsize::from_ptr(base.add(at + 1)),
                        AtomicI32::from_ptr(base.add(at + 2).cast()),
                    )
                };
                // Relaxed: of what is looked for, this thread wrote all but
                // the interval, which is written by who holds the lock.
                let fits = word.load(Relaxed) == interval && holder.load(Relaxed) == own;
                (fits && taken.load(Relaxed) == 1).then_some(Self { holder, taken })
            })
            .collect()
    }
}

impl Lock for InterpreterLock {
    fn held_by(&self, state: usize) -> bool {
        // Acquire, so that the holder is not read before: at the price of a
        // plain load on x86-64. It pairs with no store that it relies on.
        self.taken.load(Acquire) == 1 && self.holder.load(Relaxed) == state
    }

    fn owns(&self, address: usize) -> bool {
        let base = std::ptr::from_ref(self.holder) as usize - WORD;
        (base..base + BYTES).contains(&address)
    }
}

/// Where the interpreter keeps its state of the calling thread.
pub(crate) fn own_state(_py: Python<'_>) -> usize {
    // SAFETY: attached, so there is one.
    unsafe { ffi::PyThreadState_Get() as usize }
}
