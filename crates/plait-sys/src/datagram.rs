//! Non-blocking input and output on datagram sockets, and their addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::RawFd;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrAny, SocketAddrUnix, recvfrom, send as sys_send, sendto,
};

use crate::error::{Error, Result};
use crate::raw::borrow;
use crate::stream::attempt;

const SEND: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

/// Where a datagram comes from or goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// IPv4, or IPv6 with its flow and scope.
    Inet(SocketAddr),
    /// The name of a Unix socket: a path, or an abstract name with the zero
    /// byte that it begins with.
    Unix(Vec<u8>),
}

impl Address {
    /// What the kernel wrote. Unix names are read here: rustix takes it that
    /// a path ends with a zero, and one of full length (108 bytes) does not.
    pub(crate) fn read(address: SocketAddrAny) -> rustix::io::Result<Self> {
        /// Where the name begins: behind the family.
        const NAME: usize = size_of::<u16>();
        if address.address_family() != AddressFamily::UNIX {
            return SocketAddr::try_from(address).map(Self::Inet);
        }
        let length = address.addr_len() as usize;
        // SAFETY: rustix keeps that so many bytes of the storage that this
        // points to are initialised; `address` outlives the slice.
        let bytes = unsafe { std::slice::from_raw_parts(address.as_ptr().cast::<u8>(), length) };
        let name = bytes.get(NAME..).unwrap_or_default();
        let end = match name {
            [0, ..] => name.len(),
            path => path.iter().position(|&byte| byte == 0).unwrap_or(path.len()),
        };
        Ok(Self::Unix(name[..end].to_vec()))
    }
}

/// A Unix socket's address of that name, if there can be one.
fn unix(name: &[u8]) -> rustix::io::Result<SocketAddrUnix> {
    match name {
        [0, name @ ..] => SocketAddrUnix::new_abstract_name(name),
        path => SocketAddrUnix::new(path),
    }
}

/// The text of an IP address as `inet_ntop` writes it.
#[must_use]
pub fn ip_text(ip: IpAddr) -> String {
    if let IpAddr::V6(v6) = ip
        && let [0, 0, 0, 0, 0, 0, high, low] = v6.segments()
        && high != 0
    {
        // The addresses once meant for IPv4 within IPv6: the C library still
        // writes them so, the standard library of Rust does not.
        let bits = u32::from(high) << 16 | u32::from(low);
        return format!("::{}", Ipv4Addr::from_bits(bits));
    }
    ip.to_string()
}

/// The IPv4 address that `text` is: four decimal numbers, as `inet_pton` has it.
#[must_use]
pub fn ipv4(text: &str) -> Option<Ipv4Addr> {
    text.parse().ok()
}

/// The IPv6 address that `text` is, without a scope.
#[must_use]
pub fn ipv6(text: &str) -> Option<Ipv6Addr> {
    text.parse().ok()
}

/// Receives one datagram and where it comes from, which for an unnamed
/// socket is nowhere. `None` if there is none; what is longer than `buffer`
/// is cut.
///
/// # Errors
/// ECONNREFUSED and its like: the answer to an earlier datagram.
pub fn receive(fd: RawFd, buffer: &mut [u8]) -> Result<Option<(usize, Option<Address>)>> {
    let received = attempt("recvfrom", || {
        recvfrom(borrow(fd)?, &mut *buffer, RecvFlags::DONTWAIT)
            .map(|(received, _, address)| (received, address))
    })?;
    let Some((received, address)) = received else { return Ok(None) };
    let address = address.map(Address::read).transpose().map_err(|errno| Error::new("recvfrom", errno))?;
    Ok(Some((received, address)))
}

/// Sends one datagram to the peer that the socket is connected to. False if
/// there is no room for it.
///
/// # Errors
/// EMSGSIZE, ECONNREFUSED (the answer to an earlier one), EDESTADDRREQ.
pub fn send(fd: RawFd, data: &[u8]) -> Result<bool> {
    let sent = attempt("send", || sys_send(borrow(fd)?, data, SEND))?;
    Ok(sent.is_some())
}

/// Sends one datagram to `address`. False if there is no room for it.
///
/// # Errors
/// EMSGSIZE, ENETUNREACH, EPERM and their like.
pub fn send_to(fd: RawFd, data: &[u8], address: &Address) -> Result<bool> {
    let sent = match address {
        Address::Inet(address) => attempt("sendto", || sendto(borrow(fd)?, data, SEND, address))?,
        Address::Unix(name) => attempt("sendto", || sendto(borrow(fd)?, data, SEND, &unix(name)?))?,
    };
    Ok(sent.is_some())
}

/// Whether `name` can be the name of a Unix socket: neither too long nor, as
/// a path, with a zero inside.
#[must_use]
pub fn is_unix_name(name: &[u8]) -> bool {
    !name.is_empty() && unix(name).is_ok()
}

/// The family of the socket's addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    Inet,
    /// IPv6.
    Inet6,
    /// Unix names.
    Unix,
    /// One whose addresses [`Address`] cannot tell.
    Other,
}

impl Family {
    /// The family with that number, `AF_INET` and its like.
    #[must_use]
    pub fn from_raw(number: u16) -> Self {
        match AddressFamily::from_raw(number) {
            AddressFamily::INET => Self::Inet,
            AddressFamily::INET6 => Self::Inet6,
            AddressFamily::UNIX => Self::Unix,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn carries_datagrams_and_their_senders() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let (a, b) = (UdpSocket::bind(any).unwrap(), UdpSocket::bind(any).unwrap());
            let mut buffer = [0; 16];
            assert_eq!(receive_nothing(&a), None);
            let to = Address::Inet(a.local_addr().unwrap());
            assert!(send_to(b.as_raw_fd(), b"abc", &to).unwrap());
            assert!(send_to(b.as_raw_fd(), b"", &to).unwrap());
            let from = Address::Inet(b.local_addr().unwrap());
            assert_eq!(receive(a.as_raw_fd(), &mut buffer).unwrap(), Some((3, Some(from.clone()))));
            assert_eq!(&buffer[..3], b"abc");
            assert_eq!(receive(a.as_raw_fd(), &mut buffer).unwrap(), Some((0, Some(from))));
        }
    }

    fn receive_nothing(socket: &UdpSocket) -> Option<usize> {
        receive(socket.as_raw_fd(), &mut [0; 4]).unwrap().map(|(count, _)| count)
    }

    #[test]
    fn a_refusal_is_told_to_the_connected() {
        let (a, b) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        a.connect(b.local_addr().unwrap()).unwrap();
        drop(b);
        assert!(send(a.as_raw_fd(), b"x").unwrap());
        assert_eq!(receive(a.as_raw_fd(), &mut [0]).unwrap_err().errno(), Errno::CONNREFUSED);
    }

    #[test]
    fn unix_names_of_every_kind() {
        let bound = |name: &[u8]| {
            let socket = UnixDatagram::unbound().unwrap();
            rustix::net::bind(&socket, &unix(name).unwrap()).unwrap();
            socket
        };
        let pid = std::process::id();
        let target = format!("\0plait-sys-{pid}").into_bytes();
        let receiver = bound(&target);
        let to = Address::Unix(target);
        // The longest that other programs bind: no zero behind it.
        let folder = std::env::temp_dir().join(format!("plait-sys-{pid}-"));
        let longest = format!("{:x<108}", folder.to_str().unwrap());
        for name in [format!("\0from-{pid}"), longest[..50].to_owned(), longest] {
            let sender = bound(name.as_bytes());
            assert!(send_to(sender.as_raw_fd(), b"x", &to).unwrap());
            let _ = std::fs::remove_file(&name);
            let from = Some(Address::Unix(name.into_bytes()));
            assert_eq!(receive(receiver.as_raw_fd(), &mut [0; 4]).unwrap(), Some((1, from)));
        }
        let unnamed = UnixDatagram::unbound().unwrap();
        assert!(send_to(unnamed.as_raw_fd(), b"x", &to).unwrap());
        assert_eq!(receive(receiver.as_raw_fd(), &mut [0; 4]).unwrap(), Some((1, None)));
    }

    #[test]
    fn a_full_socket_does_not_block() {
        let (a, _b) = UnixDatagram::pair().unwrap();
        while send(a.as_raw_fd(), &[0; 1024]).unwrap() {}
        assert!(!send(a.as_raw_fd(), b"x").unwrap());
    }

    #[test]
    fn which_names_there_can_be() {
        assert!(is_unix_name(b"/x") && is_unix_name(b"\0") && is_unix_name(b"\0a\0b"));
        assert!(is_unix_name(&[b'x'; 107]));
        for name in [&b""[..], b"/a\0b", &[b'x'; 109], &[0; 109]] {
            assert!(!is_unix_name(name), "{name:?}");
        }
    }

    #[test]
    fn addresses_are_written_as_the_c_library_does() {
        for (text, written) in [
            ("::", "::"),
            ("::1", "::1"),
            ("::1:2", "::0.1.0.2"),
            ("::ffff:1.2.3.4", "::ffff:1.2.3.4"),
            ("::1.2.3.4", "::1.2.3.4"),
            ("1:0:0:2:0:0:0:3", "1:0:0:2::3"),
            ("1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"),
            ("fe80::abcd", "fe80::abcd"),
        ] {
            assert_eq!(ip_text(IpAddr::V6(ipv6(text).unwrap())), written);
        }
        assert_eq!(ip_text(IpAddr::V4(ipv4("10.0.0.1").unwrap())), "10.0.0.1");
        assert_eq!((ipv4("10.0.0.01"), ipv4("10.1"), ipv6("fe80::1%lo")), (None, None, None));
    }
}
