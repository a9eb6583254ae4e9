//! How connections of non-blocking stream sockets come about.

use std::net::SocketAddr;
use std::os::fd::{OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::set_tcp_nodelay;
use rustix::net::{
    SocketAddrAny, SocketFlags, acceptfrom_with, connect as sys_connect, getpeername, getsockname,
};

use crate::datagram::Address;
use crate::error::{Error, Result};
use crate::raw::borrow;

/// Whether a connection waits in the queue of the listening socket `fd`: a
/// fifth of the cost of an [`accept`] in vain, which makes the socket first.
#[must_use]
pub fn is_waiting(fd: RawFd) -> bool {
    const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
    let Ok(fd) = borrow(fd) else { return false };
    poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&NOW)).is_ok_and(|ready| ready > 0)
}

/// How far [`connect`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Connected.
    Done,
    /// Under way: the socket is writable when it is decided.
    Pending,
    /// It failed while it was under way.
    Failed(Errno),
}

/// Takes one connection out of the queue of the listening socket `fd`: a
/// socket that does not block, and its peer, if [`Address`] can tell that.
/// `None` if none waits, or the one that did has gone.
///
/// # Errors
/// EMFILE, ENFILE, ENOBUFS, ENOMEM; EBADF, EINVAL, EPERM.
pub fn accept(fd: RawFd) -> Result<Option<(OwnedFd, Option<Address>)>> {
    let accepted =
        borrow(fd).and_then(|fd| acceptfrom_with(fd, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC));
    match accepted {
        Ok((socket, peer)) => Ok(Some((socket, peer.and_then(|peer| Address::read(peer).ok())))),
        Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => Ok(None),
        Err(errno) => Err(Error::new("accept4", errno)),
    }
}

/// Connects `fd`, which does not block, to `address`.
///
/// Over the loopback the handshake is over when the first call returns, but
/// that call does not say so: a second one does, and costs a tenth of the wait
/// that it saves. Where the peer is far away it says that nothing has changed.
///
/// # Errors
/// What the first call fails with at once: ENETUNREACH, EADDRNOTAVAIL, EISCONN...
pub fn connect(fd: RawFd, address: &SocketAddr) -> Result<Progress> {
    let attempt = || borrow(fd).and_then(|fd| sys_connect(fd, address));
    match attempt() {
        Ok(()) => return Ok(Progress::Done),
        Err(Errno::INPROGRESS) => {}
        Err(Errno::INTR) => return Ok(Progress::Pending),
        Err(errno) => return Err(Error::new("connect", errno)),
    }
    Ok(match attempt() {
        Ok(()) | Err(Errno::ISCONN) => Progress::Done,
        Err(Errno::ALREADY | Errno::INPROGRESS | Errno::INTR) => Progress::Pending,
        Err(errno) => Progress::Failed(errno),
    })
}

/// Turns Nagle's delay off, if `fd` is a socket of TCP: a write in pieces
/// would wait for the peer's acknowledgement.
///
/// # Errors
/// EBADF.
pub fn send_at_once(fd: RawFd) -> Result<()> {
    match borrow(fd).and_then(|fd| set_tcp_nodelay(fd, true)) {
        // Another protocol, or no socket at all, has no such option.
        Ok(()) | Err(Errno::NOPROTOOPT | Errno::OPNOTSUPP | Errno::NOTSOCK) => Ok(()),
        Err(errno) => Err(Error::new("setsockopt", errno)),
    }
}

/// An end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It has that address.
    Named(Address),
    /// It has none, or no more.
    Nowhere,
    /// It has one that [`Address`] cannot tell.
    Strange,
}

impl End {
    fn of(address: rustix::io::Result<Option<SocketAddrAny>>) -> Self {
        match address.map(|address| address.map(Address::read)) {
            Ok(Some(Ok(address))) => Self::Named(address),
            Ok(Some(Err(_))) => Self::Strange,
            Ok(None) | Err(_) => Self::Nowhere,
        }
    }
}

/// This end of `fd`.
#[must_use]
pub fn local(fd: RawFd) -> End {
    End::of(borrow(fd).and_then(getsockname).map(Some))
}

/// The other end of `fd`, while it is there.
#[must_use]
pub fn peer(fd: RawFd) -> End {
    End::of(borrow(fd).and_then(getpeername))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketType, socket_with};
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    fn socket() -> OwnedFd {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap()
    }

    fn peer_of(stream: &std::net::TcpStream) -> Address {
        Address::Inet(stream.peer_addr().unwrap())
    }

    #[test]
    fn connects_and_accepts() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        assert!(accept(listener.as_raw_fd()).unwrap().is_none());
        let client = socket();
        let to = listener.local_addr().unwrap();
        assert_eq!(connect(client.as_raw_fd(), &to).unwrap(), Progress::Done);
        assert_eq!(connect(client.as_raw_fd(), &to).unwrap_err().errno(), Errno::ISCONN);
        assert!(is_waiting(listener.as_raw_fd()));
        let (accepted, from) = accept(listener.as_raw_fd()).unwrap().unwrap();
        let stream = std::net::TcpStream::from(accepted);
        assert!(!is_waiting(listener.as_raw_fd()) && !is_waiting(-1));
        assert_eq!(from, Some(peer_of(&stream)));
        assert_eq!(local(client.as_raw_fd()), End::Named(peer_of(&stream)));
        assert_eq!(peer(client.as_raw_fd()), End::Named(Address::Inet(to)));
        assert_eq!((local(-1), peer(listener.as_raw_fd())), (End::Nowhere, End::Nowhere));
        assert_eq!(crate::stream::recv(stream.as_raw_fd(), &mut [0]).unwrap(), None, "does not block");
    }

    #[test]
    fn sends_at_once_where_it_is_tcp() {
        let tcp = socket();
        send_at_once(tcp.as_raw_fd()).unwrap();
        assert!(rustix::net::sockopt::tcp_nodelay(&tcp).unwrap());
        let (unix, _) = std::os::unix::net::UnixStream::pair().unwrap();
        send_at_once(unix.as_raw_fd()).unwrap();
        let (no_socket, _) = std::io::pipe().unwrap();
        send_at_once(no_socket.as_raw_fd()).unwrap();
        assert_eq!(send_at_once(-1).unwrap_err().errno(), Errno::BADF);
    }

    #[test]
    fn a_refusal_is_told_at_once() {
        let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let client = socket();
        assert_eq!(connect(client.as_raw_fd(), &unused).unwrap(), Progress::Failed(Errno::CONNREFUSED));
        assert_eq!(accept(-1).unwrap_err().errno(), Errno::BADF);
        assert_eq!(connect(-1, &unused).unwrap_err().errno(), Errno::BADF);
    }
}
