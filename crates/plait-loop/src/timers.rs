//! What is due when: a binary heap, cancelled lazily.
//!
//! Many timers guard something that ends at once, and are cancelled in the
//! turn that set them. So a new one waits in a row, from which it can be
//! taken back, and joins the heap when the loop next looks at the time.
//!
//! A heap keyed (deadline, sequence) fires equal deadlines in the order of
//! their making. A cancelled timer stays until it is due, comes to the top,
//! or more than half of a large heap is cancelled and the heap is rebuilt;
//! asyncio does the same. A timer wheel paid only past a million timers
//! (DESIGN.md).

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use plait_sys::clock::Instant;

/// Below this many timers a rebuild costs more than the dead ones do.
const COMPACT_FROM: usize = 100;

#[derive(Debug)]
struct Entry<T> {
    deadline: Instant,
    sequence: u64,
    item: T,
}

impl<T> Entry<T> {
    fn key(&self) -> (Instant, u64) {
        (self.deadline, self.sequence)
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// Items and when they are due.
#[derive(Debug)]
pub struct Timers<T> {
    heap: BinaryHeap<Reverse<Entry<T>>>,
    /// Not in the heap yet; what was taken back leaves a gap.
    fresh: Vec<Option<Entry<T>>>,
    /// How many of the fresh are no gaps.
    waiting: usize,
    sequence: u64,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), fresh: Vec::new(), waiting: 0, sequence: 0 }
    }
}

impl<T> Timers<T> {
    /// How many there are, the cancelled ones that are still kept included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len() + self.waiting
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds `item`, due at `deadline`. Returns its place among those that can
    /// be taken back.
    pub fn push(&mut self, deadline: Instant, item: T) -> usize {
        let sequence = self.sequence;
        self.sequence += 1;
        self.fresh.push(Some(Entry { deadline, sequence, item }));
        self.waiting += 1;
        self.fresh.len() - 1
    }

    /// Takes the item back that was put at `place`, if it still is there:
    /// `is_it` knows it, for another may have come there since.
    pub fn take_back(&mut self, place: usize, is_it: impl FnOnce(&T) -> bool) -> Option<T> {
        let found = self.fresh.get_mut(place)?.take_if(|entry| is_it(&entry.item))?;
        self.waiting -= 1;
        while self.fresh.last().is_some_and(Option::is_none) {
            self.fresh.pop();
        }
        Some(found.item)
    }

    /// Puts what is new into the heap: before any question of time. `each`
    /// hears of every item.
    pub fn settle(&mut self, each: impl Fn(&T)) {
        self.waiting = 0;
        self.heap.extend(self.fresh.drain(..).flatten().map(|entry| {
            each(&entry.item);
            Reverse(entry)
        }));
    }

    /// When the first settled item is due that `is_cancelled` does not disown.
    /// The disowned ones before it move to `removed`.
    pub fn next_deadline(
        &mut self,
        is_cancelled: impl Fn(&T) -> bool,
        removed: &mut Vec<T>,
    ) -> Option<Instant> {
        while self.heap.peek().is_some_and(|Reverse(entry)| is_cancelled(&entry.item)) {
            removed.extend(self.heap.pop().map(|Reverse(entry)| entry.item));
        }
        self.heap.peek().map(|Reverse(entry)| entry.deadline)
    }

    /// Removes the first settled item if it is due at `now`.
    pub fn pop_due(&mut self, now: Instant) -> Option<T> {
        if self.heap.peek()?.0.deadline > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry.item)
    }

    /// Rebuilds the heap without the cancelled items, which move to `removed`,
    /// if `cancelled` of them make up more than half of a large heap. Says
    /// whether it did.
    pub fn compact(
        &mut self,
        cancelled: usize,
        is_cancelled: impl Fn(&T) -> bool,
        removed: &mut Vec<T>,
    ) -> bool {
        if self.heap.len() <= COMPACT_FROM || cancelled * 2 <= self.heap.len() {
            return false;
        }
        let entries = std::mem::take(&mut self.heap).into_vec();
        let (dead, alive): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|Reverse(entry)| is_cancelled(&entry.item));
        self.heap = alive.into();
        removed.extend(dead.into_iter().map(|Reverse(entry)| entry.item));
        true
    }

    /// All items, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let fresh = self.fresh.iter().flatten();
        self.heap.iter().map(|Reverse(entry)| entry).chain(fresh).map(|entry| &entry.item)
    }

    /// Takes all items out, in no order.
    pub fn drain(&mut self) -> Vec<T> {
        self.settle(|_| ());
        self.heap.drain().map(|Reverse(entry)| entry.item).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    fn pop_all(timers: &mut Timers<u32>, now: Instant) -> Vec<u32> {
        timers.settle(|_| ());
        std::iter::from_fn(|| timers.pop_due(now)).collect()
    }

    #[test]
    fn equal_deadlines_keep_their_order() {
        let mut timers = Timers::default();
        for item in 0..50 {
            timers.push(at(7), item);
        }
        assert_eq!(pop_all(&mut timers, at(6)), []);
        assert_eq!(pop_all(&mut timers, at(7)), (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn the_cancelled_do_not_count_as_next() {
        let mut timers = Timers::default();
        timers.push(at(1), 1);
        timers.push(at(2), 2);
        timers.settle(|_| ());
        let mut removed = Vec::new();
        assert_eq!(timers.next_deadline(|&item| item == 1, &mut removed), Some(at(2)));
        assert_eq!(removed, [1]);
        assert_eq!(timers.next_deadline(|_| true, &mut removed), None);
        assert!(timers.is_empty());
    }

    #[test]
    fn compacts_a_large_heap_that_is_mostly_dead() {
        let mut timers = Timers::default();
        for item in 0..200 {
            timers.push(at(u64::from(item)), item);
        }
        timers.settle(|_| ());
        let mut removed = Vec::new();
        let is_cancelled = |item: &u32| *item < 101;
        assert!(!timers.compact(100, is_cancelled, &mut removed));
        assert!(timers.compact(101, is_cancelled, &mut removed));
        assert_eq!(removed.len(), 101);
        assert_eq!(pop_all(&mut timers, at(200)), (101..200).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_new_can_be_taken_back_once() {
        let mut timers = Timers::default();
        let places: Vec<usize> = (0..3).map(|item| timers.push(at(1), item)).collect();
        assert_eq!(timers.take_back(places[0], |&item| item == 1), None);
        assert_eq!(timers.take_back(places[1], |&item| item == 1), Some(1));
        assert_eq!(timers.take_back(places[1], |_| true), None);
        assert_eq!(timers.take_back(places[2], |_| true), Some(2));
        assert_eq!((timers.len(), timers.iter().copied().collect::<Vec<_>>()), (1, vec![0]));
        // The end of the row is used again.
        assert_eq!(timers.push(at(1), 3), places[1]);
        timers.settle(|_| ());
        assert_eq!(timers.take_back(places[0], |_| true), None);
        assert_eq!(timers.len(), 2);
        assert_eq!(pop_all(&mut timers, at(1)), [0, 3]);
        timers.push(at(1), 4);
        assert_eq!(timers.drain(), [4]);
        assert!(timers.is_empty());
    }

    proptest! {
        #[test]
        fn fires_all_but_what_was_taken_back(
            actions in prop::collection::vec((0u64..20, 0usize..6), 0..200),
        ) {
            let mut timers = Timers::default();
            let mut places: Vec<(usize, u32)> = Vec::new();
            let mut expected: Vec<(u64, u32)> = Vec::new();
            for (item, (deadline, action)) in (0u32..).zip(actions) {
                match action {
                    0 => {
                        timers.settle(|_| ());
                        places.clear();
                    }
                    1 | 2 if !places.is_empty() => {
                        let (place, item) = places.swap_remove(deadline as usize % places.len());
                        prop_assert_eq!(timers.take_back(place, |&other| other == item), Some(item));
                        expected.retain(|&(_, other)| other != item);
                    }
                    _ => {
                        places.push((timers.push(at(deadline), item), item));
                        expected.push((deadline, item));
                    }
                }
                prop_assert_eq!(timers.len(), expected.len());
            }
            expected.sort_by_key(|&(deadline, _)| deadline);
            let fired = pop_all(&mut timers, at(20));
            prop_assert_eq!(fired, expected.into_iter().map(|(_, item)| item).collect::<Vec<_>>());
        }

        #[test]
        fn fires_in_the_order_of_a_stable_sort(deadlines in prop::collection::vec(0u64..20, 0..200)) {
            let mut timers = Timers::default();
            let mut expected: Vec<(u64, u32)> = Vec::new();
            for (item, &deadline) in (0u32..).zip(&deadlines) {
                timers.push(at(deadline), item);
                expected.push((deadline, item));
            }
            expected.sort_by_key(|&(deadline, _)| deadline);
            let mut fired = Vec::new();
            for now in 0..20 {
                fired.extend(pop_all(&mut timers, at(now)));
            }
            prop_assert_eq!(fired, expected.into_iter().map(|(_, item)| item).collect::<Vec<_>>());
        }
    }
}
