//! How long somebody waits for a future, as Python says it.

use std::time::Duration;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

/// The seconds of a `timeout=`, which is not `None`.
pub(super) fn parse_timeout(timeout: &Bound<'_, PyAny>) -> PyResult<Duration> {
    let seconds: f64 = timeout.extract().map_err(|_| {
        let class = timeout.get_type();
        PyTypeError::new_err(format!("timeout must be a number of seconds or None, not {class}"))
    })?;
    if seconds.is_nan() {
        return Err(PyValueError::new_err("timeout must be a number of seconds, not NaN"));
    }
    // What no clock reaches is without end.
    Ok(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX))
}
