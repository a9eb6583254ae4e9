//! The load generator's TLS connections.

use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::BorrowedFd;

use openssl::ssl::{ErrorCode, Ssl, SslConnector, SslContext, SslMethod, SslStream};
use rustix::event::{PollFd, PollFlags, poll};

use super::{Buffered, decrypt, encrypt};
use crate::Result;
use crate::poll::timespec;
use crate::wire::Wire;

/// How long a server may take for its part of a handshake.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// Makes connections to a server whose certificate is known.
pub(crate) struct Connector(SslContext);

impl Connector {
    pub(crate) fn new(certificate: &str) -> Result<Self> {
        let mut builder = SslConnector::builder(SslMethod::tls_client())?;
        builder.set_ca_file(certificate)?;
        Ok(Self(builder.build().into_context()))
    }

    /// Connect and shake hands.
    pub(crate) fn connect(&self, port: u16) -> Result<TlsStream> {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let mut ssl = Ssl::new(&self.0)?;
        ssl.set_connect_state();
        ssl.param_mut().set_ip(Ipv4Addr::LOCALHOST.into())?;
        let mut stream = SslStream::new(ssl, Buffered::new(socket.into()))?;
        loop {
            let answer = stream.do_handshake();
            if !stream.get_mut().send()? {
                return Err("a handshake did not fit into a socket".into());
            }
            match answer {
                Ok(()) => return Ok(TlsStream(stream)),
                Err(error) if error.code() == ErrorCode::WANT_READ => {}
                Err(error) => return Err(error.into()),
            }
            let socket = stream.get_ref().socket.descriptor();
            if poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&timespec(PATIENCE)))? == 0 {
                return Err("the server does not shake hands".into());
            }
            stream.get_mut().drained = false;
        }
    }
}

/// A connection after its handshake.
pub(crate) struct TlsStream(SslStream<Buffered>);

impl Wire for TlsStream {
    const WAITS_FOR_ROOM: bool = true;

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.get_ref().socket.descriptor()
    }

    fn woken(&mut self) -> io::Result<()> {
        self.0.get_mut().drained = false;
        // What is left is sent when there is room: epoll will tell.
        self.0.get_mut().send().map(drop)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        encrypt(&mut self.0, bytes)?;
        self.0.get_mut().send()?;
        Ok(Some(bytes.len()))
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        decrypt(&mut self.0, buffer)
    }
}
