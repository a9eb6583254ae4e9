//! The coroutines that a worker runs at once: those of `plait._worker.together`.

use std::collections::BTreeMap;
use std::os::fd::RawFd;
use std::sync::atomic::Ordering::Relaxed;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyTuple;

use super::Worker;
use crate::packer::Packer;

/// What the answer to a task takes when its coroutine has ended.
pub(super) struct Started<'py> {
    pub(super) retry_on: Bound<'py, PyTuple>,
    pub(super) packer: Bound<'py, Packer>,
    /// The last log record before it began.
    pub(super) said: u32,
    /// Whether it has something of the arena.
    pub(super) has_pieces: bool,
}

/// A coroutine that has ended.
#[derive(FromPyObject)]
pub(super) struct Ended<'py> {
    #[pyo3(item(0))]
    pub(super) task: u64,
    /// Whether it has returned the value; if not, it has raised it.
    #[pyo3(item(1))]
    pub(super) well: bool,
    #[pyo3(item(2))]
    pub(super) value: Bound<'py, PyAny>,
    /// What it has written, if that is kept.
    #[pyo3(item(3))]
    pub(super) output: Option<Vec<u8>>,
}

pub(super) struct Together<'py> {
    /// What runs them, once there was one.
    loops: Option<Bound<'py, PyAny>>,
    doorbell: RawFd,
    running: BTreeMap<u64, Started<'py>>,
}

impl<'py> Together<'py> {
    pub(super) fn new(doorbell: RawFd) -> Self {
        Self { loops: None, doorbell, running: BTreeMap::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Has a coroutine run, which `task` has come to.
    pub(super) fn start(
        &mut self,
        py: Python<'py>,
        worker: &Worker,
        task: u64,
        coroutine: &Bound<'py, PyAny>,
        started: Started<'py>,
    ) -> PyResult<()> {
        let loops = match &self.loops {
            Some(loops) => loops.clone(),
            None => {
                let loops = module(py)?.call_method1(intern!(py, "start"), (self.doorbell,))?;
                worker.loops.store(true, Relaxed);
                self.loops.insert(loops).clone()
            }
        };
        loops.call_method1(intern!(py, "start"), (task, coroutine))?;
        self.running.insert(task, started);
        Ok(())
    }

    /// Turns the loop: until something ends or there is something to do for
    /// the worker, if it `may_sleep`.
    pub(super) fn turn(
        &mut self,
        py: Python<'py>,
        worker: &Worker,
        may_sleep: bool,
        begins_more: bool,
    ) -> PyResult<Vec<Ended<'py>>> {
        let Some(loops) = self.loops.clone() else { return Ok(Vec::new()) };
        // Let go of the link before Python code runs: the handler of a signal takes it.
        let stops = worker.link().take_stops();
        for task in stops {
            loops.call_method1(intern!(py, "stop"), (task,))?;
        }
        let sleeps = may_sleep && worker.link().announce_sleep(begins_more);
        let ended = loops.call_method1(intern!(py, "turn"), (sleeps,));
        if sleeps {
            worker.link().retract_sleep();
        }
        ended?.extract()
    }

    /// What the answer to `task` takes, which has ended.
    pub(super) fn end(&mut self, task: u64) -> Option<Started<'py>> {
        self.running.remove(&task)
    }
}

/// Imported by the first coroutine, before the handler of a signal asks: an
/// import takes the builtins of whatever frame was interrupted, and that of a
/// named tuple has none.
fn module(py: Python<'_>) -> PyResult<&Bound<'_, PyModule>> {
    static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let import = || py.import(intern!(py, "plait._worker.together")).map(Bound::unbind);
    Ok(MODULE.get_or_try_init(py, import)?.bind(py))
}

/// The task whose coroutine has the thread at this moment, or 0.
pub(super) fn stepping(py: Python<'_>) -> PyResult<u64> {
    module(py)?.call_method0(intern!(py, "stepping"))?.extract()
}

/// The task, which is in the middle of a step, is told to stop. False: it has
/// been told before.
pub(super) fn tell(py: Python<'_>, task: u64) -> PyResult<bool> {
    module(py)?.call_method1(intern!(py, "tell"), (task,))?.extract()
}
