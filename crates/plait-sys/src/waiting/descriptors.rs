//! What the descriptors of a system call are.

use std::os::fd::RawFd;

use rustix::fs::{FileType, fstat};
use rustix::net::{AddressFamily, sockopt};

use super::Waiting;
use super::calls::Call;
use crate::peek;
use crate::raw::borrow;

/// So many descriptors of a list are looked at, and so many bytes of a set:
/// those of one function are few.
const LOOKED_AT: usize = 64;

/// What the call waits on.
pub(super) fn resolve(call: Call) -> Waiting {
    match call {
        Call::Plain(waiting) => waiting,
        Call::Descriptor(fd) => kind(RawFd::try_from(fd).unwrap_or(-1)),
        Call::Poll(_, 0) => Waiting::Sleep,
        Call::Poll(list, count) => among(polled(list, count)),
        Call::Select(below, sets) => among(selected(below, sets)),
        Call::Epoll(fd, endless) => watched(fd, endless),
    }
}

fn kind(fd: RawFd) -> Waiting {
    match borrow(fd).and_then(fstat).map(|stat| FileType::from_raw_mode(stat.st_mode)) {
        Ok(FileType::Socket) => Waiting::Socket,
        Ok(FileType::Fifo) => Waiting::Pipe,
        Ok(FileType::RegularFile | FileType::Directory | FileType::BlockDevice) => Waiting::File,
        // Terminals, and what the kernel makes up: eventfd, timerfd, pidfd.
        _ => Waiting::Other,
    }
}

/// The first of them that has a name.
fn among(fds: Vec<RawFd>) -> Waiting {
    fds.into_iter().map(kind).find(|&kind| kind != Waiting::Other).unwrap_or(Waiting::Other)
}

/// The descriptors of a list of `pollfd`: a descriptor and two words of 16 bits.
fn polled(list: usize, count: usize) -> Vec<RawFd> {
    let mut bytes = [0; 8 * LOOKED_AT];
    let bytes = &mut bytes[..8 * count.min(LOOKED_AT)];
    if peek::read(list, bytes).is_err() {
        return Vec::new();
    }
    let (entries, _) = bytes.as_chunks::<8>();
    entries.iter().map(|&[a, b, c, d, ..]| RawFd::from_ne_bytes([a, b, c, d])).collect()
}

/// The descriptors in three sets of bits, in words of the processor.
fn selected(below: usize, sets: [usize; 3]) -> Vec<RawFd> {
    let mut fds = Vec::new();
    for set in sets.into_iter().filter(|&set| set != 0) {
        let mut bytes = [0; LOOKED_AT];
        let bytes = &mut bytes[..below.div_ceil(64).saturating_mul(8).min(LOOKED_AT)];
        if peek::read(set, bytes).is_err() {
            continue;
        }
        let (words, _) = bytes.as_chunks::<8>();
        for (at, word) in words.iter().enumerate() {
            let word = u64::from_ne_bytes(*word);
            let bits = (0..64).filter(|bit| word >> bit & 1 == 1);
            fds.extend(bits.filter_map(|bit| RawFd::try_from(at * 64 + bit).ok()));
        }
    }
    fds
}

/// What an epoll watches, as `/proc/self/fdinfo` lists it. An event loop
/// watches something to be woken by, and perhaps something for signals: an
/// eventfd, and one end of a pair of local sockets. One that watches nothing
/// else waits for its timers.
fn watched(fd: usize, endless: bool) -> Waiting {
    let Ok(text) = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")) else {
        return Waiting::Other;
    };
    let (mut local, mut pipes) = (0, 0);
    for line in text.lines().filter_map(|line| line.strip_prefix("tfd:")).take(LOOKED_AT) {
        let fd = line.split_ascii_whitespace().next().and_then(|fd| fd.parse().ok()).unwrap_or(-1);
        match kind(fd) {
            Waiting::Socket if !is_local(fd) => return Waiting::Socket,
            Waiting::Socket => local += 1,
            Waiting::Pipe => pipes += 1,
            _ => {}
        }
    }
    match (local, pipes) {
        (2.., _) => Waiting::Socket,
        (_, 1..) => Waiting::Pipe,
        _ if !endless => Waiting::Sleep,
        _ => Waiting::Other,
    }
}

fn is_local(fd: RawFd) -> bool {
    borrow(fd).and_then(sockopt::socket_domain).is_ok_and(|domain| domain == AddressFamily::UNIX)
}
