use super::*;
use plait_sys::eventfd::EventFd;
use std::os::fd::AsRawFd;
use std::time::Duration;

fn tokens(epoll: &Epoll) -> Vec<u64> {
    let mut events = Vec::new();
    epoll.wait(&mut events, Some(Duration::ZERO)).unwrap();
    events.iter().map(|event| event.token).collect()
}

fn rung() -> EventFd {
    let bell = EventFd::new().unwrap();
    bell.ring().unwrap();
    bell
}

#[test]
fn an_event_finds_its_owner() {
    let (epoll, mut table, bell) = (Epoll::new().unwrap(), FdTable::default(), rung());
    let fd = bell.as_raw_fd();
    table.insert(fd, "me").unwrap();
    assert_eq!(tokens(&epoll), [] as [u64; 0]);
    table.watch(&epoll, fd, Interest::READ).unwrap();
    assert_eq!((table.watched(), table.interest(fd)), (1, Interest::READ));
    assert_eq!((table.find(|&owner| owner == "me"), table.find(|_| false)), (Some(fd), None));
    assert_eq!(tokens(&epoll).iter().filter_map(|&token| table.resolve(token)).collect::<Vec<_>>(), [&"me"]);
    table.watch(&epoll, fd, Interest::NONE).unwrap();
    assert_eq!(tokens(&epoll), [] as [u64; 0]);
    assert_eq!((table.get(fd), table.watched()), (Some(&"me"), 0));
}

#[test]
fn an_event_for_an_old_owner_finds_nobody() {
    let (epoll, mut table, bell) = (Epoll::new().unwrap(), FdTable::default(), rung());
    let fd = bell.as_raw_fd();
    table.insert(fd, "old").unwrap();
    table.watch(&epoll, fd, Interest::READ).unwrap();
    let on_its_way = tokens(&epoll);
    assert_eq!(table.remove(&epoll, fd).unwrap(), Some("old"));
    table.insert(fd, "new").unwrap();
    assert_eq!(table.resolve(on_its_way[0]), None);
    assert_eq!(tokens(&epoll), [] as [u64; 0], "nobody watches it yet");
}

#[test]
fn one_event_and_no_more() {
    let (epoll, mut table, bell) = (Epoll::new().unwrap(), FdTable::default(), rung());
    let fd = bell.as_raw_fd();
    table.insert(fd, "me").unwrap();
    for _ in 0..2 {
        table.watch_once(&epoll, fd, Interest::READ).unwrap();
        assert_eq!(table.watched(), 1);
        let token = tokens(&epoll)[0];
        assert_eq!(table.resolve(token), Some(&"me"));
        assert!(table.fired(token));
        assert!(!table.fired(token), "there is one only");
        assert_eq!((table.watched(), table.interest(fd)), (0, Interest::NONE));
        assert_eq!(tokens(&epoll), [] as [u64; 0]);
    }
    table.watch(&epoll, fd, Interest::READ).unwrap();
    assert!(!table.fired(tokens(&epoll)[0]));
    assert_eq!((tokens(&epoll).len(), table.watched()), (1, 1));
    assert_eq!(table.remove(&epoll, fd).unwrap(), Some("me"));
    assert_eq!((tokens(&epoll).len(), table.watched()), (0, 0));
}

#[test]
fn a_silent_entry_of_a_number_that_was_reused_is_no_harm() {
    let (epoll, mut table, bell) = (Epoll::new().unwrap(), FdTable::default(), rung());
    let fd = bell.as_raw_fd();
    table.insert(fd, "me").unwrap();
    table.watch_once(&epoll, fd, Interest::READ).unwrap();
    let old = tokens(&epoll)[0];
    table.fired(old);
    drop(bell);
    let mut bells: Vec<_> = (0..16).map(|_| rung()).collect();
    if let Some(at) = bells.iter().position(|bell| bell.as_raw_fd() == fd) {
        let _bell = bells.swap_remove(at);
        table.watch_once(&epoll, fd, Interest::READ).unwrap();
        let new = tokens(&epoll)[0];
        assert_eq!((table.resolve(old), table.resolve(new)), (None, Some(&"me")));
    }
}

/// Descriptors that come, go and are used again, with and without a word
/// to the table.
mod numbers {
    use super::*;
    use plait_sys::descriptor::duplicate;
    use proptest::prelude::*;

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Open { kept: bool },
        Close(usize),
        Own { at: usize, once: bool },
        Change { at: usize, both: bool },
        Remove(usize),
        Happen(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => any::<bool>().prop_map(|kept| Step::Open { kept }),
            2 => any::<usize>().prop_map(Step::Close),
            4 => (any::<usize>(), any::<bool>()).prop_map(|(at, once)| Step::Own { at, once }),
            2 => (any::<usize>(), any::<bool>()).prop_map(|(at, both)| Step::Change { at, both }),
            2 => any::<usize>().prop_map(Step::Remove),
            5 => any::<usize>().prop_map(Step::Happen),
        ]
    }

    /// What the steps have made. A bell is known by its place in `bells`.
    struct World {
        epoll: Epoll,
        /// Numbers and the bells that owned them when they were given.
        table: FdTable<usize>,
        /// Our descriptors, and which bell each is.
        open: Vec<(EventFd, usize)>,
        /// A duplicate by which each can be rung after it was closed.
        bells: Vec<Option<EventFd>>,
        /// Every number that was ever ours.
        numbers: Vec<RawFd>,
    }

    impl World {
        fn bell_at(&self, fd: RawFd) -> Option<usize> {
            self.open.iter().find(|(bell, _)| bell.as_raw_fd() == fd).map(|&(_, which)| which)
        }

        fn take(&mut self, step: Step) {
            let pick = |at: usize, len: usize| (len > 0).then(|| at % len);
            match step {
                Step::Open { kept } => {
                    let bell = EventFd::new().unwrap();
                    let copy = kept.then(|| duplicate(bell.as_raw_fd()).unwrap().into());
                    self.numbers.push(bell.as_raw_fd());
                    self.open.push((bell, self.bells.len()));
                    self.bells.push(copy);
                }
                Step::Close(at) => {
                    if let Some(at) = pick(at, self.open.len()) {
                        self.open.swap_remove(at);
                    }
                }
                Step::Own { at, once } => {
                    let Some(at) = pick(at, self.open.len()) else { return };
                    let (fd, which) = (self.open[at].0.as_raw_fd(), self.open[at].1);
                    self.table.insert(fd, which).unwrap();
                    if once {
                        self.table.watch_once(&self.epoll, fd, Interest::READ).unwrap();
                    } else {
                        self.table.watch(&self.epoll, fd, Interest::READ).unwrap();
                    }
                }
                Step::Change { at, both } => {
                    let Some(at) = pick(at, self.numbers.len()) else { return };
                    let fd = self.numbers[at];
                    // An owner that watches nothing cannot know that its
                    // number is another's.
                    if self.table.interest(fd).is_none() {
                        return;
                    }
                    let right = self.table.get(fd).copied() == self.bell_at(fd);
                    let changed = self.table.watch(&self.epoll, fd, Interest { read: true, write: both });
                    assert_eq!(changed.is_ok(), right);
                }
                Step::Remove(at) => {
                    let Some(at) = pick(at, self.numbers.len()) else { return };
                    self.table.remove(&self.epoll, self.numbers[at]).unwrap();
                }
                Step::Happen(at) => self.happen(at),
            }
        }

        /// Rings one bell: whoever hears of it owns that one, and those
        /// who watch it by an open number hear.
        fn happen(&mut self, at: usize) {
            if self.bells.is_empty() {
                return;
            }
            let which = at % self.bells.len();
            let by_number = self.open.iter().find(|(_, other)| *other == which).map(|(bell, _)| bell);
            let Some(bell) = self.bells[which].as_ref().or(by_number) else { return };
            bell.ring().unwrap();
            let mut events = Vec::new();
            self.epoll.wait(&mut events, Some(Duration::ZERO)).unwrap();
            let tokens_told: Vec<_> = events.iter().map(|event| event.token).collect();
            events.retain(|event| event.readable);
            let mut heard = Vec::new();
            let mut stray = false;
            for event in events {
                match self.table.resolve(event.token) {
                    Some(&owner) => {
                        assert_eq!(owner, which, "woken by another's bell");
                        heard.push(FdTable::<usize>::fd(event.token));
                    }
                    None => stray = true,
                }
            }
            for (open, other) in &self.open {
                let fd = open.as_raw_fd();
                let watches = self.table.get(fd) == Some(&which) && self.table.interest(fd).read;
                if *other == which && watches {
                    assert!(heard.contains(&fd), "not told");
                }
            }
            for token in tokens_told {
                self.table.fired(token);
            }
            if stray {
                let fresh = Epoll::new().unwrap();
                for fd in self.table.carry_over(&self.epoll, &fresh).unwrap() {
                    self.table.remove(&self.epoll, fd).unwrap();
                }
                self.epoll.replace(&fresh).unwrap();
                let again = tokens(&self.epoll);
                assert!(again.iter().all(|&token| self.table.resolve(token).is_some()));
            }
            for token in tokens(&self.epoll) {
                self.table.fired(token);
            }
            let _ = bell.drain().unwrap();
        }
    }

    proptest! {
        #[test]
        fn used_again_never_wake_an_old_owner(steps in prop::collection::vec(step(), 1..120)) {
            let mut world = World {
                epoll: Epoll::new().unwrap(),
                table: FdTable::default(),
                open: Vec::new(),
                bells: Vec::new(),
                numbers: Vec::new(),
            };
            for step in steps {
                world.take(step);
                let watched = world.numbers.iter().collect::<std::collections::HashSet<_>>();
                let watched = watched.into_iter().filter(|&&fd| !world.table.interest(fd).is_none());
                prop_assert_eq!(watched.count(), world.table.watched());
            }
        }
    }
}

#[test]
fn refuses_what_is_not_open() {
    let mut table = FdTable::default();
    for fd in [-1, i32::MAX] {
        assert!(table.insert(fd, ()).is_err());
    }
}
