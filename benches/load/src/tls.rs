//! TLS by the system's OpenSSL, over sockets that never block.
//!
//! OpenSSL reads from and writes to memory: one system call brings or takes all that there is,
//! however many records that are.

pub(crate) mod certificate;
pub(crate) mod client;
pub(crate) mod server;

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;

use openssl::ssl::{ErrorCode, SslStream};

use crate::wire::{Stream, Wire};

/// What one read of the socket brings at most.
const BUFFER: usize = 256 * 1024;

/// A socket with memory on both sides, which OpenSSL takes for the connection.
struct Buffered {
    socket: Stream,
    input: Vec<u8>,
    /// Where the unread part of the input begins and ends.
    unread: (usize, usize),
    /// The socket had nothing more when it was last read.
    drained: bool,
    output: Vec<u8>,
}

impl Buffered {
    fn new(socket: OwnedFd) -> Self {
        let input = vec![0; BUFFER];
        Self { socket: Stream(socket), input, unread: (0, 0), drained: false, output: Vec::new() }
    }

    /// Send what OpenSSL has written; true when all is sent.
    fn send(&mut self) -> io::Result<bool> {
        let mut sent = 0;
        while sent < self.output.len() {
            match self.socket.send(&self.output[sent..])? {
                Some(count) => sent += count,
                None => break,
            }
        }
        self.output.drain(..sent);
        Ok(self.output.is_empty())
    }
}

impl Read for Buffered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.unread.0 == self.unread.1 {
            if self.drained {
                return Err(ErrorKind::WouldBlock.into());
            }
            let Some(count) = self.socket.receive(&mut self.input)? else {
                self.drained = true;
                return Err(ErrorKind::WouldBlock.into());
            };
            self.drained = count > 0 && count < self.input.len();
            self.unread = (0, count);
        }
        let count = buffer.len().min(self.unread.1 - self.unread.0);
        buffer[..count].copy_from_slice(&self.input[self.unread.0..self.unread.0 + count]);
        self.unread.0 += count;
        Ok(count)
    }
}

impl Write for Buffered {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Decrypt some of what has come; `None` when more must come first, zero at the end.
fn decrypt(stream: &mut SslStream<Buffered>, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    match stream.ssl_read(buffer) {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.code() == ErrorCode::WANT_READ => Ok(None),
        Err(error) if error.code() == ErrorCode::ZERO_RETURN => Ok(Some(0)),
        // The end without TLS's own word for it.
        Err(error) if error.code() == ErrorCode::SYSCALL && error.io_error().is_none() => Ok(Some(0)),
        Err(error) => Err(error.into_io_error().unwrap_or_else(io::Error::other)),
    }
}

/// Encrypt all of this into memory, a record at a time.
fn encrypt(stream: &mut SslStream<Buffered>, bytes: &[u8]) -> io::Result<()> {
    let mut left = bytes;
    while !left.is_empty() {
        let count =
            stream.ssl_write(left).map_err(|error| error.into_io_error().unwrap_or_else(io::Error::other))?;
        left = &left[count..];
    }
    Ok(())
}
