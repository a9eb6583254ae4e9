//! The tasks that no worker has, in the order of their submission.

use std::collections::VecDeque;

use super::task::Task;

/// Taken out of the middle leaves a hole, so that cancelling many is cheap.
enum Place<T> {
    Taken(Task<T>),
    Hole(u64),
}

impl<T> Place<T> {
    fn id(&self) -> u64 {
        match self {
            Self::Taken(task) => task.id,
            Self::Hole(id) => *id,
        }
    }
}

/// Sorted by the tasks' numbers; neither end is a hole.
pub(crate) struct Queue<T> {
    places: VecDeque<Place<T>>,
    holes: usize,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self { places: VecDeque::new(), holes: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.holes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(crate) fn front(&self) -> Option<&Task<T>> {
        match self.places.front() {
            Some(Place::Taken(task)) => Some(task),
            _ => None,
        }
    }

    /// Adds a task where it belongs: at the end if it is new, near the front
    /// if it comes back from a worker.
    pub(crate) fn put(&mut self, task: Task<T>) {
        if self.places.back().is_none_or(|last| last.id() < task.id) {
            return self.places.push_back(Place::Taken(task));
        }
        let at = self.places.partition_point(|place| place.id() < task.id);
        match self.places.get_mut(at) {
            Some(place @ Place::Hole(_)) if place.id() == task.id => {
                *place = Place::Taken(task);
                self.holes -= 1;
            }
            _ => self.places.insert(at, Place::Taken(task)),
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Task<T>> {
        let Some(Place::Taken(task)) = self.places.pop_front() else { return None };
        self.trim();
        Some(task)
    }

    pub(crate) fn contains(&self, id: u64) -> bool {
        self.find(id).is_some()
    }

    /// Takes out the task of this number, wherever it stands.
    pub(crate) fn remove(&mut self, id: u64) -> Option<Task<T>> {
        let place = self.find(id).and_then(|at| self.places.get_mut(at))?;
        let Place::Taken(task) = std::mem::replace(place, Place::Hole(id)) else { return None };
        self.holes += 1;
        self.trim();
        if self.holes > self.places.len() / 2 {
            self.places.retain(|place| matches!(place, Place::Taken(_)));
            self.holes = 0;
        }
        Some(task)
    }

    /// Takes out all.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Task<T>> + use<T> {
        self.holes = 0;
        std::mem::take(&mut self.places).into_iter().filter_map(|place| match place {
            Place::Taken(task) => Some(task),
            Place::Hole(_) => None,
        })
    }

    fn find(&self, id: u64) -> Option<usize> {
        let at = self.places.partition_point(|place| place.id() < id);
        matches!(self.places.get(at), Some(Place::Taken(task)) if task.id == id).then_some(at)
    }

    /// Drops the holes at both ends.
    fn trim(&mut self) {
        while let Some(Place::Hole(_)) = self.places.front() {
            self.places.pop_front();
            self.holes -= 1;
        }
        while let Some(Place::Hole(_)) = self.places.back() {
            self.places.pop_back();
            self.holes -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::packer::Parcel;
    use crate::process::terms::Terms;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::sync::Arc;

    fn task(id: u64) -> Task<()> {
        let (terms, attempts) = (Terms::default(), 0);
        Task { id, parcel: Parcel::of(&[]), needs: Arc::new([]), terms, attempts, ticket: () }
    }

    proptest! {
        /// Against a sorted set of numbers.
        #[test]
        fn it_is_a_sorted_set(script in prop::collection::vec((0u8..4, 0u64..24), 0..120)) {
            let (mut queue, mut model) = (Queue::new(), BTreeSet::new());
            for (what, id) in script {
                match what {
                    0 => prop_assert_eq!(queue.pop().map(|task| task.id), model.pop_first()),
                    1 => prop_assert_eq!(queue.remove(id).map(|task| task.id), model.take(&id)),
                    _ => {
                        if model.insert(id) {
                            queue.put(task(id));
                        }
                    }
                }
                prop_assert_eq!(queue.len(), model.len());
                prop_assert_eq!(queue.is_empty(), model.is_empty());
                prop_assert_eq!(queue.front().map(|task| task.id), model.first().copied());
                prop_assert_eq!(queue.contains(id), model.contains(&id));
                prop_assert!(queue.holes <= queue.places.len() / 2 + 1);
            }
            let rest: Vec<u64> = queue.drain().map(|task| task.id).collect();
            prop_assert_eq!(rest, model.into_iter().collect::<Vec<_>>());
            prop_assert!(queue.is_empty());
        }
    }
}
