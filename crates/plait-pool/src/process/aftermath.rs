//! What is left to do when the lock of the state has been let go of.

use std::sync::Arc;

use plait_shm::arena::Block;

use super::task::Task;
use super::{End, Ticket};

pub(crate) struct Aftermath<T> {
    pub(crate) ended: Vec<(T, End, u32)>,
    pub(crate) cancelled: Vec<T>,
    pub(crate) dropped: Vec<Task<T>>,
    /// What nobody needs any more: to give memory back takes a while.
    pub(crate) blocks: Vec<Arc<Block>>,
}

impl<T: Ticket> Aftermath<T> {
    pub(crate) fn new() -> Self {
        Self { ended: Vec::new(), cancelled: Vec::new(), dropped: Vec::new(), blocks: Vec::new() }
    }

    pub(crate) fn run(self) {
        drop((self.dropped, self.blocks));
        for (ticket, end, attempts) in self.ended {
            ticket.finish(end, attempts);
        }
        for ticket in self.cancelled {
            ticket.cancel();
        }
    }
}
