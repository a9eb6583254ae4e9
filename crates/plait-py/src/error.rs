//! The border: the errors of the crates below become Python exceptions here
//! and nowhere else.

use std::io;

use plait_pool::process;
use plait_pool::queue::Closed;
use pyo3::PyErr;
use pyo3::exceptions::{PyIndexError, PyOSError, PyRuntimeError, PyValueError};
use pyo3::import_exception;

use crate::hot::interpreter_lock::Unreadable;

import_exception!(concurrent.futures.process, BrokenProcessPool);
import_exception!(concurrent.futures.thread, BrokenThreadPool);
import_exception!(queue, Full);

/// Whatever the crates below report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A system call failed.
    #[error(transparent)]
    Sys(#[from] plait_sys::Error),
    /// A thread pool takes nothing any more.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// A word that names no engine.
    #[error(transparent)]
    Engine(#[from] plait_pool::choice::UnknownEngine),
    /// An event that cannot be put on a timeline.
    #[error(transparent)]
    Trace(#[from] plait_trace::Error),
    /// Marks of flow control that cannot be.
    #[error(transparent)]
    Marks(#[from] plait_loop::flow::BadMarks),
    /// The interpreter keeps its lock where we do not know.
    #[error(transparent)]
    Lock(#[from] Unreadable),
    /// A process pool does not do what was asked.
    #[error(transparent)]
    Pool(#[from] plait_pool::process::Error),
    /// A process pool has enough to do.
    #[error(
        "as many tasks wait as max_pending allows, and this thread, which runs an event loop, must not \
         wait for them: await some before submitting more"
    )]
    Full,
}

/// The result of a call into the crates below.
pub(crate) type Result<T> = std::result::Result<T, Error>;

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        match error {
            Error::Sys(error) => os_error(&error),
            reason @ Error::Full => Full::new_err(reason.to_string()),
            Error::Closed(reason @ Closed::Broken) => BrokenThreadPool::new_err(reason.to_string()),
            Error::Closed(reason @ (Closed::Shutdown | Closed::Exit)) => {
                PyRuntimeError::new_err(reason.to_string())
            }
            Error::Engine(error) => PyValueError::new_err(error.to_string()),
            Error::Trace(error) => trace(&error),
            Error::Marks(error) => PyValueError::new_err(error.to_string()),
            Error::Lock(reason) => PyRuntimeError::new_err(reason.to_string()),
            Error::Pool(process::Error::Sys(error)) => os_error(&error),
            Error::Pool(process::Error::Link(plait_shm::Error::Sys(error))) => os_error(&error),
            Error::Pool(reason @ process::Error::Broken(_)) => BrokenProcessPool::new_err(reason.to_string()),
            Error::Pool(
                reason @ (process::Error::Shutdown | process::Error::Forked(_) | process::Error::Link(_)),
            ) => PyRuntimeError::new_err(reason.to_string()),
        }
    }
}

fn trace(error: &plait_trace::Error) -> PyErr {
    use plait_trace::Error::{Backwards, NoSuchPanel, NoSuchTrack, NotATime, UnknownKind};
    let message = error.to_string();
    match error {
        NoSuchPanel(_) | NoSuchTrack(_) => PyIndexError::new_err(message),
        NotATime(_) | Backwards { .. } | UnknownKind(_) => PyValueError::new_err(message),
    }
}

/// OSError with a number picks its subclass by itself (ConnectionResetError,
/// BlockingIOError, ...). Its text is the system's alone, as the standard
/// library has it: people search for that.
fn os_error(error: &plait_sys::Error) -> PyErr {
    let number = error.raw_os_error();
    let text = io::Error::from_raw_os_error(number).to_string();
    let text = text.strip_suffix(&format!(" (os error {number})")).unwrap_or(&text);
    PyOSError::new_err((number, text.to_owned()))
}
