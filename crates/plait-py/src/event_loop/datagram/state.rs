//! What a datagram transport remembers.

use std::collections::VecDeque;

use plait_loop::flow::Flow;
use plait_sys::datagram::Address;
use plait_sys::epoll::Interest;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::super::base::{Gone, Life};
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
type Released = (Gone, VecDeque<Queued>, Peers);

pub(super) struct State {
    pub(super) life: Life,
    pub(super) peers: Peers,
    pub(super) queue: VecDeque<Queued>,
    /// The size of the queue, for flow control.
    pub(super) queued: usize,
    pub(super) flow: Flow,
}

impl State {
    pub(super) fn new(life: Life) -> Self {
        Self { life, peers: Peers::default(), queue: VecDeque::new(), queued: 0, flow: Flow::default() }
    }

    /// What the kernel is to be asked for.
    pub(super) fn interest(&self) -> Interest {
        Interest { read: self.life.reads(), write: !self.queue.is_empty() && !self.life.lost }
    }

    /// Gives up what waits; it is to be dropped outside the lock.
    pub(super) fn clear_queue(&mut self) -> VecDeque<Queued> {
        self.queued = 0;
        std::mem::take(&mut self.queue)
    }

    /// Lets go of every object, to be dropped outside the lock.
    pub(super) fn release(&mut self) -> Released {
        (self.life.release(), self.clear_queue(), std::mem::take(&mut self.peers))
    }

    /// The known peers are left out: tuples of text and numbers, made here.
    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.life.traverse(visit)?;
        for queued in &self.queue {
            if let Destination::Python(address) = &queued.to {
                visit.call(address)?;
            }
        }
        Ok(())
    }
}
