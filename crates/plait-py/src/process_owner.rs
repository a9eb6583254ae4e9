//! Who has a pool of processes, and what they have ended by themselves.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use plait_pool::process::End;
use plait_sys::pid;
use pyo3::prelude::*;

use crate::future::{Fate, PoolNumber, notifier};

pub(crate) struct Owner {
    process: u32,
    pool: PoolNumber,
    /// Whether they have ended what ran: nobody wonders about that.
    terminated: AtomicBool,
}

impl Owner {
    /// Of a new pool of this process.
    pub(crate) fn new() -> Self {
        Self { process: pid::current(), pool: PoolNumber::default(), terminated: AtomicBool::new(false) }
    }

    /// Whether this is their process.
    pub(crate) fn is_here(&self) -> bool {
        pid::current() == self.process
    }

    pub(crate) fn pool(&self) -> PoolNumber {
        self.pool
    }

    /// Notes that they end what runs; before it ends.
    pub(crate) fn note_terminated(&self) {
        // Relaxed: what ends by it is heard of by way of the kernel.
        self.terminated.store(true, Relaxed);
    }

    /// Looks at how a task has ended, before its future does.
    pub(crate) fn look(&self, fate: &Fate, end: &End) {
        if matches!(end, End::Reply(_)) {
            return;
        }
        if self.terminated.load(Relaxed) {
            fate.forgive();
        } else if !matches!(end, End::Broken(_)) {
            import_endings();
        }
    }
}

/// Has the classes of such ends imported: at the interpreter's exit, when some
/// are reported, the modules that they need cannot be any more.
fn import_endings() {
    static BEGUN: AtomicBool = AtomicBool::new(false);
    if !BEGUN.swap(true, Relaxed) {
        notifier::notify(|py| {
            if let Err(error) = py.import("plait._pickling.endings") {
                PyErr::write_unraisable(error, py, None);
            }
        });
    }
}
