//! One Future for every engine.
//!
//! A future is complete before Python hears of it: whoever ends the task
//! stores the outcome in its [`Fate`] and wakes the sleepers, with or without
//! the interpreter. What is left needs Python (callbacks, coroutines that
//! await, `concurrent.futures.wait`): the [`Waker`]s that ending the task
//! handed out. [`wake`] gives them to the notifier's thread, [`wake_here`]
//! runs them at once.
//!
//! Who owns what, for the garbage collector: a [`Future`] owns its fate as
//! long as nobody else holds it. While an engine holds it too (the task is
//! queued or runs), the callbacks must survive although nothing in Python may
//! refer to the future any more; so the future visits its fate only where it
//! is the last owner. The number of owners cannot grow from one while the
//! collector counts references, since only attached threads reach the future.

mod asking;
mod class;
mod engine;
mod face;
mod failures;
mod fate;
pub(crate) mod notifier;
mod outcome;
#[cfg(debug_assertions)]
mod probe;
mod standard;
mod timeout;
mod waker;
mod wrapped;

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

pub(crate) use class::Future;
pub(crate) use engine::{Awaited, Cancelled, Engine};
pub(crate) use failures::PoolNumber;
pub(crate) use fate::Fate;
pub(crate) use notifier::{notify, notify_apart};
pub(crate) use outcome::{Decoded, Encoded, Outcome};
pub(crate) use waker::{Waker, deliver, wake, wake_here};

use crate::fork::Home;
use crate::hot::{finalize, instance, site, task_sites, watched};

/// A future for a task of an engine of this process, and its fate.
pub(crate) fn new_future(py: Python<'_>) -> PyResult<(Py<Future>, Arc<Fate>)> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let class = CLASS.import(py, "plait._future", "Future")?;
    let future = instance::make(class)?.cast_into::<Future>()?;
    future.get().live_in(Home::here());
    let fate = Arc::clone(future.get().fate());
    Ok((future.unbind(), fate))
}

/// Lets go of a fate. Needs no interpreter; as for [`wake`], [`notifier::start`]
/// has been called before.
///
/// Who waited may have been faster: it has its object and has dropped the
/// future, so that the object goes with the last hold of the fate, this one.
/// Dropped without the interpreter it would stay until some later call of ours,
/// with all the memory that it has.
pub(crate) fn let_go(fate: Arc<Fate>) {
    if let Some(mut fate) = Arc::into_inner(fate)
        && fate.outcome_mut().is_some_and(Outcome::is_python)
    {
        notify(move |_| drop(fate));
    }
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Future>()?;
    finalize::register(module)?;
    failures::register(module)?;
    site::register(module)?;
    task_sites::register(module)?;
    watched::register(module)?;
    #[cfg(debug_assertions)]
    probe::register(module)?;
    notifier::register(module)
}
