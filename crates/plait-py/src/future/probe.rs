//! Debug builds only: ends futures as the process pool's supervisor does, from
//! a thread without the interpreter, but as fast and as often as a test wants.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use pyo3::exceptions::PyException;
use pyo3::prelude::*;

use super::{Decoded, Encoded, Fate, Future, Outcome, let_go, notifier, wake};

struct Recipe {
    decode: Arc<Py<PyAny>>,
    failed: bool,
}

impl Encoded for Recipe {
    fn is_error(&self) -> bool {
        self.failed
    }

    fn decode(&self, py: Python<'_>) -> PyResult<Decoded> {
        match self.decode.bind(py).call0() {
            Ok(object) if self.failed => Ok(Err(object.unbind())),
            Ok(object) => Ok(Ok(object.unbind())),
            Err(error) if error.is_instance_of::<PyException>(py) => Ok(Err(error.into_value(py).into_any())),
            Err(interrupt) => Err(interrupt),
        }
    }
}

/// Ends `futures` from a native thread; each is decoded by calling `decode`.
/// Where `hold` is given, the thread lets go of them when it has read that
/// file.
#[pyfunction]
#[pyo3(signature = (futures, decode, failed = false, hold = None))]
fn _finish_elsewhere(
    py: Python<'_>,
    futures: Vec<Bound<'_, Future>>,
    decode: Py<PyAny>,
    failed: bool,
    hold: Option<PathBuf>,
) -> PyResult<()> {
    notifier::start(py)?;
    let decode = Arc::new(decode);
    let fates: Vec<Arc<Fate>> = futures.iter().map(|future| Arc::clone(future.get().fate())).collect();
    thread::spawn(move || {
        for fate in &fates {
            let recipe = Recipe { decode: Arc::clone(&decode), failed };
            // Refused where somebody else was faster.
            if let Ok(wakers) = fate.finish(Outcome::encoded(recipe)) {
                wake(wakers);
            }
        }
        // It is there: the test has made it.
        let read = hold.map(std::fs::read).transpose();
        fates.into_iter().for_each(let_go);
        assert!(read.is_ok(), "{read:?}");
    });
    Ok(())
}

/// A future that belongs to an engine of this process.
#[pyfunction]
fn _new_future(py: Python<'_>) -> PyResult<Py<Future>> {
    Ok(super::new_future(py)?.0)
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // Not `add_function`, which would list them in `__all__`.
    module.setattr("_finish_elsewhere", wrap_pyfunction!(_finish_elsewhere, module)?)?;
    module.setattr("_new_future", wrap_pyfunction!(_new_future, module)?)
}
