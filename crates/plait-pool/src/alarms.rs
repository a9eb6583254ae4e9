//! When to look at which worker or call: for a deadline, or for a stop under
//! way.

use std::collections::{BTreeSet, HashMap};

use plait_sys::clock::Instant;

/// One time for each worker at most, so that what is kept does not grow with
/// the tasks. A time may be too early (the task that it was set for has long
/// ended): whoever looks then sets the next.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    order: BTreeSet<(Instant, u64)>,
    times: HashMap<u64, Instant>,
}

impl Alarms {
    /// Looks at `worker` no later than at `time`.
    pub(crate) fn set(&mut self, worker: u64, time: Instant) {
        match self.times.get(&worker) {
            Some(&set) if set <= time => return,
            Some(&set) => {
                self.order.remove(&(set, worker));
            }
            None => {}
        }
        self.times.insert(worker, time);
        self.order.insert((time, worker));
    }

    /// Does not look at `worker` any more.
    pub(crate) fn clear(&mut self, worker: u64) {
        if let Some(set) = self.times.remove(&worker) {
            self.order.remove(&(set, worker));
        }
    }

    /// The next time to look.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.order.first().map(|&(time, _)| time)
    }

    /// Takes out a worker to be looked at by `now`, the earliest first.
    pub(crate) fn due(&mut self, now: Instant) -> Option<u64> {
        let &(time, worker) = self.order.first()?;
        if time > now {
            return None;
        }
        self.order.pop_first();
        self.times.remove(&worker);
        Some(worker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    #[test]
    fn the_earliest_comes_first() {
        let mut alarms = Alarms::default();
        alarms.set(1, at(30));
        alarms.set(2, at(10));
        alarms.set(2, at(20));
        alarms.set(1, at(15));
        assert_eq!(alarms.next(), Some(at(10)));
        assert_eq!(alarms.due(at(9)), None);
        assert_eq!(alarms.due(at(20)), Some(2));
        assert_eq!(alarms.due(at(20)), Some(1));
        assert_eq!((alarms.due(at(20)), alarms.next()), (None, None));
    }

    #[test]
    fn who_is_gone_is_not_looked_at() {
        let mut alarms = Alarms::default();
        alarms.set(1, at(1));
        alarms.clear(1);
        alarms.clear(1);
        assert_eq!(alarms.due(at(5)), None);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Set(u64, u64),
        Clear(u64),
        Due(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..4u64, 0..20u64).prop_map(|(worker, time)| Step::Set(worker, time)),
            (0..4u64).prop_map(Step::Clear),
            (0..20u64).prop_map(Step::Due),
        ]
    }

    proptest! {
        #[test]
        fn it_is_a_map_in_order(moves in prop::collection::vec(step(), 0..60)) {
            let (mut alarms, mut model) = (Alarms::default(), HashMap::<u64, u64>::new());
            for step in moves {
                match step {
                    Step::Set(worker, time) => {
                        alarms.set(worker, at(time));
                        let kept = model.entry(worker).or_insert(time);
                        *kept = time.min(*kept);
                    }
                    Step::Clear(worker) => {
                        alarms.clear(worker);
                        model.remove(&worker);
                    }
                    Step::Due(now) => match alarms.due(at(now)) {
                        Some(worker) => {
                            let time = model.remove(&worker);
                            prop_assert!(time.is_some_and(|time| time <= now));
                            prop_assert!(model.values().all(|&other| Some(other) >= time));
                        }
                        None => prop_assert!(model.values().all(|&time| time > now)),
                    },
                }
                prop_assert_eq!(alarms.next(), model.values().min().map(|&time| at(time)));
                prop_assert_eq!(alarms.times.len(), alarms.order.len());
            }
        }
    }
}
