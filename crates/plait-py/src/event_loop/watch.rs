//! `add_reader`, `add_writer` and their opposites: one callback per
//! direction of a descriptor that somebody else owns, or one future of a
//! `sock_*` call that waits for it.
//!
//! A future is woken once, so the kernel is asked for one event. Its entry and
//! an empty `Watch` stay behind: the next wait on the same socket is one system
//! call, and a silent entry wakes nobody, whatever becomes of the number.

use std::os::fd::RawFd;

use plait_loop::fds::FdTable;
use plait_sys::epoll::{Event, Interest};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyTuple};

use super::core::{Core, Loop, Owner, Poller, Ready};
use crate::error::Error;
use crate::hot::handle::Handle;
use crate::hot::method::Call;

/// Who hears that a descriptor is ready.
pub(super) enum Listener {
    /// A callback, each time.
    Handle {
        handle: Handle,
        /// The object that has the descriptor, if it was not given by its
        /// number: it can be named still when it is closed.
        object: Option<Py<PyAny>>,
    },
    /// A future, once.
    Waiter(Py<PyAny>),
}

/// The listeners of one descriptor.
#[derive(Default)]
pub(super) struct Watch {
    reader: Option<Listener>,
    writer: Option<Listener>,
}

#[derive(Clone, Copy)]
pub(super) enum Side {
    Reader,
    Writer,
}

impl Watch {
    fn side(&mut self, side: Side) -> &mut Option<Listener> {
        match side {
            Side::Reader => &mut self.reader,
            Side::Writer => &mut self.writer,
        }
    }

    fn interest(&self) -> Interest {
        Interest { read: self.reader.is_some(), write: self.writer.is_some() }
    }

    /// Whether only futures listen.
    fn once(&self) -> bool {
        ![&self.reader, &self.writer].iter().any(|side| matches!(side, Some(Listener::Handle { .. })))
    }

    /// Whether `object` was given for the descriptor.
    fn names(&self, object: &Bound<'_, PyAny>) -> bool {
        [&self.reader, &self.writer].into_iter().flatten().any(
            |listener| matches!(listener, Listener::Handle { object: Some(named), .. } if named.is(object)),
        )
    }

    /// Those whom `event` is for. Futures leave.
    fn woken(&mut self, py: Python<'_>, event: &Event) -> [Option<Listener>; 2] {
        let pick = |ready: bool, side: &mut Option<Listener>| match side {
            Some(Listener::Handle { handle, .. }) if ready => {
                Some(Listener::Handle { handle: handle.clone_ref(py), object: None })
            }
            Some(Listener::Waiter(_)) if ready => side.take(),
            _ => None,
        };
        [pick(event.readable, &mut self.reader), pick(event.writable, &mut self.writer)]
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        for side in [&self.reader, &self.writer].into_iter().flatten() {
            match side {
                Listener::Handle { handle, object } => {
                    handle.traverse(visit)?;
                    visit.call(object)?;
                }
                Listener::Waiter(future) => visit.call(future)?,
            }
        }
        Ok(())
    }
}

/// Queues the callbacks that `event` of a watched descriptor is for; adds the
/// futures to `woken`.
pub(super) fn on_event(
    py: Python<'_>,
    core: &mut Core,
    poller: &Poller,
    event: &Event,
    woken: &mut Vec<Py<PyAny>>,
) -> Result<(), Error> {
    let fd = FdTable::<Owner>::fd(event.token);
    let spent = core.fds.fired(event.token);
    let Some(Owner::Watch(watch)) = core.fds.get_mut(fd) else { return Ok(()) };
    let before = watch.interest();
    for listener in watch.woken(py, event).into_iter().flatten() {
        match listener {
            Listener::Handle { handle, .. } => core.ready.push_back(Ready::Call(handle)),
            Listener::Waiter(future) => woken.push(future),
        }
    }
    let interest = watch.interest();
    // What one event leaves of two directions is watched on; what a callback
    // shared with a future is the callback's alone now.
    if (spent && !interest.is_none()) || (!spent && interest != before) {
        tell(core, poller, fd)?;
    }
    Ok(())
}

/// Tells the kernel what the listeners of `fd` wait for.
fn tell(core: &mut Core, poller: &Poller, fd: RawFd) -> Result<(), Error> {
    let Some(Owner::Watch(watch)) = core.fds.get(fd) else { return Ok(()) };
    let (interest, once) = (watch.interest(), watch.once());
    if once && !interest.is_none() {
        core.fds.watch_once(&poller.epoll, fd, interest)?;
    } else {
        core.fds.watch(&poller.epoll, fd, interest)?;
    }
    Ok(())
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
pub(super) fn refuse_transport(slf: &Bound<'_, Loop>, fd: RawFd) -> PyResult<()> {
    let transport = match slf.get().core(slf.py()).fds.get(fd) {
        Some(Owner::Transport(endpoint)) => endpoint.object(slf.py()),
        _ => return Ok(()),
    };
    let transport = transport.repr()?;
    Err(PyRuntimeError::new_err(format!("File descriptor {fd} is used by transport {transport}")))
}

/// Puts `listener` in, or takes what is there out, and tells the kernel.
/// Returns what was there.
pub(super) fn exchange(
    core: &mut Core,
    fd: RawFd,
    side: Side,
    listener: Option<Listener>,
) -> PyResult<Option<Listener>> {
    let poller = core.poller.clone().ok_or_else(|| core.gone())?;
    if core.fds.get(fd).is_none() {
        if listener.is_none() {
            return Ok(None);
        }
        core.fds.insert(fd, Owner::Watch(Watch::default())).map_err(Error::from)?;
    }
    let Some(Owner::Watch(watch)) = core.fds.get_mut(fd) else { return Ok(None) };
    let before = std::mem::replace(watch.side(side), listener);
    let none = watch.interest().is_none();
    if let Err(error) = tell(core, &poller, fd) {
        // As if nothing had been asked. The new listener is the caller's too,
        // and an owner that is forgotten is empty: no object dies in here.
        if let Some(Owner::Watch(watch)) = core.fds.get_mut(fd) {
            *watch.side(side) = before;
            if watch.interest().is_none() {
                core.fds.remove(&poller.epoll, fd).map_err(Error::from)?;
            }
        }
        return Err(error.into());
    }
    if none {
        core.fds.remove(&poller.epoll, fd).map_err(Error::from)?;
    }
    Ok(before)
}

/// Whether it is `future` that listens.
pub(super) fn awaits(core: &mut Core, fd: RawFd, side: Side, future: &Bound<'_, PyAny>) -> bool {
    match core.fds.get_mut(fd) {
        Some(Owner::Watch(watch)) => {
            matches!(watch.side(side), Some(Listener::Waiter(waiter)) if waiter.is(future))
        }
        _ => false,
    }
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
    let before = exchange(&mut this.core(py), fd, side, Some(entry))?;
    cancel(py, before);
    Ok(handle)
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
    let before = exchange(&mut slf.get().core(slf.py()), fd, side, None)?;
    let found = before.is_some();
    cancel(slf.py(), before);
    Ok(found)
}

/// An event for it may be in the queue already. A future that lost its place
/// waits on, as in asyncio.
pub(super) fn cancel(py: Python<'_>, listener: Option<Listener>) {
    if let Some(Listener::Handle { handle, .. }) = listener {
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
