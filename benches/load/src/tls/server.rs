//! The bare TLS server's connections.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use openssl::ssl::{Ssl, SslAcceptor, SslContext, SslFiletype, SslMethod, SslStream};

use super::{Buffered, decrypt, encrypt};
use crate::Result;
use crate::serve::stream::{Echo, Next};
use crate::wire::Wire;

/// Makes connections of a server with its certificate.
pub(crate) struct Acceptor(SslContext);

impl Acceptor {
    pub(crate) fn new(certificate: &str, key: &str) -> Result<Self> {
        // Mozilla's intermediate settings: TLS 1.3 with clients that have it, as Python's own.
        let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
        builder.set_certificate_chain_file(certificate)?;
        builder.set_private_key_file(key, SslFiletype::PEM)?;
        Ok(Self(builder.build().into_context()))
    }

    pub(crate) fn accept(&self, socket: OwnedFd) -> Result<TlsEcho> {
        let mut ssl = Ssl::new(&self.0)?;
        // The handshake is part of reading.
        ssl.set_accept_state();
        Ok(TlsEcho(SslStream::new(ssl, Buffered::new(socket))?))
    }
}

/// An encrypted connection.
pub(crate) struct TlsEcho(SslStream<Buffered>);

impl Echo for TlsEcho {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.get_ref().socket.descriptor()
    }

    fn answer(&mut self, buffer: &mut [u8]) -> io::Result<Next> {
        self.0.get_mut().drained = false;
        while let Some(count) = decrypt(&mut self.0, buffer)? {
            if count == 0 {
                return Ok(Next::End);
            }
            encrypt(&mut self.0, &buffer[..count])?;
        }
        self.flush()
    }

    fn flush(&mut self) -> io::Result<Next> {
        Ok(if self.0.get_mut().send()? { Next::Input } else { Next::Room })
    }
}
