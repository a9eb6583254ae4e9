//! `add_reader`, `add_writer` and their opposites.

use std::os::fd::RawFd;

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyTuple};

use super::core::{Loop, Owner};
use super::listeners::{Displaced, Listener, Side, exchange};
use crate::hot::handle::Handle;
use crate::hot::method::Call;

/// The number of a descriptor, or of an object that has one.
pub(super) fn fileno(fd: &Bound<'_, PyAny>) -> PyResult<RawFd> {
    if let Ok(fd) = fd.extract::<RawFd>() {
        return if fd < 0 {
            Err(PyValueError::new_err(format!("Invalid file descriptor: {fd}")))
        } else {
            Ok(fd)
        };
    }
    let invalid =
        |_| fd.repr().map_or_else(|e| e, |r| PyValueError::new_err(format!("Invalid file object: {r}")));
    let number: RawFd = fd.call_method0("fileno").and_then(|number| number.extract()).map_err(invalid)?;
    if number < 0 {
        return Err(PyValueError::new_err(format!("Invalid file descriptor: {number}")));
    }
    Ok(number)
}

/// Refuses a descriptor whose bytes a transport is reading or writing.
pub(super) fn refuse_transport(slf: &Bound<'_, Loop>, fd: RawFd) -> PyResult<()> {
    let transport = match slf.get().core(slf.py()).fds.get(fd) {
        Some(Owner::Transport(endpoint)) => endpoint.object(slf.py()),
        _ => return Ok(()),
    };
    let transport = transport.repr()?;
    Err(PyRuntimeError::new_err(format!("File descriptor {fd} is used by transport {transport}")))
}

fn add(
    slf: &Bound<'_, Loop>,
    fd: &Bound<'_, PyAny>,
    side: Side,
    callback: &Bound<'_, PyAny>,
    args: &Bound<'_, PyTuple>,
) -> PyResult<Handle> {
    let py = slf.py();
    let this = slf.get();
    let object = (!fd.is_instance_of::<PyInt>()).then(|| fd.clone().unbind());
    let fd = fileno(fd)?;
    refuse_transport(slf, fd)?;
    let handle = Handle::new(py, &Call::new(callback, args, None), this.debug())?;
    let entry = Listener::Handle { handle: handle.clone_ref(py), object };
    let mut displaced = Displaced::default();
    let added = exchange(&mut this.core(py), fd, side, Some(entry), &mut displaced);
    displaced.dismiss(py);
    added.map(|()| handle)
}

/// The number that is watched for `object`, which may be closed by now and
/// have none of its own any more.
fn watched_number(slf: &Bound<'_, Loop>, object: &Bound<'_, PyAny>) -> PyResult<RawFd> {
    fileno(object).or_else(|error| {
        let named = |owner: &Owner| matches!(owner, Owner::Watch(watch) if watch.names(object));
        let found = slf.get().core(slf.py()).fds.find(named);
        found.ok_or(error)
    })
}

fn remove(slf: &Bound<'_, Loop>, fd: &Bound<'_, PyAny>, side: Side) -> PyResult<bool> {
    let fd = watched_number(slf, fd)?;
    refuse_transport(slf, fd)?;
    if slf.get().core(slf.py()).poller.is_none() {
        return Ok(false);
    }
    let mut displaced = Displaced::default();
    let removed = exchange(&mut slf.get().core(slf.py()), fd, side, None, &mut displaced);
    let found = displaced.before.is_some();
    displaced.dismiss(slf.py());
    removed.map(|()| found)
}

#[pymethods]
impl Loop {
    /// Has `callback(*args)` called whenever `fd` can be read.
    #[pyo3(signature = (fd, callback, *args))]
    fn add_reader(
        slf: &Bound<'_, Self>,
        fd: &Bound<'_, PyAny>,
        callback: &Bound<'_, PyAny>,
        args: &Bound<'_, PyTuple>,
    ) -> PyResult<()> {
        add(slf, fd, Side::Reader, callback, args).map(drop)
    }

    /// Has `callback(*args)` called whenever `fd` can be written.
    #[pyo3(signature = (fd, callback, *args))]
    fn add_writer(
        slf: &Bound<'_, Self>,
        fd: &Bound<'_, PyAny>,
        callback: &Bound<'_, PyAny>,
        args: &Bound<'_, PyTuple>,
    ) -> PyResult<()> {
        add(slf, fd, Side::Writer, callback, args).map(drop)
    }

    /// As `add_reader`, and returns the handle.
    #[pyo3(signature = (fd, callback, *args))]
    fn _add_reader(
        slf: &Bound<'_, Self>,
        fd: &Bound<'_, PyAny>,
        callback: &Bound<'_, PyAny>,
        args: &Bound<'_, PyTuple>,
    ) -> PyResult<Py<PyAny>> {
        add(slf, fd, Side::Reader, callback, args).map(Handle::into_any)
    }

    /// As `add_writer`, and returns the handle.
    #[pyo3(signature = (fd, callback, *args))]
    fn _add_writer(
        slf: &Bound<'_, Self>,
        fd: &Bound<'_, PyAny>,
        callback: &Bound<'_, PyAny>,
        args: &Bound<'_, PyTuple>,
    ) -> PyResult<Py<PyAny>> {
        add(slf, fd, Side::Writer, callback, args).map(Handle::into_any)
    }

    /// Stops calling the reader of `fd`; says whether there was one.
    fn remove_reader(slf: &Bound<'_, Self>, fd: &Bound<'_, PyAny>) -> PyResult<bool> {
        remove(slf, fd, Side::Reader)
    }

    /// Stops calling the writer of `fd`; says whether there was one.
    fn remove_writer(slf: &Bound<'_, Self>, fd: &Bound<'_, PyAny>) -> PyResult<bool> {
        remove(slf, fd, Side::Writer)
    }
}
