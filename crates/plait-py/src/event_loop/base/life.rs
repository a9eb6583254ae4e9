//! What a transport remembers, whatever it carries.

use std::os::fd::{OwnedFd, RawFd};

use plait_sys::epoll::Interest;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::super::core::Loop;
use super::names::Names;
use super::receiver::Receiver;
use crate::hot::{context, socket};

/// After so many writes to a lost transport asyncio says so in the log.
const WRITES_TO_LOST: u32 = 5;

/// What a transport is made with and keeps.
pub(in super::super) struct Base {
    pub(in super::super) event_loop: Py<Loop>,
    extra: Py<PyDict>,
    /// What the protocol's methods run in.
    pub(in super::super) context: Py<PyAny>,
    /// Of a socket.
    names: Option<Names>,
    /// True. In Python 3.11 the collector may see an object before its fields
    /// are written: they are zero while its dictionary is made, and that is an
    /// allocation.
    whole: bool,
}

impl Base {
    /// What the transport over a pipe is made with.
    pub(in super::super) fn of_pipe(
        py: Python<'_>,
        event_loop: Py<Loop>,
        extra: Option<Py<PyDict>>,
    ) -> PyResult<Self> {
        let extra = extra.unwrap_or_else(|| PyDict::new(py).unbind());
        Ok(Self { event_loop, extra, context: context::copy_current(py)?, names: None, whole: true })
    }

    /// What the transport over `sock`, which has the number `fd`, is made with.
    pub(in super::super) fn of_socket(
        sock: &Bound<'_, PyAny>,
        fd: RawFd,
        event_loop: Py<Loop>,
        extra: Option<Py<PyDict>>,
        context: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let py = sock.py();
        // Ours to add to.
        let extra = extra.map_or_else(|| Ok(PyDict::new(py)), |extra| extra.bind(py).copy())?;
        let names = Some(Names::ask(sock, fd, &extra)?);
        let context = context.map_or_else(|| context::copy_current(py), Ok)?;
        Ok(Self { event_loop, extra: extra.unbind(), context, names, whole: true })
    }

    /// What is known of the transport under that name.
    pub(in super::super) fn info<'py>(
        &self,
        name: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let extra = self.extra.bind(name.py());
        if let Some(known) = extra.get_item(name)? {
            return Ok(Some(known));
        }
        let made = self.names.as_ref().map_or(Ok(None), |names| names.get(name))?;
        if let Some(made) = &made {
            extra.set_item(name, made)?;
        }
        Ok(made)
    }

    /// Whether there are fields to look at: what the collector asks first.
    pub(in super::super) fn is_whole(&self) -> bool {
        self.whole
    }

    pub(in super::super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.event_loop)?;
        visit.call(&self.extra)?;
        visit.call(&self.context)?;
        self.names.as_ref().map_or(Ok(()), |names| names.traverse(visit))
    }
}

/// How far a transport is.
#[expect(clippy::struct_excessive_bools, reason = "independent flags, each asyncio's own")]
pub(in super::super) struct Life {
    /// The number that is watched.
    pub(in super::super) fd: RawFd,
    /// `file` is a socket that says what its number is now.
    knows_number: bool,
    /// `fd`, where it is the transport's own and not the file's.
    pub(in super::super) own: Option<OwnedFd>,
    /// The socket or pipe; none once the transport has ended.
    pub(in super::super) file: Option<Py<PyAny>>,
    pub(in super::super) protocol: Option<Py<PyAny>>,
    /// How the protocol takes input.
    pub(in super::super) receiver: Receiver,
    /// Set when the protocol has been told of the transport.
    pub(in super::super) waiter: Option<Py<PyAny>>,
    /// What ended the transport.
    pub(in super::super) error: Option<Py<PyAny>>,
    /// `begin` has run, and `end` has not.
    pub(in super::super) open: bool,
    /// Nothing is to be read now.
    pub(in super::super) paused: bool,
    pub(in super::super) closing: bool,
    pub(in super::super) lost: bool,
    /// This is a process forked from the one that has the transport.
    pub(in super::super) inherited: bool,
    /// Writes that came too late, as asyncio counts them.
    pub(in super::super) late: u32,
}

/// Objects on their way out of the lock.
pub(in super::super) type Gone = ([Option<Py<PyAny>>; 4], Receiver);

impl Life {
    /// The life of a transport over `file`, which has a descriptor.
    pub(in super::super) fn new(
        file: &Bound<'_, PyAny>,
        protocol: Py<PyAny>,
        waiter: Option<Py<PyAny>>,
        late: u32,
    ) -> PyResult<Self> {
        let fd = file.call_method0(intern!(file.py(), "fileno"))?.extract()?;
        Ok(Self {
            fd,
            knows_number: socket::has_number(file, fd)?,
            own: None,
            file: Some(file.clone().unbind()),
            protocol: Some(protocol),
            receiver: Receiver::Unknown,
            waiter,
            error: None,
            open: false,
            paused: false,
            closing: false,
            lost: false,
            inherited: false,
            late,
        })
    }

    /// The number to read from and write to: -1, which the kernel refuses with
    /// EBADF, once the socket was closed behind our back. What has the number
    /// that was watched is somebody else's then.
    pub(in super::super) fn number(&self, py: Python<'_>) -> RawFd {
        match &self.file {
            Some(_) if !self.knows_number || self.own.is_some() => self.fd,
            Some(sock) => socket::number(sock.bind(py)).unwrap_or(-1),
            None => -1,
        }
    }

    /// Whether there is a file that nobody has closed. That of a parent process
    /// is not ours to close.
    pub(in super::super) fn is_left(&self) -> bool {
        self.file.is_some() && !self.inherited
    }

    /// Whether input is wanted.
    pub(in super::super) fn reads(&self) -> bool {
        self.open && !self.paused && !self.closing
    }

    /// Counts a write that came too late; whether there were so many by now
    /// that the log says so.
    pub(in super::super) fn counts_late(&mut self) -> bool {
        let say_so = self.late >= WRITES_TO_LOST;
        self.late = self.late.saturating_add(1);
        say_so
    }

    /// Whether what was sent just now was the last of a transport that
    /// closes; notes that it was.
    pub(in super::super) fn sent_last(&mut self) -> bool {
        let last = self.closing && !self.lost;
        self.lost |= last;
        last
    }

    /// Lets go of every object, to be dropped outside the lock.
    pub(in super::super) fn release(&mut self) -> Gone {
        let objects = [self.file.take(), self.protocol.take(), self.waiter.take(), self.error.take()];
        (objects, self.receiver.forget())
    }

    pub(in super::super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        for object in [&self.file, &self.protocol, &self.waiter, &self.error] {
            visit.call(object)?;
        }
        self.receiver.traverse(visit)
    }

    /// For the `repr` of a pipe: how far it is, its descriptor, and unless it
    /// has ended what else there is to say.
    pub(in super::super) fn describe(&self, more: &str) -> String {
        match (&self.file, self.closing) {
            (None, _) => format!("closed fd={}", self.fd),
            (Some(_), true) => format!("closing fd={} {more}", self.fd),
            (Some(_), false) => format!("open fd={} {more}", self.fd),
        }
    }

    /// As `describe`, for what reads and writes, which asyncio does not call
    /// open.
    pub(in super::super) fn describe_both(&self, interest: Interest, waiting: usize) -> String {
        let (read, write) = (word(interest.read), word(interest.write));
        let text = self.describe(&format!("read={read} write=<{write}, bufsize={waiting}>"));
        text.trim_start_matches("open ").into()
    }
}

/// What asyncio calls a descriptor that is watched, or not.
pub(in super::super) fn word(polling: bool) -> &'static str {
    if polling { "polling" } else { "idle" }
}
