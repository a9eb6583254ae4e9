//! What engines hold of a future, and what becomes of a failure that nobody
//! asks for.
//!
//! A failure is *lost* once nobody can ask for it any more, or nobody will: it
//! is then reported, once, by `plait._lost`.
//!
//! | the failure | is reported |
//! |---|---|
//! | of a future that somebody drops after its task has ended | by the future's finaliser, see `hot::finalize` |
//! | of a future in a cycle | in the notifier's thread: the collector runs in the middle of anything |
//! | of a task whose future went before its end | in the notifier's thread: whoever drops the fate last may not run Python code |
//! | of a future that is still there some time after its pool has ended, or at exit | from the list of `failures` |
//!
//! The mark `ASKED` decides between them: whoever sets it reports, or was
//! answered. What came of a pool that its owner has ended is not lost: that
//! mark is `FORGIVEN`.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::Relaxed;

use plait_pool::completion::{Completion, State};
use plait_shm::Sight;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::failures::PoolNumber;
use super::{Outcome, Waker, notifier};
use crate::fork::Home;
use crate::hot::site::Site;

/// Somebody has got the exception of the task, or it was reported.
const ASKED: u8 = 1;
/// Nobody wonders about it: somebody wanted the task to end.
const FORGIVEN: u8 = 2;

/// What engines hold of a future: they need no Python to end it.
pub(crate) struct Fate {
    completion: Completion<Outcome, Waker>,
    /// Where the task was submitted.
    site: Option<Site>,
    home: Home,
    /// Why the exception is not lost.
    marks: AtomicU8,
}

impl Deref for Fate {
    type Target = Completion<Outcome, Waker>;

    fn deref(&self) -> &Self::Target {
        &self.completion
    }
}

impl Fate {
    #[inline]
    pub(crate) fn new(py: Python<'_>) -> Self {
        Self {
            completion: Completion::new(),
            site: Site::here(py),
            home: Home::here(),
            marks: AtomicU8::new(0),
        }
    }

    /// As [`Completion::finish`].
    ///
    /// # Errors
    /// Gives `outcome` back if the task has already ended.
    pub(crate) fn finish(self: &Arc<Self>, outcome: Outcome) -> Result<Vec<Waker>, Outcome> {
        self.finish_in(PoolNumber::NONE, outcome)
    }

    /// As `finish`, of a task of that pool.
    ///
    /// # Errors
    /// Gives `outcome` back if the task has already ended.
    pub(crate) fn finish_in(
        self: &Arc<Self>,
        pool: PoolNumber,
        outcome: Outcome,
    ) -> Result<Vec<Waker>, Outcome> {
        let failed = outcome.is_error();
        let wakers = self.completion.finish(outcome)?;
        if failed {
            notifier::failures().add(Arc::downgrade(self), pool);
        }
        Ok(wakers)
    }

    /// What who waits awake for its end sees.
    pub(crate) fn sight(&self) -> Sight {
        match self.completion.state() {
            State::Pending => Sight::Coming,
            State::Running => Sight::Nothing,
            State::Finished | State::Cancelled => Sight::There,
        }
    }

    /// As [`Completion::outcome_mut`].
    pub(super) fn outcome_mut(&mut self) -> Option<&mut Outcome> {
        self.completion.outcome_mut()
    }

    /// Notes that somebody has got the exception.
    pub(crate) fn note_asked(&self) {
        // Relaxed: a flag of its own, and changed under the interpreter lock
        // but for the last owner's look at it.
        self.marks.fetch_or(ASKED, Relaxed);
    }

    /// Notes that the task ends as somebody wants it to; before it does.
    pub(crate) fn forgive(&self) {
        self.marks.fetch_or(FORGIVEN, Relaxed);
    }

    /// Whether the task has ended as somebody wanted it to.
    pub(super) fn is_forgiven(&self) -> bool {
        self.marks.load(Relaxed) & FORGIVEN != 0
    }

    /// Whether the task has failed and nobody has asked.
    #[inline]
    pub(crate) fn is_lost(&self) -> bool {
        self.completion.outcome().is_some_and(Outcome::is_error)
            && self.marks.load(Relaxed) == 0
            && self.home.is_here()
    }

    /// Reports the failure, unless somebody has asked for it.
    pub(crate) fn report_lost(&self, py: Python<'_>) {
        if self.is_lost()
            && self.marks.fetch_or(ASKED, Relaxed) == 0
            && let Some(outcome) = self.completion.outcome()
        {
            report(py, outcome, self.site.as_ref());
        }
    }

    /// Where the task was submitted: file and line.
    pub(super) fn place<'py>(&self, py: Python<'py>) -> PyResult<Option<(Bound<'py, PyAny>, i32)>> {
        self.site.as_ref().map(|site| site.place(py)).transpose()
    }
}

impl Drop for Fate {
    fn drop(&mut self) {
        if !self.is_lost() {
            return;
        }
        let site = self.site.take();
        if let Some(outcome) = self.completion.take_outcome() {
            notifier::notify(move |py| report(py, &outcome, site.as_ref()));
        }
    }
}

fn report(py: Python<'_>, outcome: &Outcome, site: Option<&Site>) {
    static REPORT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let reported = (|| {
        let Err(exception) = outcome.get(py)? else { return Ok(()) };
        let (file, line) = site.map(|site| site.place(py)).transpose()?.unzip();
        REPORT.import(py, "plait._lost", "report")?.call1((exception, outcome.name(py), file, line)).map(drop)
    })();
    if let Err(error) = reported {
        PyErr::write_unraisable(error, py, None);
    }
}
