//! The loops of the parent, in a process forked from it.
//!
//! The child shares the parent's epoll: whatever it asked of it would change
//! what the parent waits for. So right after a fork, what the loop had is put
//! aside. Nothing of it runs or reaches the kernel any more, every call finds
//! the loop without its poller and says why, and no other path pays for a
//! check. Closing the loop, or forgetting it, closes the child's descriptors.
//!
//! Who goes on with the loop in the child asks for it (`reinit`): then all of
//! that comes back, over an epoll and a bell of the child's own. A connection
//! stays with the parent: two processes that take turns at one stream of bytes
//! would each have pieces of it, and what waited to be written would be
//! written twice. Its protocol in the child hears that it has lost it.

use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::sync::Arc;

use plait_loop::fds::FdTable;
use plait_loop::poller::Poller;
use plait_loop::timers::Timers;
use plait_sys::clock::Instant;
use pyo3::exceptions::{PyConnectionAbortedError, PyRuntimeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::core::{Core, Loop, Owner, Ready};
use super::endpoint::Endpoint;
use super::listeners::{self, Watch};
use crate::error::Error;
use crate::hot::handle::Handle;

/// What the loop had in the parent. The objects live on: dropping them would
/// run the parent's cleanup (of its coroutines, say) in the child.
pub(super) struct Inherited {
    ready: VecDeque<Ready>,
    timers: Timers<Handle>,
    fds: FdTable<Owner>,
    poller: Arc<Poller>,
    /// Transports whose protocols do not know yet that they have lost them.
    open: Vec<Endpoint>,
    /// The process that made the loop.
    maker: u32,
}

impl Inherited {
    fn of(core: &mut Core, poller: Arc<Poller>, maker: u32) -> Self {
        Self {
            ready: std::mem::take(&mut core.ready),
            timers: std::mem::take(&mut core.timers),
            fds: std::mem::take(&mut core.fds),
            poller,
            open: Vec::new(),
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
        self.open.iter().try_for_each(|endpoint| endpoint.traverse(visit))
    }
}

/// What a transport in a forked process, which its parent has, raises and
/// tells its protocol.
pub(super) fn stayed_with_parent() -> PyErr {
    PyConnectionAbortedError::new_err(format!(
        "the connection stayed with the process that process {} was forked from",
        std::process::id()
    ))
}

/// What has left the loop, to be dropped outside of its lock.
enum Dropped {
    Owner(Owner),
    Item(Ready),
}

impl Dropped {
    fn dismiss(self, py: Python<'_>) {
        match self {
            Self::Owner(owner) => owner.dismiss(py),
            Self::Item(item) => drop(item),
        }
    }
}

impl Core {
    /// Who listens to `fd` of the parent's.
    pub(super) fn inherited_watch(&mut self, fd: RawFd) -> Option<&mut Watch> {
        match self.inherited.as_mut()?.fds.get_mut(fd)? {
            Owner::Watch(watch) => Some(watch),
            Owner::Transport(_) => None,
        }
    }

    fn rebuild_here(&mut self, gone: &mut Vec<Dropped>) -> PyResult<()> {
        let poller = self.poller.clone().ok_or_else(|| self.gone())?;
        let mut lost = Vec::new();
        let rebuilt = poller.rebuild(&mut self.fds, &mut lost);
        gone.extend(lost.into_iter().map(Dropped::Owner));
        Ok(rebuilt.map_err(Error::from)?)
    }

    /// Goes on with what came along from the parent.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM: all is as before. ENOSPC and the like for one
    /// descriptor: the others are watched.
    fn adopt(
        &mut self,
        inherited: Box<Inherited>,
        open: &mut Vec<Endpoint>,
        gone: &mut Vec<Dropped>,
    ) -> PyResult<()> {
        let poller = Arc::clone(&inherited.poller);
        if let Err(error) = poller.part() {
            self.inherited = Some(inherited);
            return Err(Error::from(error).into());
        }
        let Inherited { ready, timers, fds, open: endpoints, .. } = *inherited;
        (self.timers, self.fds) = (timers, fds);
        *open = endpoints;
        for item in ready {
            match item {
                // What the kernel told the parent.
                Ready::Io { .. } => gone.push(Dropped::Item(item)),
                item => self.ready.push_back(item),
            }
        }
        self.poller = Some(Arc::clone(&poller));
        self.polled = Instant::default();
        let mut outcome = Ok(());
        for fd in self.fds.start_over() {
            let lost = match listeners::watch_anew(self, &poller, fd) {
                Ok(kept) => !kept,
                Err(error) => {
                    outcome = Err(error.into());
                    true
                }
            };
            if lost {
                gone.extend(poller.remove(&mut self.fds, fd).map_err(Error::from)?.map(Dropped::Owner));
            }
        }
        outcome
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
        let mut endpoints: Vec<_> = inherited
            .fds
            .owners()
            .filter_map(|owner| match owner {
                Owner::Transport(endpoint) => Some(endpoint.clone_ref(py)),
                Owner::Watch(_) => None,
            })
            .collect();
        core.inherited = Some(Box::new(inherited));
        drop(core);
        endpoints.retain(|endpoint| endpoint.abandon(py));
        let mut core = self.core(py);
        if let Some(inherited) = &mut core.inherited {
            inherited.open = endpoints;
        }
    }

    /// Makes the loop this process's own, after a fork; otherwise has the
    /// kernel watch anew what the loop knows of. `runs` if the fork was in the
    /// thread that runs it: another thread's run is the parent's alone.
    fn _reinit(&self, py: Python<'_>, runs: bool) -> PyResult<()> {
        let mut gone = Vec::new();
        let mut open = Vec::new();
        let outcome = {
            let mut core = self.core(py);
            let core = &mut *core;
            match core.inherited.take() {
                Some(inherited) => core.adopt(inherited, &mut open, &mut gone),
                None => core.rebuild_here(&mut gone),
            }
        };
        for item in gone {
            item.dismiss(py);
        }
        if !runs {
            self.set_runs(py, false);
        }
        for endpoint in open {
            endpoint.end_as_inherited(py)?;
        }
        outcome
    }

    /// Raises the error of a loop that came along from the parent, if it did.
    pub(super) fn _check_inherited(&self, py: Python<'_>) -> PyResult<()> {
        self.core(py).inherited.as_ref().map_or(Ok(()), |inherited| Err(inherited.error()))
    }
}
