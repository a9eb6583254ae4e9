//! The futures that have failed, as long as they are there: at the end of their
//! pool, or of the process, those that nobody has asked are reported.
//!
//! A future that is there when its pool ends can still be asked, and often is:
//!
//! ```text
//! with pool:
//!     futures = [pool.submit(...), ...]
//! for future in futures:
//!     future.result()
//! ```
//!
//! So whoever keeps it has some time from then on.

use std::mem;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, Weak};
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::{Fate, notifier};
use crate::sync::lock;

/// Room for so many at least.
const FEW: usize = 64;

static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// The number of a pool.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct PoolNumber(u64);

impl Default for PoolNumber {
    /// That of a new pool.
    fn default() -> Self {
        // Relaxed: each is given out once in any order.
        Self(NUMBERS.fetch_add(1, Relaxed))
    }
}

impl PoolNumber {
    /// Of futures that no pool has made.
    pub(super) const NONE: Self = Self(0);

    /// That of a pool that is there.
    pub(super) const fn of(number: u64) -> Self {
        Self(number)
    }

    pub(crate) fn get(self) -> u64 {
        self.0
    }
}

struct Failure {
    fate: Weak<Fate>,
    pool: PoolNumber,
}

/// Those of this process; see `abandon`.
pub(super) struct Failures(Mutex<Vec<Failure>>);

impl Failures {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Remembers a future that has failed. Needs no interpreter.
    pub(super) fn add(&self, fate: Weak<Fate>, pool: PoolNumber) {
        let mut failures = lock(&self.0);
        if failures.len() == failures.capacity() {
            // Before it grows; so each is looked at a few times, however many.
            failures.retain(|failure| failure.fate.strong_count() > 0);
            let left = failures.len();
            failures.reserve(left.max(FEW));
        }
        failures.push(Failure { fate, pool });
    }

    fn all(&self) -> Vec<Weak<Fate>> {
        mem::take(&mut *lock(&self.0)).into_iter().map(|failure| failure.fate).collect()
    }

    fn of(&self, pool: PoolNumber) -> Vec<Weak<Fate>> {
        let failures = lock(&self.0);
        failures.iter().filter(|failure| failure.pool == pool).map(|failure| failure.fate.clone()).collect()
    }
}

fn report(py: Python<'_>, fates: &[Weak<Fate>]) {
    for fate in fates.iter().filter_map(Weak::upgrade) {
        fate.report_lost(py);
    }
}

/// Reports whatever has failed, is still there, and was not asked for.
#[pyfunction]
fn lost_report_kept(py: Python<'_>) {
    report(py, &notifier::failures().all());
}

/// Has the notifier's thread make a call that reports something.
#[pyfunction]
fn lost_apart(py: Python<'_>, call: Py<PyAny>) {
    notifier::notify_apart(py, move |py| {
        if let Err(error) = call.call0(py) {
            error.write_unraisable(py, Some(call.bind(py)));
        }
    });
}

/// Says that a pool has ended: in so many seconds what has failed there, is
/// still there, and was not asked for is reported, and `look(pool)` called.
#[pyfunction]
fn lost_pool_ended(py: Python<'_>, pool: u64, seconds: f64, look: Option<Py<PyAny>>) -> PyResult<()> {
    let pool = PoolNumber(pool);
    let patience =
        Duration::try_from_secs_f64(seconds).map_err(|error| PyValueError::new_err(error.to_string()))?;
    if pool != PoolNumber::NONE
        && (look.is_some()
            || notifier::failures().of(pool).iter().filter_map(Weak::upgrade).any(|fate| fate.is_lost()))
    {
        notifier::notify_later(py, patience, move |py| {
            report(py, &notifier::failures().of(pool));
            if let Some(look) = look
                && let Err(error) = look.call1(py, (pool.0,))
            {
                error.write_unraisable(py, Some(look.bind(py)));
            }
        })?;
    }
    Ok(())
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(lost_apart, module)?)?;
    module.add_function(wrap_pyfunction!(lost_report_kept, module)?)?;
    module.add_function(wrap_pyfunction!(lost_pool_ended, module)?)
}
