//! What is on its way to a worker.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::image::Image;
use super::packer::Parcel;
use super::slot::{Fate, Handed, Slot};
use super::task::Task;
use super::wire;

/// A worker that knows fewer images than this may keep them all.
pub(crate) const FIRST_SWEEP: usize = 256;

pub(super) enum Outgoing {
    Image(Arc<Image>),
    /// The message of the handed task of this sequence.
    Task(u64),
    Order(Vec<u8>),
}

impl<T> Slot<T> {
    /// Where the task of this sequence stands, if not all of its message is
    /// sent.
    fn place_of(&self, sequence: u64) -> Option<usize> {
        self.outgoing.iter().position(|next| matches!(next, Outgoing::Task(unsent) if *unsent == sequence))
    }

    /// Whether not all of this task's message is sent.
    pub(super) fn is_unsent(&self, sequence: u64) -> bool {
        self.place_of(sequence).is_some()
    }

    /// Queues the message of the handed task of this sequence.
    pub(super) fn send_task(&mut self, sequence: u64) {
        self.outgoing.push_back(Outgoing::Task(sequence));
    }

    /// Sees to it that the worker, which counts the messages of tasks, gets one
    /// to skip for this one, which was taken back: what is left of it, or a
    /// short one in its place.
    pub(super) fn send_to_skip(&mut self, sequence: u64, task: &mut Task<T>, fate: Fate) {
        let Some(at) = self.place_of(sequence) else { return };
        let message = match (at == 0 && self.done > 0, fate) {
            (false, _) => wire::message(wire::TASK, task.id, 0, &[]),
            (true, Fate::Another) => task.parcel.message.clone(),
            (true, Fate::Nobody) => std::mem::take(&mut task.parcel.message),
        };
        self.outgoing[at] = Outgoing::Order(message);
    }

    /// Whether something is still to be sent to it.
    pub(crate) fn has_unsent(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Tells it which of its results are not needed any more.
    pub(crate) fn free(&mut self) {
        if let Some(free) = self.results.as_ref().and_then(|results| results.done()) {
            self.outgoing.push_back(Outgoing::Order(free));
        }
    }

    /// Queues the images that it has not been sent.
    pub(crate) fn tell(&mut self, needs: &[Arc<Image>]) {
        for image in needs {
            if let Entry::Vacant(place) = self.told.entry(image.id()) {
                place.insert(Arc::downgrade(image));
                image.blocks().iter().for_each(|block| self.kept.add(block));
                self.outgoing.push_back(Outgoing::Image(Arc::clone(image)));
                self.tell(image.needs());
            }
        }
        if self.told.len() >= self.sweep_at {
            self.sweep();
        }
    }

    /// Has the worker forget the images that are gone here.
    fn sweep(&mut self) {
        let Self { told, outgoing, .. } = self;
        told.retain(|&id, image| {
            let lives = image.strong_count() > 0;
            if !lives {
                outgoing.push_back(Outgoing::Order(wire::message(wire::IMAGE, id, 0, &[])));
            }
            lives
        });
        self.sweep_at = 2 * told.len() + FIRST_SWEEP;
    }

    /// Has the worker forget these images, if it was told of them.
    pub(crate) fn forget(&mut self, images: &[u64]) {
        for image in images {
            if self.told.remove(image).is_some() {
                self.order(wire::message(wire::IMAGE, *image, 0, &[]));
            }
        }
        self.pump();
    }

    /// As [`order`](Self::order), of what it keeps until it says otherwise.
    pub(crate) fn order_to_keep(&mut self, Parcel { message, blocks }: &Parcel) {
        blocks.iter().for_each(|block| self.kept.add(block));
        self.order(message.clone());
    }

    pub(crate) fn order(&mut self, message: Vec<u8>) {
        self.outgoing.push_back(Outgoing::Order(message));
    }

    /// Sends what there is room for.
    pub(crate) fn pump(&mut self) {
        let Self { outgoing, handed, requests, done, .. } = self;
        while let Some(message) = outgoing.front().map(|next| message_of(next, handed)) {
            match requests.push(message, done) {
                Ok(true) => {
                    outgoing.pop_front();
                    *done = 0;
                }
                Ok(false) => return,
                Err(_) => return self.condemn(true),
            }
        }
    }

    /// Whether [`pump`](Self::pump) would get on.
    pub(crate) fn may_pump(&mut self) -> bool {
        let Self { outgoing, handed, requests, done, .. } = self;
        outgoing.front().is_some_and(|next| requests.may_go_on(message_of(next, handed), *done))
    }

    /// Sends it nothing more.
    pub(crate) fn hush(&mut self) {
        self.outgoing.clear();
        self.done = 0;
    }
}

fn message_of<'a, T>(next: &'a Outgoing, handed: &'a VecDeque<Handed<T>>) -> &'a [u8] {
    match next {
        Outgoing::Image(image) => image.message(),
        Outgoing::Order(message) => message,
        Outgoing::Task(sequence) => {
            // Nearly always the last; one that is taken away leaves an order.
            let handed = handed.iter().rev().find(|handed| handed.sequence == *sequence);
            debug_assert!(handed.is_some(), "what is not sent yet is still there");
            handed.map_or(&[], |handed| &handed.task.parcel.message)
        }
    }
}
