//! The probe around a call: what it cost the calling thread, and who else wants a core.

use std::sync::Mutex;

use plait_sys::accounts::Accounts;
use plait_sys::runnable;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::sync::lock;

/// Reads the accounts of the thread that calls it. One probe watches one call
/// at a time; it is made once and used again.
#[pyclass(frozen, module = "plait._native")]
struct Probe(Mutex<Option<Accounts>>);

#[pymethods]
impl Probe {
    #[new]
    fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Begins, in the thread that is going to make the call.
    fn begin(&self) {
        // Nothing of ours runs between the reading and the call but the lock's release.
        *lock(&self.0) = Some(Accounts::before());
    }

    /// Ends: seconds on the wall, of CPU time, in the queue for a core, of
    /// CPU time of the whole process; and how often the thread stopped to
    /// wait.
    fn end(&self) -> PyResult<(f64, f64, f64, f64, u64)> {
        let now = Accounts::after();
        let Some(begun) = lock(&self.0).take() else {
            return Err(PyRuntimeError::new_err("the probe ended before it began"));
        };
        let spent = now.since(&begun);
        let seconds = |nanos: u64| nanos as f64 * 1e-9;
        Ok((
            seconds(spent.wall),
            seconds(spent.cpu),
            seconds(spent.queued),
            seconds(spent.process_cpu),
            spent.pauses,
        ))
    }
}

/// How many threads of the machine want a core at the moment, beside the
/// calling one; `None` where the kernel does not tell.
#[pyfunction]
fn rivals() -> Option<u32> {
    runnable::runnable().map(|count| count.saturating_sub(1))
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(rivals, module)?)?;
    module.add_class::<Probe>()
}
