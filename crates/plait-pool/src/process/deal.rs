//! Who gets which task, and when it is taken back.
//!
//! First come, first served: who is idle gets the oldest task that waits, in
//! the queue or with another worker; what is left is handed ahead, one to each
//! in turn, as far as their depth goes. When the queue is empty and somebody
//! idle, what others have ahead is divided. So nobody is idle while a task
//! waits that has not begun, except for the very next task of a worker that is
//! about to begin it.
//!
//! A worker whose task takes much longer than most is late: what waits behind
//! it goes back to the queue, and it is handed nothing more until it answers.

use std::cmp::Reverse;

use plait_sys::clock::Instant;

use super::Ticket;
use super::aftermath::Aftermath;
use super::slot::{Fate, Slot};
use super::state::State;
use super::task::Task;

/// Where tasks are short, this many answers pass between two looks for who is
/// late: a look reads the clock and every worker's claim.
const LOOK_EVERY: u32 = 64;

/// What became of a task that somebody wants back.
#[derive(Debug, PartialEq, Eq)]
pub enum Withdrawn<T> {
    /// It has not begun and never will: this is its ticket.
    TakenBack(T),
    /// It has begun.
    Running,
    /// It has ended, or is about to.
    Ended,
}

impl<T: Ticket> State<T> {
    /// Gives out what can be given.
    pub(crate) fn dispatch(&mut self, after: &mut Aftermath<T>) {
        while let Some(worker) = self.idle.pop() {
            if !self.slots.get(&worker).is_some_and(Slot::serves) {
                continue;
            }
            let task = if self.ahead > 0 { self.overdue() } else { None };
            match task.or_else(|| self.next_wanted(after)) {
                Some(task) => self.give(worker, task),
                None => {
                    self.idle.push(worker);
                    break;
                }
            }
        }
        self.hand_ahead(after);
        if self.queue.is_empty() && self.ahead > 0 && !self.idle.is_empty() {
            self.divide();
            // What a worker may not take any more, since it is to leave.
            if !self.queue.is_empty() && !self.idle.is_empty() {
                self.dispatch(after);
            }
        }
        self.offer_room();
    }

    /// The first of the queue, without those that have ended meanwhile.
    fn next_wanted(&mut self, after: &mut Aftermath<T>) -> Option<Task<T>> {
        loop {
            let task = self.queue.pop()?;
            if task.ticket.is_wanted() {
                return Some(task);
            }
            after.dropped.push(task);
        }
    }

    /// The length of the message of the first of the queue that is wanted.
    fn length_of_next(&mut self, after: &mut Aftermath<T>) -> Option<usize> {
        while self.queue.front().is_some_and(|task| !task.ticket.is_wanted()) {
            after.dropped.extend(self.queue.pop());
        }
        self.queue.front().map(|task| task.parcel.message.len())
    }

    /// A task that waits with a worker and is older than the queue's first;
    /// the oldest of them.
    fn overdue(&mut self) -> Option<Task<T>> {
        let first = self.queue.front()?.id;
        let waits = |slot: &Slot<T>| {
            let mut waiting = slot.handed.iter().enumerate().skip(1);
            let (index, handed) = waiting.find(|(_, handed)| slot.begun(handed).is_none())?;
            Some((handed.task.id, index))
        };
        let oldest =
            self.slots.iter().filter_map(|(&worker, slot)| waits(slot).map(|(id, at)| (id, worker, at)));
        let (_, worker, index) = oldest.min().filter(|&(id, ..)| id < first)?;
        let task = self.slots.get_mut(&worker)?.take_back(index, Fate::Another)?;
        self.ahead -= 1;
        self.reopen(worker);
        Some(task)
    }

    fn hand_ahead(&mut self, after: &mut Aftermath<T>) {
        let depth = self.pace.depth();
        while let Some(next) = self.length_of_next(after) {
            let Some(worker) = self.open.pop_front() else { return };
            let Some(slot) = self.slots.get_mut(&worker) else { continue };
            if !slot.has_room(depth) {
                // It comes back with its next answer.
                slot.open = false;
                continue;
            }
            if !slot.fits(next) {
                self.open.push_front(worker);
                return;
            }
            slot.open = false;
            if let Some(task) = self.queue.pop() {
                self.give(worker, task);
            }
        }
    }

    /// Hands `task` to `worker`.
    pub(crate) fn give(&mut self, worker: u64, task: Task<T>) {
        let Some(slot) = self.slots.get_mut(&worker) else {
            debug_assert!(false, "only who has a slot is given anything");
            return self.queue.put(task);
        };
        if slot.handed.len() >= slot.left {
            return self.queue.put(task);
        }
        let terms = task.terms;
        self.tally.counts.sent += task.parcel.weight() as u64;
        self.rounds.stir();
        slot.hand(task);
        if slot.handed.len() > 1 {
            self.ahead += 1;
        }
        self.expect(worker, terms);
        self.reopen(worker);
    }

    /// `worker` has one task less, or is new.
    pub(crate) fn relieved(&mut self, worker: u64) {
        let Some(slot) = self.slots.get_mut(&worker) else { return };
        if slot.serves() && slot.handed.is_empty() {
            if slot.left == 0 {
                return slot.send_home();
            }
            self.idle.push(worker);
        }
        self.reopen(worker);
    }

    /// Puts `worker` among those who may be handed more, if it may.
    pub(super) fn reopen(&mut self, worker: u64) {
        let depth = self.pace.depth();
        let Some(slot) = self.slots.get_mut(&worker) else { return };
        // Who has nothing is idle, which is better.
        if !slot.open && !slot.handed.is_empty() && slot.has_room(depth) {
            slot.open = true;
            self.open.push_back(worker);
        }
    }

    /// Divides what is handed ahead between those who have it and the idle.
    fn divide(&mut self) {
        while let Some(&worker) = self.idle.last() {
            let mut rich: Vec<(usize, u64)> = self
                .slots
                .iter()
                .filter(|(_, slot)| slot.handed.len() > 1)
                .map(|(&worker, slot)| (slot.handed.len(), worker))
                .collect();
            rich.sort_unstable_by_key(|&(tasks, worker)| (Reverse(tasks), worker));
            let Some(tasks) =
                rich.into_iter().map(|(_, rich)| self.tithe(rich)).find(|tasks| !tasks.is_empty())
            else {
                return;
            };
            self.idle.pop();
            for task in tasks {
                self.give(worker, task);
            }
        }
    }

    /// Takes back every second of the tasks that wait with `worker`, from the
    /// oldest on, so that both halves go on in order.
    fn tithe(&mut self, worker: u64) -> Vec<Task<T>> {
        let Some(slot) = self.slots.get_mut(&worker) else { return Vec::new() };
        let (mut tasks, mut index) = (Vec::new(), 1);
        while index < slot.handed.len() {
            // What was behind it moves up and stays.
            tasks.extend(slot.take_back(index, Fate::Another));
            index += 1;
        }
        self.ahead -= tasks.len();
        self.reopen(worker);
        tasks
    }

    /// Looks for workers that are late; to be called when one has answered.
    pub(crate) fn look_for_late(&mut self) {
        self.answers = self.answers.wrapping_add(1);
        if self.ahead == 0 || (self.pace.is_fast() && !self.answers.is_multiple_of(LOOK_EVERY)) {
            return;
        }
        let before = Instant::now().as_nanos().saturating_sub(self.pace.patience());
        let late = |slot: &Slot<T>| {
            let first = slot.handed.front().and_then(|first| slot.begun(first));
            // Where several run at once, what is behind a long one waits for nothing.
            slot.handed.len() > 1
                && !slot.runs_several()
                && first.is_some_and(|since| since.as_nanos() < before)
        };
        let late: Vec<u64> = self.slots.iter().filter(|(_, slot)| late(slot)).map(|(&w, _)| w).collect();
        for worker in late {
            if let Some(slot) = self.slots.get_mut(&worker) {
                slot.late = true;
            }
            for task in self.recall(worker, Fate::Another) {
                self.queue.put(task);
            }
        }
    }

    /// Takes back all that `worker` has not begun. The first is taken too.
    pub(crate) fn recall(&mut self, worker: u64, fate: Fate) -> Vec<Task<T>> {
        let Some(slot) = self.slots.get_mut(&worker) else { return Vec::new() };
        let before = slot.handed.len();
        let mut tasks = Vec::new();
        // From the last on: whatever it begins meanwhile stays with it.
        for index in (0..before).rev() {
            tasks.extend(slot.take_back(index, fate));
        }
        self.ahead -= before.saturating_sub(1) - slot.handed.len().saturating_sub(1);
        if !tasks.is_empty() {
            self.relieved(worker);
        }
        tasks
    }

    /// Takes back the task `id`, if it has not begun.
    pub(crate) fn withdraw(&mut self, id: u64) -> Withdrawn<T> {
        if let Some(task) = self.queue.remove(id) {
            self.tally.cancelled += 1;
            return Withdrawn::TakenBack(task.ticket);
        }
        let Some((worker, index)) = self.find(id) else { return Withdrawn::Ended };
        let Some(slot) = self.slots.get_mut(&worker) else { return Withdrawn::Ended };
        let Some(task) = slot.take_back(index, Fate::Nobody) else { return Withdrawn::Running };
        if !slot.handed.is_empty() {
            self.ahead -= 1;
        }
        self.tally.cancelled += 1;
        self.relieved(worker);
        Withdrawn::TakenBack(task.ticket)
    }

    /// Whether a worker has begun the task `id` and not answered yet.
    pub(crate) fn has_begun(&self, id: u64) -> bool {
        if self.queue.contains(id) {
            return false;
        }
        let Some((worker, index)) = self.find(id) else { return false };
        let Some(slot) = self.slots.get(&worker) else { return false };
        slot.handed.get(index).is_some_and(|handed| slot.begun(handed).is_some())
    }

    pub(super) fn find(&self, id: u64) -> Option<(u64, usize)> {
        self.slots.iter().find_map(|(&worker, slot)| {
            Some((worker, slot.handed.iter().position(|handed| handed.task.id == id)?))
        })
    }
}

#[cfg(test)]
#[path = "deal_tests.rs"]
mod tests;
