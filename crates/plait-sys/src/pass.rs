//! Messages with descriptors between two related processes.
//!
//! A pair of connected Unix sockets of kind SEQPACKET: a message arrives
//! whole or not at all, descriptors travel with it (SCM_RIGHTS, unix(7)),
//! and there is no name that a third process could connect to.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::io::{Errno, IoSliceMut};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use crate::error::{Error, Result};

/// The most descriptors that one message carries here.
pub const MAX_FDS: usize = 64;
/// The longest message here.
pub const MAX_MESSAGE: usize = 256;

/// What [`Packets::receive`] found.
#[derive(Debug)]
pub enum Received {
    /// A message and what came with it.
    Message(Vec<u8>, Vec<OwnedFd>),
    /// Nothing for now.
    Nothing,
    /// The other end is closed.
    End,
}

/// One end of the pair. It never blocks.
#[derive(Debug)]
pub struct Packets(OwnedFd);

impl Packets {
    /// Makes a pair: this process's end, and the end for the process that is
    /// about to be executed (as one of its standard descriptors; that end
    /// blocks).
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM.
    pub fn pair() -> Result<(Self, OwnedFd)> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(|errno| Error::new("socketpair", errno))?;
        Ok((Self(ours), theirs))
    }

    /// Sends a message of at most [`MAX_MESSAGE`] bytes with at most
    /// [`MAX_FDS`] descriptors. False if there is no room for it now.
    ///
    /// # Errors
    /// EPIPE, ECONNRESET: the other process is gone.
    pub fn send(&self, message: &[u8], fds: &[BorrowedFd<'_>]) -> Result<bool> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(Error::new("sendmsg", Errno::MSGSIZE));
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        loop {
            return match sendmsg(&self.0, &[IoSlice::new(message)], &mut control, flags) {
                Ok(_) => Ok(true),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN | Errno::TOOMANYREFS | Errno::NOBUFS) => Ok(false),
                Err(errno) => Err(Error::new("sendmsg", errno)),
            };
        }
    }

    /// Takes the next message, with those of its descriptors that there was
    /// room for.
    ///
    /// # Errors
    /// ECONNRESET; EMSGSIZE for a message that is longer than agreed.
    pub fn receive(&self) -> Result<Received> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = [0u8; MAX_MESSAGE];
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let message = loop {
            match recvmsg(&self.0, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(Received::Nothing),
                Err(errno) => return Err(Error::new("recvmsg", errno)),
                Ok(message) => break message,
            }
        };
        let mut fds = Vec::new();
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(passed) = part {
                fds.extend(passed);
            }
        }
        // Cut off are descriptors for which there is no room here: the message
        // counts without them.
        if message.flags.contains(ReturnFlags::TRUNC) {
            return Err(Error::new("recvmsg", Errno::MSGSIZE));
        }
        // Nobody sends an empty message: no bytes are the end.
        if message.bytes == 0 {
            return Ok(Received::End);
        }
        Ok(Received::Message(bytes[..message.bytes].to_vec(), fds))
    }
}

impl AsFd for Packets {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Packets {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl From<OwnedFd> for Packets {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eventfd::EventFd;

    #[test]
    fn a_descriptor_arrives_with_its_message() {
        let (ours, theirs) = Packets::pair().unwrap();
        let theirs = Packets::from(theirs);
        let bell = EventFd::new().unwrap();
        assert!(ours.send(b"one", &[bell.as_fd()]).unwrap());
        assert!(ours.send(b"two", &[]).unwrap());
        let Received::Message(bytes, mut fds) = theirs.receive().unwrap() else {
            panic!("a message was sent")
        };
        assert_eq!((bytes.as_slice(), fds.len()), (&b"one"[..], 1));
        EventFd::from(fds.remove(0)).ring().unwrap();
        assert!(bell.drain().unwrap());
        assert!(
            matches!(theirs.receive().unwrap(), Received::Message(bytes, fds) if bytes == b"two" && fds.is_empty())
        );
        assert!(matches!(theirs.receive().unwrap(), Received::Nothing));
        drop(ours);
        assert!(matches!(theirs.receive().unwrap(), Received::End));
        assert_eq!(theirs.send(b"x", &[]).unwrap_err().errno(), Errno::PIPE);
    }

    #[test]
    fn a_full_socket_says_so() {
        let (ours, _theirs) = Packets::pair().unwrap();
        let sent = (0..100_000).take_while(|_| ours.send(&[0; MAX_MESSAGE], &[]).unwrap()).count();
        assert!((1..100_000).contains(&sent), "{sent}");
    }

    #[test]
    fn a_message_that_is_too_long_is_refused() {
        let (ours, theirs) = Packets::pair().unwrap();
        assert!(ours.send(&[0; MAX_MESSAGE + 1], &[]).unwrap());
        assert_eq!(Packets::from(theirs).receive().unwrap_err().errno(), Errno::MSGSIZE);
    }
}
