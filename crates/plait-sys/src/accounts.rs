//! What the kernel says of the calling thread's time: on the wall, on a core,
//! in the queue for one, and how often it stopped to wait.
//!
//! - Wall time is `CLOCK_MONOTONIC`; CPU time of the thread and of the whole
//!   process are their own clocks (clock_gettime(2)), to the nanosecond. That of
//!   child processes is known when they have ended and been waited for
//!   (`getrusage(RUSAGE_CHILDREN)`, getrusage(2)), in microseconds.
//! - Time in the queue is the second figure of `/proc/thread-self/schedstat`
//!   (Documentation/scheduler/sched-stats.rst), in nanoseconds. A kernel built
//!   without scheduler statistics has nothing to say: then it is 0.
//! - Stops are the voluntary context switches of `getrusage(RUSAGE_THREAD)`
//!   (getrusage(2)): a thread that is sent away by the scheduler is not
//!   counted, one that waits is.
//!
//! Opening and reading the file takes longer than all the rest (8 µs of 12).
//! A descriptor that is kept would be closed by whoever closes all that it
//! does not know, as daemons do, and its number would then be somebody else's.
//! But a thread is queued only when it is switched out or woken: while it has
//! been switched neither of its own will nor against it, the figure is the
//! last one read.

use std::cell::Cell;
use std::mem::MaybeUninit;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::read;
use rustix::thread::gettid;
use rustix::time::{ClockId, clock_gettime};

/// A reading, or the difference of two; times in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Accounts {
    /// Wall time.
    pub wall: u64,
    /// CPU time of the thread.
    pub cpu: u64,
    /// CPU time of the process, and of its children that have ended.
    pub process_cpu: u64,
    /// Time for which the thread was ready to run and had no core.
    pub queued: u64,
    /// How often the thread stopped to wait.
    pub pauses: u64,
}

impl Accounts {
    /// The accounts of the calling thread; the clocks are read last, so that
    /// what follows is not charged for this.
    #[must_use]
    pub fn before() -> Self {
        let (queued, pauses) = queued_and_pauses();
        let process_cpu = children() + clock(ClockId::ProcessCPUTime);
        let cpu = clock(ClockId::ThreadCPUTime);
        Self { wall: clock(ClockId::Monotonic), cpu, process_cpu, queued, pauses }
    }

    /// The same with the clocks read first, so that what came before is not
    /// charged for this.
    #[must_use]
    pub fn after() -> Self {
        let wall = clock(ClockId::Monotonic);
        let cpu = clock(ClockId::ThreadCPUTime);
        let process_cpu = clock(ClockId::ProcessCPUTime) + children();
        let (queued, pauses) = queued_and_pauses();
        Self { wall, cpu, process_cpu, queued, pauses }
    }

    /// What was spent since an earlier reading by the same thread.
    #[must_use]
    pub const fn since(&self, earlier: &Self) -> Self {
        Self {
            wall: self.wall.saturating_sub(earlier.wall),
            cpu: self.cpu.saturating_sub(earlier.cpu),
            process_cpu: self.process_cpu.saturating_sub(earlier.process_cpu),
            queued: self.queued.saturating_sub(earlier.queued),
            pauses: self.pauses.saturating_sub(earlier.pauses),
        }
    }
}

fn clock(id: ClockId) -> u64 {
    let now = clock_gettime(id);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The last reading of the file: by which thread, and how often that had been
/// switched.
#[derive(Clone, Copy)]
struct Known {
    thread: i32,
    switches: Switches,
    queued: u64,
}

thread_local! {
    static KNOWN: Cell<Option<Known>> = const { Cell::new(None) };
}

fn queued_and_pauses() -> (u64, u64) {
    let switches = switches();
    // A fork's child has the parent's memory and another number.
    let thread = gettid().as_raw_pid();
    let known = KNOWN.get().filter(|known| known.thread == thread && known.switches == switches);
    let queued = known.map_or_else(read_queued, |known| known.queued);
    // Switched meanwhile: then the figure may be the younger, and is read
    // again next time.
    KNOWN.set(Some(Known { thread, switches, queued }));
    (queued, switches.voluntary)
}

fn read_queued() -> u64 {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let Ok(file) = open("/proc/thread-self/schedstat", flags, Mode::empty()) else { return 0 };
    let mut text = [0; 96];
    let Ok(count) = read(&file, &mut text) else { return 0 };
    second_figure(&text[..count])
}

/// The second of the figures in a line; 0 if there is none.
fn second_figure(text: &[u8]) -> u64 {
    let Some(field) = text.split(|byte| byte.is_ascii_whitespace()).nth(1) else { return 0 };
    std::str::from_utf8(field).ok().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// How often the thread was switched, of its own will (it waited) or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Switches {
    voluntary: u64,
    involuntary: u64,
}

fn switches() -> Switches {
    let usage = usage(libc::RUSAGE_THREAD);
    let count = |number| u64::try_from(number).unwrap_or(0);
    Switches { voluntary: count(usage.ru_nvcsw), involuntary: count(usage.ru_nivcsw) }
}

/// CPU time of the children that have ended, in nanoseconds.
fn children() -> u64 {
    let usage = usage(libc::RUSAGE_CHILDREN);
    let nanos = |time: libc::timeval| {
        let (seconds, micros) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_usec));
        seconds.unwrap_or(0) * 1_000_000_000 + micros.unwrap_or(0) * 1_000
    };
    nanos(usage.ru_utime) + nanos(usage.ru_stime)
}

fn usage(whose: libc::c_int) -> libc::rusage {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to a whole `rusage`, which the kernel fills.
    unsafe { libc::getrusage(whose, usage.as_mut_ptr()) };
    // SAFETY: it is all numbers, and was zero from the beginning.
    unsafe { usage.assume_init() }
}

#[cfg(test)]
mod tests {
    use rustix::time::Timespec;

    use super::*;

    #[test]
    fn figures_are_found() {
        assert_eq!(second_figure(b"123 456 7\n"), 456);
        assert_eq!(second_figure(b"123\n"), 0);
        assert_eq!(second_figure(b""), 0);
        assert_eq!(second_figure(b"1 x 2"), 0);
    }

    #[test]
    fn computing_is_cpu_time_and_sleeping_is_a_stop() {
        let begun = Accounts::before();
        let mut computed = Accounts::after().since(&begun);
        while computed.cpu < 5_000_000 {
            computed = Accounts::after().since(&begun);
        }
        // Of the thread's own time a little more is read than of that on the wall: the two clocks
        // are read one after the other.
        assert!(computed.cpu < computed.wall + 1_000_000, "{computed:?}");
        assert!(computed.process_cpu >= 4_000_000, "{computed:?}");

        let begun = Accounts::before();
        let five_milliseconds = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
        rustix::event::poll(&mut [], Some(&five_milliseconds)).unwrap();
        let slept = Accounts::after().since(&begun);
        assert!(slept.wall >= 5_000_000 && slept.pauses >= 1);
    }

    #[test]
    fn what_a_child_computed_is_known_when_it_has_ended() {
        let begun = Accounts::before();
        let command = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done";
        let ended = std::process::Command::new("sh").args(["-c", command]).status().unwrap();
        let spent = Accounts::after().since(&begun);
        assert!(ended.success());
        assert!(spent.process_cpu > spent.cpu + 1_000_000, "{spent:?}");
    }

    #[test]
    fn what_is_remembered_is_what_the_file_says() {
        for _ in 0..100 {
            std::thread::yield_now();
            let (before, (queued, _), after) = (read_queued(), queued_and_pauses(), read_queued());
            assert!((before..=after).contains(&queued));
        }
    }

    #[test]
    fn clocks_that_went_back_are_no_time() {
        let later = Accounts { wall: 5, ..Accounts::default() };
        assert_eq!(Accounts::default().since(&later), Accounts::default());
    }
}
