//! What carries bytes: a socket, or TLS over one.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

/// A way to send and receive that never blocks. `None` means: not now.
pub(crate) trait Wire {
    /// Whether its room for output is worth waiting for.
    const WAITS_FOR_ROOM: bool;

    /// What epoll watches.
    fn descriptor(&self) -> BorrowedFd<'_>;

    /// epoll has told of it: try again what could not go on.
    fn woken(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<Option<usize>>;

    /// Zero is the end of the input.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>>;
}

/// What a call said, with "not now" apart from errors.
pub(crate) fn unless_blocked(answer: Result<usize, Errno>) -> io::Result<Option<usize>> {
    match answer {
        Ok(count) => Ok(Some(count)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A connected TCP socket.
pub(crate) struct Stream(pub(crate) OwnedFd);

impl Wire for Stream {
    const WAITS_FOR_ROOM: bool = true;

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        unless_blocked(send(&self.0, bytes, SendFlags::NOSIGNAL))
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        unless_blocked(recv(&self.0, buffer, RecvFlags::empty()).map(|(count, _)| count))
    }
}

/// A connected UDP socket.
pub(crate) struct Datagram(pub(crate) OwnedFd);

impl Wire for Datagram {
    // The kernel tells of room after every datagram, wanted or not.
    const WAITS_FOR_ROOM: bool = false;

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        Ok(Some(send(&self.0, bytes, SendFlags::NOSIGNAL)?))
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        unless_blocked(recv(&self.0, buffer, RecvFlags::empty()).map(|(count, _)| count))
    }
}
