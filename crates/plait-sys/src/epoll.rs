//! Readiness of descriptors, by epoll.
//!
//! What the code relies on, each checkable in epoll(7):
//!
//! - epoll watches the open file description, not the number. A number that
//!   is closed and used again is another description: the old one is
//!   forgotten when its last descriptor closes, and only then. So the caller
//!   deletes before it closes, and puts a generation into the token.
//! - Level-triggered: what is not read stays ready. Nothing must be drained.
//! - `EPOLLERR` and `EPOLLHUP` are reported whether asked for or not, so a
//!   descriptor that nobody wants to hear of is deleted, not set to nothing.
//! - After its one event an `EPOLLONESHOT` entry is silent (of errors too)
//!   until it is set anew, so it may be left behind.
//! - Regular files are refused with EPERM: they are always ready.
//! - `epoll_pwait` counts milliseconds. `epoll_pwait2` counts nanoseconds;
//!   old kernels (ENOSYS) and some containers (EPERM) do not have it.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::raw::{borrow, replace, wait_exactly};

/// What somebody wants to hear of a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interest {
    /// Something to read, or the end of the input.
    pub read: bool,
    /// Room to write.
    pub write: bool,
}

impl Interest {
    /// Of nothing.
    pub const NONE: Self = Self { read: false, write: false };
    /// Of input.
    pub const READ: Self = Self { read: true, write: false };
    /// Of room for output.
    pub const WRITE: Self = Self { read: false, write: true };

    /// Whether there is nothing to watch for.
    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }

    fn flags(self) -> EventFlags {
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, self.read);
        flags.set(EventFlags::OUT, self.write);
        flags
    }
}

/// A descriptor that became ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// The token that it was registered with.
    pub token: u64,
    /// A read will not block: there is input, its end, or an error.
    pub readable: bool,
    /// A write will not block: there is room, or an error.
    pub writable: bool,
}

/// How many events one wait brings at most. The rest comes with the next.
const BATCH: usize = 256;

/// An epoll instance.
#[derive(Debug)]
pub struct Epoll {
    fd: OwnedFd,
    /// Set once the kernel has refused `epoll_pwait2`.
    milliseconds_only: AtomicBool,
}

impl Epoll {
    /// Makes an instance that no executed program inherits.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM.
    pub fn new() -> Result<Self> {
        let fd = epoll::create(CreateFlags::CLOEXEC).map_err(|errno| Error::new("epoll_create1", errno))?;
        Ok(Self { fd, milliseconds_only: AtomicBool::new(false) })
    }

    /// Starts to watch `fd`, or changes what it is watched for: a number may
    /// have been closed and used again behind our back, so each of the two
    /// falls back to the other.
    ///
    /// # Errors
    /// EPERM for what cannot be watched (a regular file), EBADF, ENOMEM, ENOSPC.
    pub fn set(&self, fd: RawFd, token: u64, interest: Interest, registered: bool) -> Result<()> {
        self.control(fd, token, interest.flags(), registered)
    }

    /// As [`Epoll::set`], for one event: then the kernel keeps the entry, and
    /// says nothing more of it until it is set again.
    ///
    /// # Errors
    /// As of [`Epoll::set`].
    pub fn set_once(&self, fd: RawFd, token: u64, interest: Interest, registered: bool) -> Result<()> {
        self.control(fd, token, interest.flags() | EventFlags::ONESHOT, registered)
    }

    /// Changes what `fd` is watched for, for one event if `once`.
    ///
    /// # Errors
    /// ENOENT: it is not watched, so the number is another descriptor's than
    /// when it was; EBADF, ENOMEM.
    pub fn modify(&self, fd: RawFd, token: u64, interest: Interest, once: bool) -> Result<()> {
        let mut flags = interest.flags();
        flags.set(EventFlags::ONESHOT, once);
        borrow(fd)
            .and_then(|source| epoll::modify(&self.fd, source, EventData::new_u64(token), flags))
            .map_err(|errno| Error::new("epoll_ctl", errno))
    }

    /// Watches from now on what `other` does, and that alone, under the same
    /// descriptor. What was watched is forgotten here; whoever shares it, as
    /// the parent of a fork does, keeps it.
    ///
    /// # Errors
    /// EBADF: the descriptor was closed under our hands.
    pub fn replace(&self, other: &Self) -> Result<()> {
        replace(&self.fd, &other.fd)
    }

    fn control(&self, fd: RawFd, token: u64, flags: EventFlags, registered: bool) -> Result<()> {
        let data = EventData::new_u64(token);
        let source = borrow(fd).map_err(|errno| Error::new("epoll_ctl", errno))?;
        let changed = if registered {
            match epoll::modify(&self.fd, source, data, flags) {
                Err(Errno::NOENT) => epoll::add(&self.fd, source, data, flags),
                other => other,
            }
        } else {
            match epoll::add(&self.fd, source, data, flags) {
                Err(Errno::EXIST) => epoll::modify(&self.fd, source, data, flags),
                other => other,
            }
        };
        changed.map_err(|errno| Error::new("epoll_ctl", errno))
    }

    /// Stops watching `fd`; a number that is closed or not watched is fine.
    ///
    /// # Errors
    /// What else the kernel refuses.
    pub fn delete(&self, fd: RawFd) -> Result<()> {
        let Ok(source) = borrow(fd) else { return Ok(()) };
        match epoll::delete(&self.fd, source) {
            Ok(()) | Err(Errno::NOENT | Errno::BADF) => Ok(()),
            Err(errno) => Err(Error::new("epoll_ctl", errno)),
        }
    }

    /// Waits until something is ready and appends it to `events`: for at most
    /// `timeout`, without end if that is `None`. A signal ends the wait too.
    ///
    /// # Errors
    /// EBADF, EINVAL: the instance is gone.
    pub fn wait(&self, events: &mut Vec<Event>, timeout: Option<Duration>) -> Result<()> {
        let mut buffer = [const { MaybeUninit::<epoll::Event>::uninit() }; BATCH];
        let exact = timeout.map(|t| Timespec {
            tv_sec: i64::try_from(t.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(t.subsec_nanos()),
        });
        let mut answer = Err(Errno::NOSYS);
        // Relaxed: a hint; the worst that a stale value costs is one refusal.
        if !self.milliseconds_only.load(Relaxed) {
            answer = match &exact {
                Some(exact) if exact.tv_nsec % 1_000_000 != 0 => wait_exactly(&self.fd, &mut buffer, exact),
                // Rustix asks `epoll_pwait`, which does for these.
                _ => epoll::wait(&self.fd, &mut buffer, exact.as_ref()).map(|(ready, _)| ready),
            };
        }
        if matches!(answer, Err(Errno::NOSYS | Errno::PERM)) {
            self.milliseconds_only.store(true, Relaxed);
            let coarse = timeout.map(whole_milliseconds);
            answer = epoll::wait(&self.fd, &mut buffer, coarse.as_ref()).map(|(ready, _)| ready);
        }
        let ready = match answer {
            Ok(ready) => ready,
            Err(Errno::INTR) => return Ok(()),
            Err(errno) => return Err(Error::new("epoll_wait", errno)),
        };
        events.extend(ready.iter().map(|event| {
            // The fields of the kernel's packed struct are copied, not borrowed.
            let (flags, data) = (event.flags, event.data);
            let broken = flags.intersects(EventFlags::ERR | EventFlags::HUP);
            Event {
                token: data.u64(),
                readable: broken || flags.intersects(EventFlags::IN),
                writable: broken || flags.intersects(EventFlags::OUT),
            }
        }));
        Ok(())
    }
}

impl AsRawFd for Epoll {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Rounded up, so that a timer is never early; a day at most, which fits the
/// C `int` of the old call (its caller looks at the clock anyway).
fn whole_milliseconds(timeout: Duration) -> Timespec {
    const DAY: u128 = 24 * 60 * 60 * 1000;
    let millis = timeout.as_nanos().div_ceil(1_000_000).min(DAY) as i64;
    Timespec { tv_sec: millis / 1000, tv_nsec: millis % 1000 * 1_000_000 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eventfd::EventFd;

    const NOW: Option<Duration> = Some(Duration::ZERO);

    fn ready(epoll: &Epoll, timeout: Option<Duration>) -> Vec<Event> {
        let mut events = Vec::new();
        epoll.wait(&mut events, timeout).unwrap();
        events
    }

    #[test]
    fn reports_the_token_of_what_is_ready() {
        let (epoll, bell) = (Epoll::new().unwrap(), EventFd::new().unwrap());
        epoll.set(bell.as_raw_fd(), 7, Interest::READ, false).unwrap();
        assert_eq!(ready(&epoll, NOW), []);
        bell.ring().unwrap();
        assert_eq!(ready(&epoll, None), [Event { token: 7, readable: true, writable: false }]);
        bell.drain().unwrap();
        assert_eq!(ready(&epoll, NOW), []);
    }

    #[test]
    fn forgives_a_wrong_idea_of_what_is_registered() {
        let (epoll, bell) = (Epoll::new().unwrap(), EventFd::new().unwrap());
        epoll.set(bell.as_raw_fd(), 1, Interest::READ, true).unwrap();
        epoll.set(bell.as_raw_fd(), 2, Interest::WRITE, false).unwrap();
        assert_eq!(ready(&epoll, NOW), [Event { token: 2, readable: false, writable: true }]);
        epoll.delete(bell.as_raw_fd()).unwrap();
        epoll.delete(bell.as_raw_fd()).unwrap();
        epoll.delete(-1).unwrap();
        assert_eq!(ready(&epoll, NOW), []);
    }

    #[test]
    fn once_is_once() {
        let (epoll, bell) = (Epoll::new().unwrap(), EventFd::new().unwrap());
        bell.ring().unwrap();
        epoll.set_once(bell.as_raw_fd(), 1, Interest::READ, false).unwrap();
        assert_eq!(ready(&epoll, NOW), [Event { token: 1, readable: true, writable: false }]);
        assert_eq!(ready(&epoll, NOW), []);
        epoll.set_once(bell.as_raw_fd(), 2, Interest::READ, true).unwrap();
        assert_eq!(ready(&epoll, NOW), [Event { token: 2, readable: true, writable: false }]);
        epoll.set(bell.as_raw_fd(), 3, Interest::READ, true).unwrap();
        assert_eq!(ready(&epoll, NOW).len(), 1);
        assert_eq!(ready(&epoll, NOW).len(), 1);
    }

    #[test]
    fn modifies_only_what_it_knows() {
        let (epoll, bell) = (Epoll::new().unwrap(), EventFd::new().unwrap());
        let fd = bell.as_raw_fd();
        assert!(epoll.modify(fd, 1, Interest::READ, false).unwrap_err().is_absent());
        assert!(epoll.modify(-1, 1, Interest::READ, false).unwrap_err().is_closed());
        bell.ring().unwrap();
        epoll.set(fd, 1, Interest::WRITE, false).unwrap();
        epoll.modify(fd, 2, Interest::READ, true).unwrap();
        assert_eq!(ready(&epoll, NOW), [Event { token: 2, readable: true, writable: false }]);
        assert_eq!(ready(&epoll, NOW), []);
    }

    #[test]
    fn a_replaced_one_watches_what_the_other_does() {
        let (epoll, fresh) = (Epoll::new().unwrap(), Epoll::new().unwrap());
        let (old, new) = (EventFd::new().unwrap(), EventFd::new().unwrap());
        let number = epoll.as_raw_fd();
        for bell in [&old, &new] {
            bell.ring().unwrap();
        }
        epoll.set(old.as_raw_fd(), 1, Interest::READ, false).unwrap();
        fresh.set(new.as_raw_fd(), 2, Interest::READ, false).unwrap();
        epoll.replace(&fresh).unwrap();
        drop(fresh);
        assert_eq!(epoll.as_raw_fd(), number);
        assert_eq!(ready(&epoll, NOW), [Event { token: 2, readable: true, writable: false }]);
    }

    #[test]
    fn refuses_what_cannot_be_watched() {
        let epoll = Epoll::new().unwrap();
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        let error = epoll.set(file.as_raw_fd(), 0, Interest::READ, false).unwrap_err();
        assert_eq!(error.errno(), Errno::PERM);
        assert_eq!(epoll.set(-1, 0, Interest::READ, false).unwrap_err().errno(), Errno::BADF);
    }

    #[test]
    fn old_kernels_round_up() {
        assert_eq!(whole_milliseconds(Duration::from_nanos(1)).tv_nsec, 1_000_000);
        assert_eq!(whole_milliseconds(Duration::from_millis(2_500)).tv_sec, 2);
        assert_eq!(whole_milliseconds(Duration::MAX).tv_sec, 24 * 60 * 60);
        let epoll = Epoll::new().unwrap();
        epoll.milliseconds_only.store(true, Relaxed);
        assert_eq!(ready(&epoll, Some(Duration::from_micros(1))), []);
    }
}
