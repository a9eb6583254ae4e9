//! For who turns the loop from outside: one turn, turns while there is
//! something to wait for, and what another loop needs to wait in its place.

use std::os::fd::RawFd;
use std::time::Duration;

use plait_sys::clock::Instant;
use pyo3::prelude::*;

use super::core::{Core, Loop};
use super::poll::Wait;
use crate::error::Error;
use crate::hot::snapshot;

impl Loop {
    /// Whether anything is left that a turn could run or wait for.
    pub(super) fn is_alive_in(&self, py: Python<'_>, core: &Core) -> bool {
        if core.poller.is_none() {
            return false;
        }
        if !core.ready.is_empty() || core.phases.keep_alive(py) || self.has_letters(py, false) {
            return true;
        }
        // A cancelled timer stays in the heap for a while.
        let timers = core.timers.len().saturating_sub(self.dead_timers());
        let known = core.refs.saturating_add_unsigned(timers + core.keeping);
        if known > 0 {
            return true;
        }
        let watched = if core.watchers == 0 {
            core.fds.watched()
        } else {
            core.fds.watched_owners().filter(|owner| owner.has_listener()).count()
        };
        known.saturating_add_unsigned(watched.saturating_sub(core.inner)) > 0
    }
}

#[pymethods]
impl Loop {
    /// Turns the loop once and says whether anything keeps it alive.
    #[pyo3(signature = (timeout, if_alive))]
    fn _turn(slf: &Bound<'_, Self>, timeout: Option<f64>, if_alive: bool) -> PyResult<bool> {
        let py = slf.py();
        let this = slf.get();
        // Who turns it one by one may look at signals in between: not only at
        // each tick of the clock.
        {
            let mut core = this.core(py);
            core.polled = Instant::default();
            if let Some(poller) = &core.poller {
                poller.get_up();
            }
        }
        let limit =
            timeout.map(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX));
        let turned = Self::turn_once(slf, Wait { limit, if_alive });
        snapshot::forget(py);
        turned.map(|()| this.is_alive(py))
    }

    /// Turns the loop until it is told to stop or nothing keeps it alive; says
    /// whether anything does.
    fn _run_while_alive(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let py = slf.py();
        let this = slf.get();
        this.core(py).alive_or_gone()?;
        Self::turn_while(slf, Wait { limit: None, if_alive: true }, || this.is_alive(py))?;
        Ok(this.is_alive(py))
    }

    /// Whether anything keeps the loop alive: a callback, a timer, a watched
    /// descriptor, a callback of a phase, or more calls of `ref` than of
    /// `unref`.
    fn is_alive(&self, py: Python<'_>) -> bool {
        self.is_alive_in(py, &self.core(py))
    }

    /// Keeps the loop alive for something that it does not know.
    #[pyo3(name = "ref")]
    fn add_ref(&self, py: Python<'_>) {
        self.core(py).refs += 1;
    }

    /// Takes one `ref` back, or has one thing that the loop knows not keep it
    /// alive.
    fn unref(&self, py: Python<'_>) {
        self.core(py).refs -= 1;
    }

    /// The descriptor that can be read when a turn has something to do, while
    /// another loop waits.
    fn fileno(&self, py: Python<'_>) -> PyResult<RawFd> {
        let core = self.core(py);
        core.alive_or_gone()?;
        let Some(poller) = &core.poller else { return Ok(-1) };
        Ok(poller.fileno().map_err(Error::from)?)
    }

    /// How many seconds another loop may wait for `fileno()` before it turns
    /// this one; None is without end. Until that turn, whoever schedules
    /// something makes `fileno()` readable.
    fn backend_timeout(&self, py: Python<'_>) -> PyResult<Option<f64>> {
        let mut removed = Vec::new();
        let timeout = {
            let mut core = self.core(py);
            core.alive_or_gone()?;
            if let Some(poller) = &core.poller {
                poller.lie_down();
            }
            self.sleep_time(py, &mut core, Wait::FOREVER, &mut removed)
        };
        for timer in &removed {
            timer.left_heap(py);
        }
        drop(removed);
        Ok(timeout.map(|timeout| timeout.as_secs_f64()))
    }
}
