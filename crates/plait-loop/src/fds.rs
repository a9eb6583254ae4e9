//! Who watches which descriptor.
//!
//! A table indexed by the descriptor's number. Each time a number gets a new
//! owner its generation grows, and the generation travels in the token of
//! every event: an event that was on its way when the number changed hands
//! is recognised and dropped, so a reused number never wakes an old owner.

use std::os::fd::RawFd;

use plait_sys::Result;
use plait_sys::epoll::{Epoll, Interest};

#[derive(Debug)]
struct Slot<O> {
    generation: u32,
    /// What the kernel has been asked to watch for.
    interest: Interest,
    /// It has been asked for one event only.
    once: bool,
    /// It has told of that one, and has an entry for the number still, unless
    /// the number was closed since.
    silent: bool,
    owner: Option<O>,
}

/// The owners of watched descriptors.
#[derive(Debug)]
pub struct FdTable<O> {
    slots: Vec<Slot<O>>,
    /// How many descriptors the kernel was told to watch.
    watched: usize,
}

impl<O> Default for FdTable<O> {
    fn default() -> Self {
        Self { slots: Vec::new(), watched: 0 }
    }
}

fn index(fd: RawFd) -> Option<usize> {
    usize::try_from(fd).ok()
}

impl<O> FdTable<O> {
    /// The owner of `fd`.
    #[must_use]
    pub fn get(&self, fd: RawFd) -> Option<&O> {
        self.slots.get(index(fd)?)?.owner.as_ref()
    }

    /// The owner of `fd`, to be changed.
    pub fn get_mut(&mut self, fd: RawFd) -> Option<&mut O> {
        self.slots.get_mut(index(fd)?)?.owner.as_mut()
    }

    /// The owner that the kernel's `token` was made for, if it still is.
    #[must_use]
    pub fn resolve(&self, token: u64) -> Option<&O> {
        let slot = self.slots.get((token & u64::from(u32::MAX)) as usize)?;
        if u64::from(slot.generation) != token >> 32 {
            return None;
        }
        slot.owner.as_ref()
    }

    /// The descriptor that the kernel's `token` was made for.
    #[must_use]
    pub fn fd(token: u64) -> RawFd {
        // The low half is the number.
        token as u32 as RawFd
    }

    /// Makes `owner` the owner of `fd`, watched for nothing yet, and returns
    /// the one before.
    ///
    /// # Errors
    /// EBADF for a number that is not open: the table is indexed by it, so
    /// it must not grow to whatever somebody passes.
    pub fn insert(&mut self, fd: RawFd, owner: O) -> Result<Option<O>> {
        plait_sys::open::check(fd)?;
        let index = index(fd).unwrap_or_default();
        while self.slots.len() <= index {
            self.slots.push(Slot {
                generation: 0,
                interest: Interest::NONE,
                once: false,
                silent: false,
                owner: None,
            });
        }
        let slot = &mut self.slots[index];
        slot.generation = slot.generation.wrapping_add(1);
        // What the kernel knows of the number is the old owner's, if the
        // number is not another descriptor by now: it must be told anew.
        self.watched -= usize::from(!slot.interest.is_none());
        slot.interest = Interest::NONE;
        Ok(slot.owner.replace(owner))
    }

    /// Has `fd` watched for `interest`; for nothing means not at all.
    ///
    /// # Errors
    /// What [`Epoll::set`] reports; the old interest stays then.
    pub fn watch(&mut self, epoll: &Epoll, fd: RawFd, interest: Interest) -> Result<()> {
        self.set(epoll, fd, interest, false)
    }

    /// As [`FdTable::watch`], until the first event: the owner tells of it by
    /// [`FdTable::fired`]. The kernel keeps a silent entry, so that to watch
    /// again takes one call of it and not two.
    ///
    /// # Errors
    /// What [`Epoll::set_once`] reports; the old interest stays then.
    pub fn watch_once(&mut self, epoll: &Epoll, fd: RawFd, interest: Interest) -> Result<()> {
        self.set(epoll, fd, interest, true)
    }

    /// Notes that an event came for `token`. If it was the only one, nothing
    /// is watched any more; says whether it was.
    pub fn fired(&mut self, token: u64) -> bool {
        let Some(slot) = self.slots.get_mut((token & u64::from(u32::MAX)) as usize) else { return false };
        let last = slot.once && u64::from(slot.generation) == token >> 32 && !slot.interest.is_none();
        if last {
            slot.interest = Interest::NONE;
            slot.silent = true;
            self.watched -= 1;
        }
        last
    }

    fn set(&mut self, epoll: &Epoll, fd: RawFd, interest: Interest, once: bool) -> Result<()> {
        let Some(slot) = index(fd).and_then(|index| self.slots.get_mut(index)) else { return Ok(()) };
        let registered = !slot.interest.is_none();
        if interest.is_none() {
            if registered {
                slot.interest = Interest::NONE;
                self.watched -= 1;
                epoll.delete(fd)?;
            }
            return Ok(());
        }
        if once {
            // The number may be another descriptor's by now, and an event of
            // the old one be on its way.
            slot.generation = slot.generation.wrapping_add(1);
        }
        let token = u64::from(slot.generation) << 32 | fd as u64;
        let known = registered || slot.silent;
        if once {
            epoll.set_once(fd, token, interest, known)?;
        } else {
            epoll.set(fd, token, interest, known)?;
        }
        self.watched += usize::from(!registered);
        (slot.interest, slot.once, slot.silent) = (interest, once, false);
        Ok(())
    }

    /// Forgets the owner of `fd`, stops watching it, and returns the owner.
    ///
    /// # Errors
    /// What [`Epoll::delete`] reports; the owner is forgotten all the same.
    pub fn remove(&mut self, epoll: &Epoll, fd: RawFd) -> Result<Option<O>> {
        let Some(slot) = index(fd).and_then(|index| self.slots.get_mut(index)) else { return Ok(None) };
        let owner = slot.owner.take();
        slot.generation = slot.generation.wrapping_add(1);
        let (registered, silent) = (!slot.interest.is_none(), slot.silent);
        (slot.interest, slot.silent) = (Interest::NONE, false);
        self.watched -= usize::from(registered);
        if registered || silent {
            epoll.delete(fd)?;
        }
        Ok(owner)
    }

    /// How many descriptors the kernel watches for this table.
    #[must_use]
    pub fn watched(&self) -> usize {
        self.watched
    }

    /// What the kernel watches `fd` for.
    #[must_use]
    pub fn interest(&self, fd: RawFd) -> Interest {
        index(fd).and_then(|index| self.slots.get(index)).map_or(Interest::NONE, |slot| slot.interest)
    }

    /// The descriptor of the first owner that `is_meant`.
    pub fn find(&self, is_meant: impl Fn(&O) -> bool) -> Option<RawFd> {
        let at = self.slots.iter().position(|slot| slot.owner.as_ref().is_some_and(&is_meant))?;
        RawFd::try_from(at).ok()
    }

    /// All owners.
    pub fn owners(&self) -> impl Iterator<Item = &O> {
        self.slots.iter().filter_map(|slot| slot.owner.as_ref())
    }

    /// Takes all owners out, without a word to the kernel.
    pub fn drain(&mut self) -> Vec<O> {
        self.watched = 0;
        self.slots.drain(..).filter_map(|slot| slot.owner).collect()
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(
            tokens(&epoll).iter().filter_map(|&token| table.resolve(token)).collect::<Vec<_>>(),
            [&"me"]
        );
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

    #[test]
    fn refuses_what_is_not_open() {
        let mut table = FdTable::default();
        for fd in [-1, i32::MAX] {
            assert!(table.insert(fd, ()).is_err());
        }
    }
}
