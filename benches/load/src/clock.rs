//! Wall time, and the time that processes spend on a core.

use std::fs;
use std::io::{Error, ErrorKind};
use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::Result;
use crate::poll::pause;

/// How long a server may go on working after its last answer.
const SETTLE: Duration = Duration::from_secs(2);

fn nanoseconds(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// The monotonic clock, in nanoseconds.
pub(crate) fn now() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// This process' time on a core, in nanoseconds.
pub(crate) fn own_cpu() -> u64 {
    nanoseconds(clock_gettime(ClockId::ProcessCPUTime))
}

/// Another process' time on a core, of all its threads, once it has gone to sleep.
///
/// schedstat counts nanoseconds, but is brought up to date only when a thread leaves its core or
/// a tick strikes: so it is read until it stands still.
pub(crate) fn settled_cpu(pid: u32) -> Result<u64> {
    let begun = now();
    let mut last = schedstat(pid)?;
    loop {
        pause(Duration::from_millis(2))?;
        let next = schedstat(pid)?;
        if next == last {
            return Ok(next);
        }
        if now() - begun > u64::try_from(SETTLE.as_nanos())? {
            return Err("the server does not come to rest after its last answer".into());
        }
        last = next;
    }
}

fn schedstat(pid: u32) -> Result<u64> {
    let mut total = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = task?.path().join("schedstat");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            // A thread that has just ended.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error.into()),
        };
        let word = text.split_whitespace().next().unwrap_or("");
        total += word.parse::<u64>().map_err(|_| Error::other(format!("{}: {text}", path.display())))?;
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_advance() {
        let (wall, own) = (now(), own_cpu());
        while own_cpu() == own {}
        assert!(now() > wall);
        assert!(schedstat(std::process::id()).unwrap() > 0);
    }
}
