//! The share of its time for which a thread holds the interpreter lock, and
//! what it waits on.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use plait_pool::sampling::{Counted, Sampler, Whom};
use plait_sys::waiting;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::{Error, Result};
use crate::hot::interpreter_lock::{InterpreterLock, own_state};
use crate::sync::lock;

type Own = Sampler<InterpreterLock>;

/// Samples, those in which the lock was held, and the waits by what on.
type Seen = (u32, u32, HashMap<&'static str, u32>);

/// All that are alive, for who forks. Used under the interpreter lock only, so
/// a fork never finds it locked.
static ALL: Mutex<Vec<Weak<Own>>> = Mutex::new(Vec::new());

/// Watches one thread at a time from a thread of its own, which never takes
/// the interpreter lock.
#[pyclass(frozen, module = "plait._native")]
struct LockSampler(Arc<Own>);

#[pymethods]
impl LockSampler {
    #[new]
    #[pyo3(signature = (period = 0.0002, *, steady = false))]
    fn new(py: Python<'_>, period: f64, steady: bool) -> PyResult<Self> {
        let length = Duration::try_from_secs_f64(period).ok().filter(|length| !length.is_zero());
        let period = length.ok_or_else(|| {
            PyValueError::new_err(format!("period is to be a positive number of seconds, not {period}"))
        })?;
        let found = InterpreterLock::get(py)?.map_err(Error::from)?;
        mind_forks(py)?;
        let sampler = Arc::new(Sampler::new(Arc::new(found), period, steady));
        let mut all = lock(&ALL);
        all.retain(|other| other.strong_count() > 0);
        all.push(Arc::downgrade(&sampler));
        Ok(Self(sampler))
    }

    /// Watches the calling thread; false if one is watched already.
    fn begin(&self, py: Python<'_>) -> PyResult<bool> {
        let whom = Whom { tid: waiting::own_number(), state: own_state(py), core: waiting::own_core() };
        Ok(self.0.begin(whom).map_err(Error::from)?)
    }

    /// What this watch has seen so far, as `end` tells it.
    fn so_far(&self) -> PyResult<Seen> {
        self.0.so_far().map(seen).ok_or_else(nobody)
    }

    /// How often the watched thread was seen to let go of the lock so far, and
    /// in how many seconds of close looks; none where nobody is watched.
    fn released(&self) -> (u32, f64) {
        let seconds = |nanos: u32| Duration::from_nanos(nanos.into()).as_secs_f64();
        self.0.so_far().map_or((0, 0.0), |counted| (counted.released, seconds(counted.closely)))
    }

    fn end(&self) -> PyResult<Seen> {
        match self.0.end() {
            Some(counted) => Ok(seen(counted)),
            // It was begun in the process that this one was forked off.
            None if self.0.take_lost() => Ok((0, 0, HashMap::new())),
            None => Err(nobody()),
        }
    }
}

fn seen(counted: Counted) -> Seen {
    (counted.samples, counted.held, counted.waits.into_iter().collect())
}

fn nobody() -> PyErr {
    PyRuntimeError::new_err("no thread is watched: call begin() first")
}

/// A child has none of our threads; and from 3.12 on CPython warns who forks a
/// process that has several.
fn mind_forks(py: Python<'_>) -> PyResult<()> {
    static MINDED: AtomicBool = AtomicBool::new(false);
    // Relaxed: changed only by who holds the interpreter lock.
    if !MINDED.swap(true, Relaxed) {
        let hooks = PyDict::new(py);
        hooks.set_item("before", wrap_pyfunction!(before_fork, py)?)?;
        hooks.set_item("after_in_parent", wrap_pyfunction!(after_fork_in_parent, py)?)?;
        hooks.set_item("after_in_child", wrap_pyfunction!(after_fork_in_child, py)?)?;
        py.import("os")?.call_method("register_at_fork", (), Some(&hooks))?;
    }
    Ok(())
}

fn alive() -> Vec<Arc<Own>> {
    lock(&ALL).iter().filter_map(Weak::upgrade).collect()
}

/// Ends the threads of all samplers; they make others when they need them.
#[pyfunction]
fn before_fork() {
    alive().iter().for_each(|sampler| sampler.rest());
}

#[pyfunction]
fn after_fork_in_parent() -> Result<()> {
    alive().iter().try_for_each(|sampler| sampler.resume()).map_err(Error::from)
}

/// Another thread may have begun a watch between that and the fork.
#[pyfunction]
fn after_fork_in_child() {
    alive().iter().for_each(|sampler| sampler.forked());
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<LockSampler>()
}
