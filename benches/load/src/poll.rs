//! epoll, as much of it as is needed here.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData};
use rustix::event::{Timespec, poll};
use rustix::io::Errno;

pub(crate) use rustix::event::epoll::EventFlags;

/// How many events one wait brings at most.
const BATCH: usize = 1024;

/// An epoll instance and room for what it tells.
pub(crate) struct Poll {
    fd: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poll {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { fd: epoll::create(CreateFlags::CLOEXEC)?, events: Vec::with_capacity(BATCH) })
    }

    pub(crate) fn add(&self, fd: impl AsFd, token: usize, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::add(&self.fd, fd, EventData::new_u64(token as u64), flags)?)
    }

    pub(crate) fn modify(&self, fd: impl AsFd, token: usize, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::modify(&self.fd, fd, EventData::new_u64(token as u64), flags)?)
    }

    /// Wait, and give each ready token with its flags; nothing at all when the time is over.
    pub(crate) fn wait(
        &mut self,
        limit: Option<&Timespec>,
    ) -> io::Result<impl Iterator<Item = (usize, EventFlags)>> {
        self.events.clear();
        loop {
            match epoll::wait(&self.fd, spare_capacity(&mut self.events), limit) {
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.events.iter().map(|event| {
            // Copied out: the kernel's structure is packed.
            let (data, flags) = (event.data, event.flags);
            (usize::try_from(data.u64()).unwrap_or(usize::MAX), flags)
        }))
    }
}

/// Do nothing for a while.
pub(crate) fn pause(time: Duration) -> io::Result<()> {
    match poll(&mut [], Some(&timespec(time))) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A duration as the kernel wants it.
pub(crate) fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(time.subsec_nanos()),
    }
}
