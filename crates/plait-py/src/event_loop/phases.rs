//! Callbacks between the steps of a turn, for who builds something on the
//! loop: a hub of green threads, an outer loop, a test.
//!
//! | when | what runs |
//! |---|---|
//! | before the poll | *prepare*: may make work, then the poll does not wait |
//! | after the poll | *check*: what was found is in the queue, and none of it has run |
//! | instead of the queue, when that was empty | *idle*: while there is one, no poll waits |
//! | at the end | *close*, once: what was put off to the end of the turn |
//!
//! The order is libev's: its check comes before what the poll found as well
//! (libuv's comes after), and its idle is for turns with nothing else to do
//! (libuv's runs in each). A loop without any of these pays one load for each
//! of three steps: no difference that can be measured (CPU a turn that polls,
//! CPython 3.13: 685 ns with, 695 without the loads).

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::core::Loop;
use crate::hot::handle::Handle;
use crate::hot::method::Call;

/// A callback of each turn. It is removed by cancelling it.
pub(super) struct Hook {
    handle: Handle,
    /// Whether it keeps the loop alive.
    keeps: bool,
}

/// Those of one phase, in the order of their registration.
#[derive(Default)]
pub(super) struct Hooks(Vec<Hook>);

impl Hooks {
    /// Takes the cancelled ones out.
    fn purge(&mut self, py: Python<'_>) -> Vec<Hook> {
        self.0.extract_if(.., |hook| hook.handle.is_cancelled(py)).collect()
    }

    fn live(&self, py: Python<'_>) -> impl Iterator<Item = &Hook> {
        self.0.iter().filter(move |hook| !hook.handle.is_cancelled(py))
    }
}

#[derive(Clone, Copy)]
enum Phase {
    Prepare,
    Check,
    Idle,
}

/// The callbacks of all phases.
#[derive(Default)]
pub(super) struct Phases {
    prepare: Hooks,
    check: Hooks,
    idle: Hooks,
    close: VecDeque<Handle>,
}

impl Phases {
    fn hooks(&mut self, phase: Phase) -> &mut Hooks {
        match phase {
            Phase::Prepare => &mut self.prepare,
            Phase::Check => &mut self.check,
            Phase::Idle => &mut self.idle,
        }
    }

    fn all(&self) -> [&Hooks; 3] {
        [&self.prepare, &self.check, &self.idle]
    }

    fn is_empty(&self) -> bool {
        self.close.is_empty() && self.all().iter().all(|hooks| hooks.0.is_empty())
    }

    /// Whether a turn has something to do that no poll brings.
    pub(super) fn has_work(&self, py: Python<'_>) -> bool {
        !self.close.is_empty() || self.idle.live(py).next().is_some()
    }

    /// Whether any of them keeps the loop alive.
    pub(super) fn keep_alive(&self, py: Python<'_>) -> bool {
        !self.close.is_empty() || self.all().iter().any(|hooks| hooks.live(py).any(|hook| hook.keeps))
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        for hook in self.all().iter().flat_map(|hooks| &hooks.0) {
            hook.handle.traverse(visit)?;
        }
        self.close.iter().try_for_each(|handle| handle.traverse(visit))
    }
}

impl Loop {
    /// Whether there may be callbacks of phases.
    pub(super) fn phased(&self) -> bool {
        // Relaxed: the interpreter lock orders it.
        self.phased.load(Relaxed)
    }

    /// Before the poll.
    pub(super) fn prepare(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::run_phase(slf, Phase::Prepare, "prepare callback")
    }

    /// After the poll, before what it found runs.
    pub(super) fn check(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::run_phase(slf, Phase::Check, "check callback")
    }

    /// At the end of a turn, which may have had nothing to do.
    pub(super) fn finish(slf: &Bound<'_, Self>, idle: bool) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        if idle {
            Self::run_phase(slf, Phase::Idle, "idle callback")?;
        } else {
            // A loop that is never idle would keep the cancelled ones.
            let removed = this.core(py).phases.idle.purge(py);
            drop(removed);
        }
        let count = this.core(py).phases.close.len();
        for _ in 0..count {
            let handle = this.core(py).phases.close.pop_front();
            let Some(handle) = handle else { break };
            Self::run_call(slf, &handle, "close callback")?;
        }
        this.phased.store(!this.core(py).phases.is_empty(), Relaxed);
        Ok(())
    }

    /// Runs the callbacks that the phase has now; what they add comes with
    /// the next turn.
    fn run_phase(slf: &Bound<'_, Self>, phase: Phase, kind: &str) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let (removed, count) = {
            let mut core = this.core(py);
            let hooks = core.phases.hooks(phase);
            (hooks.purge(py), hooks.0.len())
        };
        drop(removed);
        for index in 0..count {
            let handle = {
                let mut core = this.core(py);
                core.phases.hooks(phase).0.get(index).map(|hook| hook.handle.clone_ref(py))
            };
            // Gone if a callback closed the loop.
            let Some(handle) = handle else { break };
            Self::run_call(slf, &handle, kind)?;
        }
        Ok(())
    }

    fn hook(
        slf: &Bound<'_, Self>,
        phase: Phase,
        method: &str,
        call: &Call<'_, '_>,
        keeps: bool,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let this = slf.get();
        Self::check_debug(slf, call, method, true)?;
        let handle = Handle::new(py, call, this.debug())?;
        let hook = Hook { handle: handle.clone_ref(py), keeps };
        let mut core = this.core(py);
        core.ring_or_gone()?;
        core.phases.hooks(phase).0.push(hook);
        drop(core);
        this.phased.store(true, Relaxed);
        Ok(handle.into_any())
    }
}

#[pymethods]
impl Loop {
    /// Has `callback(*args)` called in each turn before it polls, until the
    /// returned handle is cancelled.
    #[pyo3(signature = (callback, *args, r#ref=true, context=None))]
    fn add_prepare(
        slf: &Bound<'_, Self>,
        callback: &Bound<'_, PyAny>,
        args: &Bound<'_, PyTuple>,
        r#ref: bool,
        context: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        Self::hook(slf, Phase::Prepare, "add_prepare", &Call::new(callback, args, context), r#ref)
    }

    /// Has `callback(*args)` called in each turn after it polled and before
    /// what it found runs, until the returned handle is cancelled.
    #[pyo3(signature = (callback, *args, r#ref=true, context=None))]
    fn add_check(
        slf: &Bound<'_, Self>,
        callback: &Bound<'_, PyAny>,
        args: &Bound<'_, PyTuple>,
        r#ref: bool,
        context: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        Self::hook(slf, Phase::Check, "add_check", &Call::new(callback, args, context), r#ref)
    }

    /// Has `callback(*args)` called in each turn that finds nothing else to
    /// do, until the returned handle is cancelled; no poll waits meanwhile.
    #[pyo3(signature = (callback, *args, r#ref=true, context=None))]
    fn add_idle(
        slf: &Bound<'_, Self>,
        callback: &Bound<'_, PyAny>,
        args: &Bound<'_, PyTuple>,
        r#ref: bool,
        context: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        Self::hook(slf, Phase::Idle, "add_idle", &Call::new(callback, args, context), r#ref)
    }

    /// Has `callback(*args)` called once, at the end of the turn that is
    /// under way or comes next.
    #[pyo3(signature = (callback, *args, context=None))]
    fn call_at_turn_end(
        slf: &Bound<'_, Self>,
        callback: &Bound<'_, PyAny>,
        args: &Bound<'_, PyTuple>,
        context: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let this = slf.get();
        let call = Call::new(callback, args, context);
        Self::check_debug(slf, &call, "call_at_turn_end", true)?;
        let handle = Handle::new(py, &call, this.debug())?;
        let entry = handle.clone_ref(py);
        let mut core = this.core(py);
        core.ring_or_gone()?;
        core.phases.close.push_back(entry);
        drop(core);
        this.phased.store(true, Relaxed);
        Ok(handle.into_any())
    }
}
