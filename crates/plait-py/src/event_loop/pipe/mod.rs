//! One direction of bytes over a descriptor that a Python object owns: a
//! pipe, a terminal, a socket used as a pipe.
//!
//! The states of either end, in the order that it passes them:
//!
//! | state | set by | then |
//! |---|---|---|
//! | made | `new` | `begin` is queued |
//! | open | `begin` tells the protocol | the reader reads unless paused |
//! | closing | `close`, `write_eof`, the end of the input | what was written goes out |
//! | ending | `abort`, an error, the last byte written | `end` is queued |
//! | ended | `end` tells the protocol, closes the pipe | nothing happens any more |
//!
//! A connection (`transport`) has two directions that end at different times;
//! here the end of the one is the end of all, and what the protocol raises is
//! reported without ending it, as in asyncio.

mod reader;
mod writer;

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use plait_sys::descriptor::duplicate;
use plait_sys::epoll::Interest;
use pyo3::PyClass;
use pyo3::call::PyCallArgs;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyDict;

pub(super) use self::reader::ReadPipeTransport;
pub(super) use self::writer::WritePipeTransport;
use super::core::{Core, Loop, Owner, Ready};
use super::endpoint::Endpoint;
use super::transport::logger;
use crate::error::Error;
use crate::hot::cell::GilCell;
use crate::hot::context;

/// What both ends have.
pub(super) struct Links {
    event_loop: Py<Loop>,
    extra: Py<PyDict>,
    /// What the protocol's methods run in.
    context: Py<PyAny>,
    life: GilCell<Life>,
}

/// How far an end is.
struct Life {
    fd: RawFd,
    /// `fd`, if it is ours: see `start`.
    own: Option<OwnedFd>,
    /// None once it has ended.
    pipe: Option<Py<PyAny>>,
    protocol: Option<Py<PyAny>>,
    /// Set when the protocol has been told of the pipe.
    waiter: Option<Py<PyAny>>,
    /// What ended it.
    error: Option<Py<PyAny>>,
    open: bool,
    closing: bool,
    ending: bool,
}

impl Links {
    fn new(
        event_loop: Py<Loop>,
        pipe: &Bound<'_, PyAny>,
        protocol: Py<PyAny>,
        waiter: Option<Py<PyAny>>,
        extra: Option<Py<PyDict>>,
    ) -> PyResult<Self> {
        let py = pipe.py();
        let life = Life {
            fd: pipe.call_method0("fileno")?.extract()?,
            own: None,
            pipe: Some(pipe.clone().unbind()),
            protocol: Some(protocol),
            waiter,
            error: None,
            open: false,
            closing: false,
            ending: false,
        };
        Ok(Self {
            event_loop,
            extra: extra.unwrap_or_else(|| PyDict::new(py).unbind()),
            context: context::copy_current(py)?,
            life: GilCell::new(life),
        })
    }

    fn fd(&self, py: Python<'_>) -> RawFd {
        self.life.borrow(py).fd
    }

    fn is_closing(&self, py: Python<'_>) -> bool {
        self.life.borrow(py).closing
    }

    fn protocol(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.life.borrow(py).protocol.as_ref().map(|protocol| protocol.clone_ref(py))
    }

    fn set_protocol(&self, py: Python<'_>, protocol: Py<PyAny>) {
        let before = self.life.borrow(py).protocol.replace(protocol);
        drop(before);
    }

    fn get_extra_info(
        &self,
        py: Python<'_>,
        name: &Bound<'_, PyAny>,
        default: Option<Py<PyAny>>,
    ) -> PyResult<Option<Py<PyAny>>> {
        Ok(self.extra.bind(py).get_item(name)?.map(Bound::unbind).or(default))
    }

    /// `closed`, or the state and the descriptor.
    fn describe(&self, py: Python<'_>) -> String {
        let life = self.life.borrow(py);
        match (&life.pipe, life.closing) {
            (None, _) => "closed".into(),
            (Some(_), true) => format!("closing fd={}", life.fd),
            (Some(_), false) => format!("open fd={}", life.fd),
        }
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.event_loop)?;
        visit.call(&self.extra)?;
        visit.call(&self.context)?;
        let Some(life) = self.life.visit(visit) else { return Ok(()) };
        for object in [&life.pipe, &life.protocol, &life.waiter, &life.error] {
            visit.call(object)?;
        }
        Ok(())
    }

    fn clear(&self, py: Python<'_>) {
        let mut life = self.life.borrow(py);
        let held = (life.pipe.take(), life.protocol.take(), life.waiter.take(), life.error.take());
        drop(life);
        drop(held);
    }
}

/// What both ends do, in the same way.
pub(super) trait PipeEnd: PyClass {
    fn links<'a>(slf: &'a Bound<'_, Self>) -> &'a Links;

    fn endpoint(slf: Py<Self>) -> Endpoint;

    /// What the kernel is to be asked for.
    fn interest(slf: &Bound<'_, Self>) -> Interest;

    /// Reads or writes, if that is still wanted: the kernel may have said so
    /// before a pause or a close.
    fn on_ready(slf: &Bound<'_, Self>, readable: bool, writable: bool) -> PyResult<()>;

    /// Tells the protocol of the end, and closes the pipe.
    fn end(slf: &Bound<'_, Self>) -> PyResult<()>;

    /// Drops what waits to be written.
    fn discard(_slf: &Bound<'_, Self>) {}

    /// Neither reads nor writes any more: the pipe is the parent's, and this
    /// is a process forked from it.
    fn abandon(slf: &Bound<'_, Self>) {
        {
            let mut life = Self::links(slf).life.borrow(slf.py());
            life.closing = true;
            life.ending = true;
        }
        Self::discard(slf);
    }

    fn queue(slf: &Bound<'_, Self>, item: impl FnOnce(Endpoint) -> Ready) -> PyResult<()> {
        let endpoint = Self::endpoint(slf.clone().unbind());
        Self::links(slf).event_loop.get().core(slf.py()).push(item(endpoint))
    }

    /// Takes the descriptor over and has the protocol told in the next turn.
    fn start(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let links = Self::links(slf);
        let fd = links.fd(py);
        // Both directions of a terminal can be given to transports, by one
        // number: the second then watches a number of its own.
        let taken = {
            let core = links.event_loop.get().core(py);
            matches!(core.fds.get(fd), Some(Owner::Transport(_)))
        };
        let own = if taken { Some(duplicate(fd).map_err(Error::from)?) } else { None };
        let fd = own.as_ref().map_or(fd, AsRawFd::as_raw_fd);
        {
            let mut life = links.life.borrow(py);
            life.fd = fd;
            life.own = own;
        }
        let owner = Owner::Transport(Self::endpoint(slf.clone().unbind()));
        let before = links.event_loop.get().core(py).fds.insert(fd, owner).map_err(Error::from)?;
        drop(before);
        Self::queue(slf, Ready::Begin)
    }

    /// Whether the descriptor is still this pipe's: the pipe may have been
    /// closed behind our back, and its number be another's by now.
    fn owns(slf: &Bound<'_, Self>, core: &Core, fd: RawFd) -> bool {
        matches!(core.fds.get(fd), Some(Owner::Transport(owner)) if owner.is(slf.as_any()))
    }

    /// Tells the kernel what this end waits for now.
    fn watch(slf: &Bound<'_, Self>) -> PyResult<()> {
        let links = Self::links(slf);
        let (fd, interest) = (links.fd(slf.py()), Self::interest(slf));
        let mut core = links.event_loop.get().core(slf.py());
        let core = &mut *core;
        // A closed loop watches nothing any more.
        if let Some(poller) = core.poller.clone()
            && Self::owns(slf, core, fd)
        {
            core.fds.watch(&poller.epoll, fd, interest).map_err(Error::from)?;
        }
        Ok(())
    }

    /// Calls the protocol's `method`; what it raises is reported.
    fn tell<'py>(slf: &Bound<'py, Self>, method: &str, args: impl PyCallArgs<'py>) -> PyResult<()> {
        let py = slf.py();
        let links = Self::links(slf);
        let Some(protocol) = links.protocol(py) else { return Ok(()) };
        let told =
            context::enter(py, &links.context, || protocol.bind(py).getattr(method)?.call1(args).map(drop));
        match told {
            Ok(()) => Ok(()),
            Err(error) => {
                Self::report(slf, error, &format!("Exception in callback {method}() of the protocol"))
            }
        }
    }

    fn report(slf: &Bound<'_, Self>, error: PyErr, message: &str) -> PyResult<()> {
        let links = Self::links(slf);
        let protocol = links.protocol(slf.py());
        Loop::report(links.event_loop.bind(slf.py()), error, |context| {
            context.set_item("message", message)?;
            context.set_item("transport", slf)?;
            context.set_item("protocol", protocol)
        })
    }

    /// Notes in asyncio's log, in debug mode, what happens to this end.
    fn note(slf: &Bound<'_, Self>, level: &str, what: &str) -> PyResult<()> {
        if Self::links(slf).event_loop.get().debug() {
            logger(slf.py())?.call_method1(level, (format!("%r {what}"), slf))?;
        }
        Ok(())
    }

    /// Tells the protocol of the pipe, then starts.
    fn begin(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let told = Self::tell(slf, "connection_made", (slf,));
        let waiter = {
            let mut life = Self::links(slf).life.borrow(py);
            life.open = true;
            life.waiter.take()
        };
        // epoll refuses some devices. asyncio reports that, and has a pipe
        // that is never ready.
        let watched = match Self::watch(slf) {
            Ok(()) => Ok(()),
            Err(error) => Self::report(slf, error, "Exception in callback: the pipe cannot be watched"),
        };
        if let Some(waiter) = waiter
            && !waiter.call_method0(py, "done")?.is_truthy(py)?
        {
            waiter.call_method1(py, "set_result", (py.None(),))?;
        }
        told.and(watched)
    }

    /// An error that ends the pipe. An `expected` one is only the protocol's
    /// to hear of (in `connection_lost`), others are also reported.
    fn fail(slf: &Bound<'_, Self>, error: PyErr, message: &str, expected: bool) -> PyResult<()> {
        let py = slf.py();
        let value = error.value(py).clone();
        let reported = if !expected {
            Self::report(slf, error, message)
        } else if Self::links(slf).event_loop.get().debug() {
            let keywords = PyDict::new(py);
            keywords.set_item("exc_info", &value)?;
            let args = ("%r: %s", slf, message);
            logger(py)?.call_method("debug", args, Some(&keywords)).map(drop)
        } else {
            Ok(())
        };
        Self::finish(slf, Some(value.into_any().unbind())).and(reported)
    }

    /// Has the protocol told, in the next turn, that this is the end.
    fn finish(slf: &Bound<'_, Self>, error: Option<Py<PyAny>>) -> PyResult<()> {
        let before = {
            let mut life = Self::links(slf).life.borrow(slf.py());
            if life.ending || life.pipe.is_none() {
                return Ok(());
            }
            life.closing = true;
            life.ending = true;
            std::mem::replace(&mut life.error, error)
        };
        drop(before);
        Self::watch(slf)?;
        Self::queue(slf, Ready::End)
    }

    /// Lets go of the descriptor, tells the protocol, closes the pipe.
    fn lose(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let links = Self::links(slf);
        let (fd, error) = {
            let mut life = links.life.borrow(py);
            life.open = false;
            (life.fd, life.error.as_ref().map(|error| error.clone_ref(py)))
        };
        let owner = {
            let mut core = links.event_loop.get().core(py);
            let core = &mut *core;
            match core.poller.clone() {
                Some(poller) if Self::owns(slf, core, fd) => {
                    core.fds.remove(&poller.epoll, fd).map_err(Error::from)?
                }
                _ => None,
            }
        };
        drop(owner);
        let told = Self::tell(slf, "connection_lost", (error,));
        let (pipe, own) = {
            let mut life = links.life.borrow(py);
            (life.pipe.take(), life.own.take())
        };
        drop(own);
        let closed = match pipe {
            Some(pipe) => pipe.call_method0(py, "close").map(drop),
            None => Ok(()),
        };
        links.clear(py);
        told.and(closed)
    }
}
