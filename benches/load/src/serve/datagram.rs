//! Bare UDP.

use std::net::{Ipv4Addr, UdpSocket};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketAddrAny, recvfrom, sendto};

use crate::Result;
use crate::poll::{EventFlags, Poll};

/// Send every datagram back.
pub(super) fn serve() -> Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    let mut poll = Poll::new()?;
    poll.add(&socket, 0, EventFlags::IN)?;
    super::announce(socket.local_addr()?)?;
    let mut buffer = vec![0_u8; 64 * 1024];
    loop {
        for _ in poll.wait(None)? {}
        loop {
            let (count, _, from) = match recvfrom(&socket, &mut buffer[..], RecvFlags::empty()) {
                Ok(got) => got,
                Err(Errno::AGAIN) => break,
                // A client has gone before its answer came.
                Err(Errno::CONNREFUSED) => continue,
                Err(error) => return Err(error.into()),
            };
            let from: SocketAddrAny = from.ok_or("a datagram from nowhere")?;
            match sendto(&socket, &buffer[..count], SendFlags::empty(), &from) {
                // Full: the datagram is lost, as datagrams may be.
                Ok(_) | Err(Errno::AGAIN | Errno::CONNREFUSED) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
