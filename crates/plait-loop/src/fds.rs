//! Who watches which descriptor.
//!
//! A table indexed by the descriptor's number. Each time a number gets a new
//! owner its generation grows, and the generation travels in the token of
//! every event: an event that was on its way when the number changed hands
//! is recognised and dropped, so a reused number never wakes an old owner.
//!
//! A number may also be closed, and be another descriptor's, behind our back.
//! The kernel watches on what it referred to as long as a duplicate lives, and
//! gives no way to that entry any more:
//!
//! | what happens next | what is done |
//! |---|---|
//! | the owner changes what it watches for | the kernel knows no such entry: ENOENT, the owner loses the number |
//! | the number gets a new owner | a new generation: the old entry's token finds nobody |
//! | the old entry tells of an event, each time anew | a stray token: all is moved to a fresh epoll ([`Poller::rebuild`](crate::poller::Poller::rebuild)) |

use std::os::fd::RawFd;

use plait_sys::epoll::{Epoll, Interest};
use plait_sys::{Error, Result};

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
    /// The number turned out to be another descriptor's than the owner's.
    lost: bool,
    owner: Option<O>,
}

impl<O> Slot<O> {
    /// What the kernel gives back with each event.
    fn token(&self, fd: RawFd) -> u64 {
        u64::from(self.generation) << 32 | fd as u64
    }
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
                lost: false,
                owner: None,
            });
        }
        let slot = &mut self.slots[index];
        slot.generation = slot.generation.wrapping_add(1);
        // What the kernel knows of the number is the old owner's, if the
        // number is not another descriptor by now: it must be told anew.
        self.watched -= usize::from(!slot.interest.is_none());
        (slot.interest, slot.lost) = (Interest::NONE, false);
        Ok(slot.owner.replace(owner))
    }

    /// Has `fd` watched for `interest`; for nothing means not at all.
    ///
    /// # Errors
    /// ENOENT: the number is another descriptor's than the one that is
    /// watched. Nothing is any more, and no event of either reaches the
    /// owner. Otherwise what [`Epoll::set`] reports; the old interest stays.
    pub(crate) fn watch(&mut self, epoll: &Epoll, fd: RawFd, interest: Interest) -> Result<()> {
        self.set(epoll, fd, interest, false)
    }

    /// As [`FdTable::watch`], until the first event: the owner tells of it by
    /// [`FdTable::fired`]. The kernel keeps a silent entry, so that to watch
    /// again takes one call of it and not two.
    ///
    /// # Errors
    /// As of [`FdTable::watch`].
    pub(crate) fn watch_once(&mut self, epoll: &Epoll, fd: RawFd, interest: Interest) -> Result<()> {
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
        if slot.lost {
            return Err(Error::absent("epoll_ctl"));
        }
        if once {
            // The number may be another descriptor's by now, and an event of
            // the old one be on its way.
            slot.generation = slot.generation.wrapping_add(1);
        }
        if registered {
            if let Err(error) = epoll.modify(fd, slot.token(fd), interest, once) {
                if error.is_absent() {
                    slot.generation = slot.generation.wrapping_add(1);
                    (slot.interest, slot.lost) = (Interest::NONE, true);
                    self.watched -= 1;
                }
                return Err(error);
            }
        } else if once {
            epoll.set_once(fd, slot.token(fd), interest, slot.silent)?;
        } else {
            epoll.set(fd, slot.token(fd), interest, slot.silent)?;
        }
        self.watched += usize::from(!registered);
        (slot.interest, slot.once, slot.silent) = (interest, once, false);
        Ok(())
    }

    /// Forgets the owner of `fd`, stops watching it, and returns the owner.
    ///
    /// # Errors
    /// What [`Epoll::delete`] reports; the owner is forgotten all the same.
    pub(crate) fn remove(&mut self, epoll: &Epoll, fd: RawFd) -> Result<Option<O>> {
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

    /// Registers with `fresh` what `old` watches, for a caller that goes on
    /// with `fresh` alone. Returns the descriptors that `old` has lost: they
    /// were closed behind our back, and nothing is watched for their owners
    /// any more.
    ///
    /// # Errors
    /// ENOMEM, ENOSPC; all is as before then.
    pub(crate) fn carry_over(&mut self, old: &Epoll, fresh: &Epoll) -> Result<Vec<RawFd>> {
        let mut lost = Vec::new();
        for (index, slot) in self.slots.iter().enumerate().filter(|(_, slot)| !slot.interest.is_none()) {
            let fd = index as RawFd;
            // To set it to what it is asks the kernel whether it has it.
            match old.modify(fd, slot.token(fd), slot.interest, slot.once) {
                Ok(()) if slot.once => fresh.set_once(fd, slot.token(fd), slot.interest, false)?,
                Ok(()) => fresh.set(fd, slot.token(fd), slot.interest, false)?,
                Err(error) if error.is_absent() || error.is_closed() => lost.push(fd),
                Err(error) => return Err(error),
            }
        }
        for slot in &mut self.slots {
            slot.silent = false;
        }
        for &fd in &lost {
            if let Some(slot) = index(fd).and_then(|index| self.slots.get_mut(index)) {
                (slot.interest, slot.lost) = (Interest::NONE, true);
                self.watched -= 1;
            }
        }
        Ok(lost)
    }

    /// Forgets what the kernel was asked, for a caller with an epoll that
    /// knows nothing; what the old one told finds nobody. Returns the
    /// descriptors that have an owner.
    pub fn start_over(&mut self) -> Vec<RawFd> {
        self.watched = 0;
        for slot in &mut self.slots {
            (slot.interest, slot.silent) = (Interest::NONE, false);
            slot.generation = slot.generation.wrapping_add(1);
        }
        let owned = self.slots.iter().enumerate().filter(|(_, slot)| slot.owner.is_some());
        owned.map(|(index, _)| index as RawFd).collect()
    }

    /// The owners of descriptors that the kernel watches.
    pub fn watched_owners(&self) -> impl Iterator<Item = &O> {
        self.slots.iter().filter(|slot| !slot.interest.is_none()).filter_map(|slot| slot.owner.as_ref())
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
mod tests;
