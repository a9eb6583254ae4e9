//! Whether the children of a fork are gone.
//!
//! A pipe whose write end the child has, and whoever it forks in turn, without
//! ever writing to it: once all of them have ended, or closed it, the read end
//! hangs up (pipe(7)).

use std::os::fd::{IntoRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};

/// A fork that is about to be made.
#[derive(Debug)]
pub struct Begetting(Option<(OwnedFd, OwnedFd)>);

/// The children of a fork that was made.
#[derive(Debug)]
pub struct Kin(Option<OwnedFd>);

impl Begetting {
    /// To be called right before a fork. Without descriptors the children
    /// count as never gone.
    #[must_use]
    pub fn new() -> Self {
        Self(pipe_with(PipeFlags::CLOEXEC).ok())
    }

    /// To be called in the parent.
    #[must_use]
    pub fn in_parent(self) -> Kin {
        Kin(self.0.map(|(read, _write)| read))
    }

    /// To be called in the child, which is kin from here on.
    pub fn in_child(self) {
        // Left open for as long as the process lives.
        self.0.map(|(_read, write)| write.into_raw_fd());
    }
}

impl Default for Begetting {
    fn default() -> Self {
        Self::new()
    }
}

impl Kin {
    /// Whether they are.
    #[must_use]
    pub fn are_gone(&self) -> bool {
        let Some(read) = &self.0 else { return false };
        let mut fds = [PollFd::new(read, PollFlags::empty())];
        let polled = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        polled.is_ok() && fds[0].revents().contains(PollFlags::HUP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_gone_when_the_last_of_them_is() {
        let begetting = Begetting::new();
        let Begetting(Some((_, write))) = &begetting else { panic!("there are descriptors") };
        let child = write.try_clone().unwrap();
        let kin = begetting.in_parent();
        assert!(!kin.are_gone());
        drop(child);
        assert!(kin.are_gone());
        assert!(!Kin(None).are_gone());
    }
}
