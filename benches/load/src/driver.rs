//! The load: one request at a time on each of many connections.
//!
//! First a phase that warms the server up, then the one that counts. Each ends with every
//! connection idle, so that the server's time on its core between the two ends is exactly that of
//! the answers counted.

use std::io;
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::time::Duration;

use crate::Result;
use crate::arguments::Arguments;
use crate::clock::{now, own_cpu, settled_cpu};
use crate::exchange::{Echo, Exchange, Http};
use crate::phase::Phase;
use crate::poll::{EventFlags, Poll, timespec};
use crate::wire::{Datagram, Stream, Wire};

/// Larger than any message, and than what a socket holds by default.
const BUFFER: usize = 512 * 1024;
/// A server that says nothing for so long is given up.
const SILENCE: Duration = Duration::from_secs(10);

/// Run what `drive KIND` asks for.
pub(crate) fn drive(kind: &str, options: &Arguments) -> Result<()> {
    let port: u16 = options.need("port")?;
    let connections: usize = options.need("connections")?;
    let size: usize = options.get("size")?.unwrap_or(0);
    if connections == 0 || (size == 0 && kind != "http") {
        return Err("--connections and --size must not be zero".into());
    }
    let echo = |index| Echo::new(index, size);
    match kind {
        "echo" => Driver::new(connections, |index| Ok((stream(port)?, echo(index))))?.run(options),
        "http" => Driver::new(connections, |_| Ok((stream(port)?, Http::new(port))))?.run(options),
        "datagram" => Driver::new(connections, |index| Ok((datagram(port)?, echo(index))))?.run(options),
        #[cfg(feature = "tls")]
        "tls" => {
            let connector = crate::tls::client::Connector::new(&options.need::<String>("certificate")?)?;
            Driver::new(connections, |index| Ok((connector.connect(port)?, echo(index))))?.run(options)
        }
        #[cfg(not(feature = "tls"))]
        "tls" => Err(crate::NO_TLS.into()),
        _ => Err(format!("drive what? echo, datagram, http or tls, not {kind}").into()),
    }
}

fn stream(port: u16) -> io::Result<Stream> {
    let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    socket.set_nodelay(true)?;
    socket.set_nonblocking(true)?;
    Ok(Stream(socket.into()))
}

fn datagram(port: u16) -> io::Result<Datagram> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect((Ipv4Addr::LOCALHOST, port))?;
    socket.set_nonblocking(true)?;
    Ok(Datagram(socket.into()))
}

struct Line<W, X> {
    wire: W,
    exchange: X,
    sent: usize,
    begun: u64,
}

impl<W: Wire, X: Exchange> Line<W, X> {
    fn start(&mut self) -> io::Result<()> {
        self.begun = now();
        self.sent = 0;
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        let request = self.exchange.request();
        while self.sent < request.len() {
            match self.wire.send(&request[self.sent..])? {
                Some(count) => self.sent += count,
                None => break,
            }
        }
        Ok(())
    }

    /// Go on as far as possible; true when the answer is whole.
    fn turn(&mut self, buffer: &mut [u8]) -> Result<bool> {
        self.wire.woken()?;
        self.flush()?;
        // Until nothing is left: epoll tells only of what is new.
        while let Some(count) = self.wire.receive(buffer)? {
            if count == 0 {
                return Err("the server hung up".into());
            }
            if self.exchange.take(&buffer[..count])? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

struct Driver<W, X> {
    poll: Poll,
    lines: Vec<Line<W, X>>,
    buffer: Vec<u8>,
}

impl<W: Wire, X: Exchange> Driver<W, X> {
    fn new(connections: usize, make: impl Fn(usize) -> Result<(W, X)>) -> Result<Self> {
        let poll = Poll::new()?;
        let mut flags = EventFlags::IN | EventFlags::ET;
        flags.set(EventFlags::OUT, W::WAITS_FOR_ROOM);
        let mut lines = Vec::with_capacity(connections);
        for index in 0..connections {
            let (wire, exchange) = make(index)?;
            poll.add(wire.descriptor(), index, flags)?;
            lines.push(Line { wire, exchange, sent: 0, begun: 0 });
        }
        Ok(Self { poll, lines, buffer: vec![0; BUFFER] })
    }

    fn run(mut self, options: &Arguments) -> Result<()> {
        let pid: Option<u32> = options.get("pid")?;
        let server_cpu = || pid.map(settled_cpu).transpose();
        self.phase(options.seconds("warm")?)?;
        let (server, own) = (server_cpu()?, own_cpu());
        let phase = self.phase(options.seconds("seconds")?)?;
        let own = own_cpu() - own;
        let server = server_cpu()?.zip(server).map(|(after, before)| after - before);
        println!("{}", phase.json(server, own));
        Ok(())
    }

    /// Ask on every connection, again and again until the time is over, and wait for the last.
    fn phase(&mut self, time: Duration) -> Result<Phase> {
        let begun = now();
        let end = begun + u64::try_from(time.as_nanos())?;
        let silence = timespec(SILENCE);
        let mut latencies = Vec::new();
        for line in &mut self.lines {
            line.start()?;
        }
        let mut busy = self.lines.len();
        while busy > 0 {
            let mut told = false;
            for (token, _) in self.poll.wait(Some(&silence))? {
                told = true;
                let line = &mut self.lines[token];
                if line.turn(&mut self.buffer)? {
                    let at = now();
                    latencies.push(at - line.begun);
                    if at < end {
                        line.start()?;
                    } else {
                        busy -= 1;
                    }
                }
            }
            if !told {
                return Err(format!("the server has not answered for {SILENCE:?}").into());
            }
        }
        Ok(Phase { latencies, wall: now() - begun })
    }
}
