//! The loops of the parent, in a process forked from it.
//!
//! The child shares the parent's epoll: whatever it asked of it would change
//! what the parent waits for. So right after a fork, what the loop had is put
//! aside. Nothing of it runs or reaches the kernel any more, every call finds
//! the loop without its poller and says why, and no other path pays for a
//! check. Closing the loop, or forgetting it, closes the child's descriptors.

use std::collections::VecDeque;
use std::sync::Arc;

use plait_loop::fds::FdTable;
use plait_loop::timers::Timers;
use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::core::{Core, Loop, Owner, Poller, Ready};
use crate::hot::handle::Handle;

/// What the loop had in the parent. The objects live on: dropping them would
/// run the parent's cleanup (of its coroutines, say) in the child.
pub(super) struct Inherited {
    ready: VecDeque<Ready>,
    timers: Timers<Handle>,
    fds: FdTable<Owner>,
    _poller: Arc<Poller>,
    /// The process that made the loop.
    maker: u32,
}

impl Inherited {
    fn of(core: &mut Core, poller: Arc<Poller>, maker: u32) -> Self {
        Self {
            ready: std::mem::take(&mut core.ready),
            timers: std::mem::take(&mut core.timers),
            fds: std::mem::take(&mut core.fds),
            _poller: poller,
            maker,
        }
    }

    /// The error that using the loop raises.
    pub(super) fn error(&self) -> PyErr {
        PyRuntimeError::new_err(format!(
            "this event loop was made in process {} and cannot be used in process {}, which was forked \
             from it: make a new loop here (plait.run(), asyncio.run() or plait.new_event_loop())",
            self.maker,
            std::process::id()
        ))
    }

    pub(super) fn timers(&self) -> impl Iterator<Item = &Handle> {
        self.timers.iter()
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        for item in &self.ready {
            item.traverse(visit)?;
        }
        for timer in self.timers.iter() {
            timer.traverse(visit)?;
        }
        for owner in self.fds.owners() {
            owner.traverse(visit)?;
        }
        Ok(())
    }
}

#[pymethods]
impl Loop {
    /// Puts aside what came along from the parent; `maker` is the process that
    /// made the loop. Runs in the child of a fork, before anything uses it.
    fn _abandon(&self, py: Python<'_>, maker: u32) {
        let mut core = self.core(py);
        let Some(poller) = core.poller.take() else { return };
        let inherited = Inherited::of(&mut core, poller, maker);
        let endpoints: Vec<_> = inherited
            .fds
            .owners()
            .filter_map(|owner| match owner {
                Owner::Transport(endpoint) => Some(endpoint.clone_ref(py)),
                Owner::Watch(_) => None,
            })
            .collect();
        core.inherited = Some(Box::new(inherited));
        drop(core);
        for endpoint in &endpoints {
            endpoint.abandon(py);
        }
    }

    /// Raises the error of a loop that came along from the parent, if it did.
    pub(super) fn _check_inherited(&self, py: Python<'_>) -> PyResult<()> {
        self.core(py).inherited.as_ref().map_or(Ok(()), |inherited| Err(inherited.error()))
    }
}
