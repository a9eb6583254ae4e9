//! Non-blocking input and output on connected stream sockets.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::RawFd;

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendFlags, recv as sys_recv, recvmsg,
    send as sys_send, sendmsg,
};

use crate::error::{Error, Result};
use crate::raw::borrow;

/// The most buffers that one vectored write takes (`IOV_MAX` on Linux).
pub const MAX_SLICES: usize = 1024;

/// Retries what a signal interrupted, and turns "would block" into `None`.
pub(crate) fn attempt<T>(
    call: &'static str,
    mut f: impl FnMut() -> rustix::io::Result<T>,
) -> Result<Option<T>> {
    loop {
        match f() {
            Ok(done) => return Ok(Some(done)),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(None),
            Err(errno) => return Err(Error::new(call, errno)),
        }
    }
}

/// Receives what there is, up to the size of `buffer`. `Some(0)` is the end
/// of the input, `None` that there is nothing yet.
///
/// # Errors
/// ECONNRESET and its like.
pub fn recv(fd: RawFd, buffer: &mut [u8]) -> Result<Option<usize>> {
    attempt("recv", || sys_recv(borrow(fd)?, &mut *buffer, RecvFlags::DONTWAIT).map(|(received, _)| received))
}

/// As [`recv`], into `first` and, once that is full, into `rest`.
///
/// # Errors
/// ECONNRESET and its like.
pub fn recv_split(fd: RawFd, first: &mut [u8], rest: &mut [u8]) -> Result<Option<usize>> {
    attempt("recvmsg", || {
        let mut slices = [IoSliceMut::new(&mut *first), IoSliceMut::new(&mut *rest)];
        // Without room for descriptors that a Unix socket may bring: the
        // kernel closes them, as it does for `recv`.
        let mut no_control = RecvAncillaryBuffer::default();
        recvmsg(borrow(fd)?, &mut slices, &mut no_control, RecvFlags::DONTWAIT).map(|received| received.bytes)
    })
}

/// Sends as much of `data` as there is room for; `None` if there is none. A
/// broken connection is an error here, not a SIGPIPE.
///
/// # Errors
/// EPIPE, ECONNRESET and their like.
pub fn send(fd: RawFd, data: &[u8]) -> Result<Option<usize>> {
    attempt("send", || sys_send(borrow(fd)?, data, SendFlags::DONTWAIT | SendFlags::NOSIGNAL))
}

/// As [`send`], for the first [`MAX_SLICES`] of `slices` in one call.
///
/// # Errors
/// EPIPE, ECONNRESET and their like.
pub fn send_vectored(fd: RawFd, slices: &[IoSlice<'_>]) -> Result<Option<usize>> {
    let slices = &slices[..slices.len().min(MAX_SLICES)];
    attempt("sendmsg", || {
        let mut no_control = SendAncillaryBuffer::default();
        sendmsg(borrow(fd)?, slices, &mut no_control, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn carries_bytes_and_tells_their_end() {
        let (a, b) = UnixStream::pair().unwrap();
        let mut buffer = [0; 16];
        assert_eq!(recv(b.as_raw_fd(), &mut buffer).unwrap(), None);
        assert_eq!(send(a.as_raw_fd(), b"ab").unwrap(), Some(2));
        let slices = [IoSlice::new(b"cd"), IoSlice::new(b"e")];
        assert_eq!(send_vectored(a.as_raw_fd(), &slices).unwrap(), Some(3));
        assert_eq!(recv(b.as_raw_fd(), &mut buffer).unwrap(), Some(5));
        assert_eq!(&buffer[..5], b"abcde");
        let (mut first, mut rest) = ([0; 2], [0; 4]);
        assert_eq!(recv_split(b.as_raw_fd(), &mut first, &mut rest).unwrap(), None);
        assert_eq!(send(a.as_raw_fd(), b"fghij").unwrap(), Some(5));
        assert_eq!(recv_split(b.as_raw_fd(), &mut first, &mut rest).unwrap(), Some(5));
        assert_eq!((&first, &rest[..3]), (b"fg", &b"hij"[..]));
        drop(a);
        assert_eq!(recv_split(b.as_raw_fd(), &mut first, &mut rest).unwrap(), Some(0));
        assert_eq!(recv(b.as_raw_fd(), &mut buffer).unwrap(), Some(0));
    }

    #[test]
    fn a_broken_connection_is_an_error_not_a_signal() {
        let (a, b) = UnixStream::pair().unwrap();
        drop(b);
        assert_eq!(send(a.as_raw_fd(), b"x").unwrap_err().errno(), Errno::PIPE);
        assert_eq!(recv(-1, &mut [0]).unwrap_err().errno(), Errno::BADF);
    }

    #[test]
    fn a_full_socket_does_not_block() {
        let (a, _b) = UnixStream::pair().unwrap();
        let chunk = vec![0; 1 << 16];
        while send(a.as_raw_fd(), &chunk).unwrap().is_some() {}
        assert_eq!(send_vectored(a.as_raw_fd(), &[IoSlice::new(b"x")]).unwrap(), None);
    }
}
