//! Bare TCP, and the loop that TLS uses too.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::Result;
use crate::poll::{EventFlags, Poll};
use crate::wire::{Stream, Wire};

/// What one read brings at most.
const BUFFER: usize = 256 * 1024;
/// The listener's token; a connection's is its place.
const LISTENER: usize = usize::MAX;

/// A connection that sends back what comes.
pub(crate) trait Echo {
    fn descriptor(&self) -> BorrowedFd<'_>;

    /// Read what is there and answer it.
    fn answer(&mut self, buffer: &mut [u8]) -> io::Result<Next>;

    /// Send what could not be sent.
    fn flush(&mut self) -> io::Result<Next>;
}

/// What a connection waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Input,
    Room,
    End,
}

/// An unencrypted connection.
pub(super) struct Plain {
    stream: Stream,
    unsent: Vec<u8>,
}

impl Plain {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self { stream: Stream(socket), unsent: Vec::new() }
    }
}

impl Echo for Plain {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.stream.descriptor()
    }

    fn answer(&mut self, buffer: &mut [u8]) -> io::Result<Next> {
        let Some(count) = self.stream.receive(buffer)? else { return Ok(Next::Input) };
        if count == 0 {
            return Ok(Next::End);
        }
        let sent = self.stream.send(&buffer[..count])?.unwrap_or(0);
        if sent == count {
            return Ok(Next::Input);
        }
        self.unsent.extend_from_slice(&buffer[sent..count]);
        Ok(Next::Room)
    }

    fn flush(&mut self) -> io::Result<Next> {
        let sent = self.stream.send(&self.unsent)?.unwrap_or(0);
        self.unsent.drain(..sent);
        Ok(if self.unsent.is_empty() { Next::Input } else { Next::Room })
    }
}

struct Place<E> {
    echo: E,
    next: Next,
}

/// Accept and echo, until killed.
pub(super) fn serve<E: Echo>(make: impl Fn(OwnedFd) -> Result<E>) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let mut poll = Poll::new()?;
    poll.add(&listener, LISTENER, EventFlags::IN)?;
    super::announce(listener.local_addr()?)?;

    let mut places: Vec<Option<Place<E>>> = Vec::new();
    let mut buffer = vec![0_u8; BUFFER];
    let mut ready: Vec<usize> = Vec::new();
    loop {
        ready.clear();
        ready.extend(poll.wait(None)?.map(|(token, _)| token));
        for &token in &ready {
            if token == LISTENER {
                accept(&listener, &poll, &mut places, &make)?;
            } else if let Some(place) = places.get_mut(token).and_then(Option::as_mut) {
                let before = place.next;
                let next = match before {
                    Next::Room => place.echo.flush(),
                    _ => place.echo.answer(&mut buffer),
                };
                place.next = match next {
                    Ok(next) => next,
                    Err(error) if gone(&error) => Next::End,
                    Err(error) => return Err(error.into()),
                };
                if place.next == Next::End {
                    places[token] = None;
                } else if place.next != before {
                    let flags = if place.next == Next::Room { EventFlags::OUT } else { EventFlags::IN };
                    poll.modify(place.echo.descriptor(), token, flags)?;
                }
            }
        }
    }
}

fn accept<E: Echo>(
    listener: &TcpListener,
    poll: &Poll,
    places: &mut Vec<Option<Place<E>>>,
    make: impl Fn(OwnedFd) -> Result<E>,
) -> Result<()> {
    loop {
        let socket = match listener.accept() {
            Ok((socket, _)) => socket,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        let echo = make(socket.into())?;
        let free = places.iter().position(Option::is_none);
        let token = free.unwrap_or(places.len());
        poll.add(echo.descriptor(), token, EventFlags::IN)?;
        let place = Some(Place { echo, next: Next::Input });
        if free.is_some() { places[token] = place } else { places.push(place) }
    }
}

/// Whether the client has hung up, in one of the ways that it can.
fn gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof)
}
