//! The event loop's native half.
//!
//! `core` holds the state and the calls that schedule, `turn` turns it once,
//! `watch` is `add_reader` and its family, `transport` a connection. The
//! Python half (`plait._loop`) is what happens once in a while: addresses,
//! servers, signals, the start and the end.
//!
//! One lock guards the loop's structures. It is never held while Python code
//! runs, and neither while an object is dropped: whatever a structure gives
//! up is carried out of the lock first.

mod core;
mod endpoint;
mod handle;
mod transport;
mod turn;
mod watch;

use pyo3::prelude::*;
use pyo3::types::PyType;

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("Loop", PyType::new::<core::Loop>(py))?;
    module.add("SocketTransport", PyType::new::<transport::SocketTransport>(py))?;
    handle::register(module)
}
