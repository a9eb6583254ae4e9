//! What a datagram transport remembers.

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::RawFd;

use plait_sys::datagram::Address;
use plait_sys::epoll::Interest;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::super::transport::state::Limits;
use super::address::Peers;

/// Where a datagram goes.
pub(super) enum Destination {
    /// Whom the socket is connected to.
    Peer,
    /// Another.
    Address(Address),
    /// What the socket module is to make sense of.
    Python(Py<PyAny>),
}

/// A datagram that waits.
pub(super) struct Queued {
    pub(super) data: Py<PyBytes>,
    pub(super) to: Destination,
}

/// Objects on their way out of the lock.
pub(super) struct Released {
    pub(super) sock: Option<Py<PyAny>>,
    _protocol: Option<Py<PyAny>>,
    _received: Option<Py<PyAny>>,
    _waiter: Option<Py<PyAny>>,
    _error: Option<Py<PyAny>>,
    _queue: VecDeque<Queued>,
    _peers: Peers,
}

#[expect(clippy::struct_excessive_bools, reason = "independent flags, each asyncio's own")]
pub(super) struct State {
    pub(super) fd: RawFd,
    pub(super) sock: Option<Py<PyAny>>,
    pub(super) protocol: Option<Py<PyAny>>,
    /// The protocol's `datagram_received`, once looked up.
    pub(super) received: Option<Py<PyAny>>,
    /// Set when the protocol has been told of the transport.
    pub(super) waiter: Option<Py<PyAny>>,
    /// What ended the transport.
    pub(super) error: Option<Py<PyAny>>,
    pub(super) peers: Peers,
    pub(super) queue: VecDeque<Queued>,
    /// The size of the queue, for flow control.
    pub(super) queued: usize,
    pub(super) limits: Limits,
    pub(super) protocol_paused: bool,
    /// `begin` has run.
    pub(super) open: bool,
    pub(super) paused: bool,
    pub(super) closing: bool,
    /// It came along from the parent of this process.
    pub(super) inherited: bool,
    /// From the loss of the transport on: 1, and each datagram after it.
    pub(super) lost: u32,
}

impl State {
    pub(super) fn new(fd: RawFd, sock: Py<PyAny>, protocol: Py<PyAny>, waiter: Option<Py<PyAny>>) -> Self {
        Self {
            fd,
            sock: Some(sock),
            protocol: Some(protocol),
            received: None,
            waiter,
            error: None,
            peers: Peers::default(),
            queue: VecDeque::new(),
            queued: 0,
            limits: Limits { low: 16 * 1024, high: 64 * 1024 },
            protocol_paused: false,
            open: false,
            paused: false,
            closing: false,
            inherited: false,
            lost: 0,
        }
    }

    /// What the kernel is to be asked for.
    pub(super) fn interest(&self) -> Interest {
        Interest {
            read: self.open && !self.paused && !self.closing,
            write: !self.queue.is_empty() && self.lost == 0,
        }
    }

    /// Whether the protocol must be told to stop sending; notes that it was.
    pub(super) fn becomes_full(&mut self) -> bool {
        let full = !self.protocol_paused && self.queued > self.limits.high;
        self.protocol_paused |= full;
        full
    }

    /// Whether the protocol can be told to go on; notes that it was.
    pub(super) fn becomes_free(&mut self) -> bool {
        let free = self.protocol_paused && self.queued <= self.limits.low;
        self.protocol_paused &= !free;
        free
    }

    /// Gives up what waits; it is to be dropped outside the lock.
    pub(super) fn clear_queue(&mut self) -> VecDeque<Queued> {
        self.queued = 0;
        std::mem::take(&mut self.queue)
    }

    /// Lets go of every object, to be dropped outside the lock.
    pub(super) fn release(&mut self) -> Released {
        Released {
            sock: self.sock.take(),
            _protocol: self.protocol.take(),
            _received: self.received.take(),
            _waiter: self.waiter.take(),
            _error: self.error.take(),
            _queue: self.clear_queue(),
            _peers: std::mem::take(&mut self.peers),
        }
    }

    /// The known peers are left out: tuples of text and numbers, made here.
    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        for object in [&self.sock, &self.protocol, &self.received, &self.waiter, &self.error] {
            visit.call(object)?;
        }
        for queued in &self.queue {
            if let Destination::Python(address) = &queued.to {
                visit.call(address)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.sock.is_none() {
            return f.write_str("closed");
        }
        if self.closing {
            f.write_str("closing ")?;
        }
        let interest = self.interest();
        let read = if interest.read { "polling" } else { "idle" };
        let write = if interest.write { "polling" } else { "idle" };
        write!(f, "fd={} read={read} write=<{write}, bufsize={}>", self.fd, self.queued)
    }
}
