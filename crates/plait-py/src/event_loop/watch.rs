//! `add_reader`, `add_writer` and their opposites: one callback per
//! direction of a descriptor that somebody else owns.

use std::os::fd::RawFd;

use plait_sys::epoll::{Event, Interest};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::core::{Core, Loop, Owner};
use crate::error::Error;
use crate::hot::handle::Handle;
use crate::hot::method::Call;

/// The callbacks of one descriptor.
#[derive(Default)]
pub(super) struct Watch {
    reader: Option<Handle>,
    writer: Option<Handle>,
}

#[derive(Clone, Copy)]
enum Side {
    Reader,
    Writer,
}

impl Watch {
    fn side(&mut self, side: Side) -> &mut Option<Handle> {
        match side {
            Side::Reader => &mut self.reader,
            Side::Writer => &mut self.writer,
        }
    }

    fn interest(&self) -> Interest {
        Interest { read: self.reader.is_some(), write: self.writer.is_some() }
    }

    /// The callbacks that `event` is for.
    pub(super) fn woken(&self, py: Python<'_>, event: &Event) -> [Option<Handle>; 2] {
        let pick = |ready: bool, handle: &Option<Handle>| {
            handle.as_ref().filter(|_| ready).map(|handle| handle.clone_ref(py))
        };
        [pick(event.readable, &self.reader), pick(event.writable, &self.writer)]
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        for handle in [&self.reader, &self.writer].into_iter().flatten() {
            handle.traverse(visit)?;
        }
        Ok(())
    }
}

/// The number of a descriptor, or of an object that has one.
fn fileno(fd: &Bound<'_, PyAny>) -> PyResult<RawFd> {
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
fn refuse_transport(slf: &Bound<'_, Loop>, fd: RawFd) -> PyResult<()> {
    let transport = match slf.get().core(slf.py()).fds.get(fd) {
        Some(Owner::Transport(endpoint)) => endpoint.object(slf.py()),
        _ => return Ok(()),
    };
    let transport = transport.repr()?;
    Err(PyRuntimeError::new_err(format!("File descriptor {fd} is used by transport {transport}")))
}

/// Puts `handle` in, or takes what is there out, and tells the kernel.
/// Returns what was there.
fn exchange(core: &mut Core, fd: RawFd, side: Side, handle: Option<Handle>) -> PyResult<Option<Handle>> {
    let poller = core.poller.clone().ok_or_else(|| core.gone())?;
    if core.fds.get(fd).is_none() {
        if handle.is_none() {
            return Ok(None);
        }
        core.fds.insert(fd, Owner::Watch(Watch::default())).map_err(Error::from)?;
    }
    let Some(Owner::Watch(watch)) = core.fds.get_mut(fd) else { return Ok(None) };
    let before = std::mem::replace(watch.side(side), handle);
    let interest = watch.interest();
    if let Err(error) = core.fds.watch(&poller.epoll, fd, interest) {
        // As if nothing had been asked. The new handle is the caller's too,
        // and an owner that is forgotten is empty: no object dies in here.
        if let Some(Owner::Watch(watch)) = core.fds.get_mut(fd) {
            *watch.side(side) = before;
            if watch.interest().is_none() {
                core.fds.remove(&poller.epoll, fd).map_err(Error::from)?;
            }
        }
        return Err(Error::from(error).into());
    }
    if interest.is_none() {
        core.fds.remove(&poller.epoll, fd).map_err(Error::from)?;
    }
    Ok(before)
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
    let fd = fileno(fd)?;
    refuse_transport(slf, fd)?;
    let handle = Handle::new(py, &Call::new(callback, args, None), this.debug())?;
    let entry = handle.clone_ref(py);
    let before = exchange(&mut this.core(py), fd, side, Some(entry))?;
    cancel(py, before);
    Ok(handle)
}

fn remove(slf: &Bound<'_, Loop>, fd: &Bound<'_, PyAny>, side: Side) -> PyResult<bool> {
    let fd = fileno(fd)?;
    refuse_transport(slf, fd)?;
    if slf.get().core(slf.py()).poller.is_none() {
        return Ok(false);
    }
    let before = exchange(&mut slf.get().core(slf.py()), fd, side, None)?;
    let found = before.is_some();
    cancel(slf.py(), before);
    Ok(found)
}

/// An event for it may be in the queue already.
fn cancel(py: Python<'_>, handle: Option<Handle>) {
    if let Some(handle) = handle {
        handle.cancel(py);
    }
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
