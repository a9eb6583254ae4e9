//! A worker that runs several tasks at once: which they are, and which of them
//! are to stop.

use std::collections::{HashMap, HashSet, VecDeque};

use plait_shm::CLAIMS;
use plait_sys::clock::Instant;

use super::Result;
use super::child::Worker;
use super::wire;

/// So many tasks are begun before it is said: some of what may be handed.
const SAY_EVERY: usize = CLAIMS / 4;

/// The tasks that run at this moment.
#[derive(Default)]
pub(super) struct Several {
    begun: HashMap<u64, Instant>,
    asked: HashSet<u64>,
    /// Of these, those that have not been told.
    fresh: Vec<u64>,
    /// How many it has begun since it said so.
    unsaid: usize,
    /// What has been taken off the ring, to be acted upon in its turn.
    inbox: VecDeque<Vec<u8>>,
}

impl Several {
    pub(super) fn begin(&mut self, task: u64, now: Instant) {
        self.begun.insert(task, now);
        self.unsaid += 1;
    }

    pub(super) fn begun(&self, task: u64) -> Option<Instant> {
        self.begun.get(&task).copied()
    }

    /// A task is to stop; one that has ended is not.
    fn ask(&mut self, task: u64) {
        if self.begun.contains_key(&task) && self.asked.insert(task) {
            self.fresh.push(task);
        }
    }

    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        self.inbox.pop_front()
    }
}

impl Worker {
    /// From here on it runs several tasks at once.
    pub fn run_several(&mut self) {
        self.several = Some(Several::default());
    }

    /// Whether it does.
    #[must_use]
    pub fn runs_several(&self) -> bool {
        self.several.is_some()
    }

    /// Looks, while a task has the thread, for what is to be stopped.
    ///
    /// # Errors
    /// What the parent wrote is garbage: leave.
    pub fn look_for_stops(&mut self) -> Result<()> {
        let Some(several) = &mut self.several else { return Ok(()) };
        while let Some(message) = self.link.poll()? {
            match wire::parse(&message) {
                Some(([wire::STOP, task, _], _)) => several.ask(task),
                _ => several.inbox.push_back(message),
            }
        }
        Ok(())
    }

    /// `task` is to stop.
    pub(super) fn ask(&mut self, task: u64) {
        if let Some(several) = &mut self.several {
            several.ask(task);
        }
    }

    /// The tasks that are to stop, those that were returned before aside.
    pub fn take_stops(&mut self) -> Vec<u64> {
        self.several.as_mut().map(|several| std::mem::take(&mut several.fresh)).unwrap_or_default()
    }

    /// What to send now and then about the tasks that it has begun.
    pub fn began(&mut self) -> Option<Vec<u8>> {
        let several = self.several.as_mut().filter(|several| several.unsaid >= SAY_EVERY)?;
        several.unsaid = 0;
        Some(wire::message(wire::BEGAN, 0, 0, &[]))
    }

    /// Whether `task` is to stop.
    #[must_use]
    pub fn is_asked(&self, task: u64) -> bool {
        self.several.as_ref().is_some_and(|several| several.asked.contains(&task))
    }

    /// `task` has ended. Whether it was to stop.
    pub fn end(&mut self, task: u64) -> bool {
        self.several.as_mut().is_some_and(|several| {
            several.begun.remove(&task);
            // It may be tried again here, under the same number.
            several.fresh.retain(|&asked| asked != task);
            several.asked.remove(&task)
        })
    }

    /// Announces that it is about to sleep in its event loop. False, and it is
    /// not to, if there is something to do for it. One that begins nothing
    /// more heeds stops only: see [`look_for_stops`](Self::look_for_stops).
    #[must_use]
    pub fn announce_sleep(&self, begins_more: bool) -> bool {
        let idle = |several: &Several| several.fresh.is_empty() && (!begins_more || several.inbox.is_empty());
        self.several.as_ref().is_none_or(idle) && self.link.announce_sleep()
    }

    /// It is awake again.
    pub fn retract_sleep(&self) {
        self.link.retract_sleep();
    }
}

#[cfg(test)]
#[path = "several_tests.rs"]
mod tests;
