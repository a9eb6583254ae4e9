//! SIGTERM as a request to stop what runs, told apart from anybody else's.
//!
//! A signal that is sent through a pidfd can carry what `sigqueue(3)` gives
//! it: the code SI_QUEUE and a value (pidfd_send_signal(2)). Ours carry
//! [`COOKIE`]. In the process that called [`heed`] they do no more than
//! interrupt it, and only while it is asked to stop something; every other
//! SIGTERM (`kill`, a shutdown of the system) ends it as if nobody handled
//! the signal, also in the middle of a C function.
//!
//! SIGTERM does not queue: one that arrives while another is pending is
//! dropped, and the first keeps its value. So the value says whose it is and
//! nothing about what is to stop; that is for the word to say.
//!
//! A child of a fork inherits the handler. Nobody sends it ours, so SIGTERM
//! ends it.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Acquire;

use rustix::io::Errno;

use crate::error::{Error, Result};

/// Tells our signals from others': nothing else queues SIGTERM with it.
const COOKIE: usize = 0x706c_6169;

/// What interrupts the program that runs in this process; called in the
/// handler of a signal.
#[derive(Debug, Clone, Copy)]
pub struct Interrupt(extern "C" fn(c_int));

impl Interrupt {
    /// # Safety
    /// The function may be called by the handler of a signal, in any thread,
    /// at any time: it does only what signal-safety(7) allows.
    #[must_use]
    pub const unsafe fn new(function: extern "C" fn(c_int)) -> Self {
        Self(function)
    }
}

struct Stops {
    word: &'static AtomicU64,
    asked: u64,
    interrupt: Interrupt,
}

static STOPS: OnceLock<Stops> = OnceLock::new();

/// From here on our SIGTERM interrupts this process while a bit of `asked` is
/// set in `word`, and everybody else's ends it. Only the first call counts.
///
/// # Errors
/// What the kernel refuses.
pub fn heed(word: &'static AtomicU64, asked: u64, interrupt: Interrupt) -> Result<()> {
    STOPS.get_or_init(|| Stops { word, asked, interrupt });
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: zero is a valid sigaction (no flags, SIG_DFL, some mask), which
    // sigemptyset then makes an empty one; the pointers are to locals.
    let failed = unsafe {
        let action = action.assume_init_mut();
        let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_terminate;
        action.sa_sigaction = handler as libc::sighandler_t;
        // As CPython sets its handlers: no restart, so that waits end.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(libc::SIGTERM, action, std::ptr::null_mut())
    };
    if failed == 0 { Ok(()) } else { Err(last_error("sigaction")) }
}

/// Runs in whatever thread the kernel picks (the main thread, if that does
/// not block the signal): atomic loads and calls of signal-safety(7) only.
extern "C" fn on_terminate(signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    // SAFETY: the kernel passes a valid siginfo to a handler of SA_SIGINFO;
    // the value is there if the code is SI_QUEUE, as its union says.
    let ours =
        unsafe { (*info).si_code == libc::SI_QUEUE && (*info).si_value().sival_ptr as usize == COOKIE };
    if !ours {
        // SAFETY: both are allowed in a handler. The signal is blocked until
        // this returns; then it does what it does by default: it ends us.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
        return;
    }
    // Acquire: pairs with the parent's swap of the word, before it signalled.
    if let Some(stops) = STOPS.get()
        && stops.word.load(Acquire) & stops.asked != 0
    {
        // SAFETY: each thread has its own errno, at a fixed place.
        let errno = unsafe { libc::__errno_location() };
        // SAFETY: as above; what was interrupted may be about to read it.
        let before = unsafe { *errno };
        stops.interrupt.0(signal);
        // SAFETY: as above.
        unsafe { *errno = before };
    }
}

/// siginfo_t as the kernel has it on 64-bit machines, for SI_QUEUE.
#[repr(C)]
struct Queued {
    signal: c_int,
    errno: c_int,
    code: c_int,
    _gap: c_int,
    pid: libc::pid_t,
    uid: libc::uid_t,
    value: usize,
    _rest: [usize; 12],
}

const _: () = assert!(size_of::<Queued>() == size_of::<libc::siginfo_t>());

/// Sends our SIGTERM.
pub(crate) fn ask(process: BorrowedFd<'_>) -> Result<()> {
    let info = Queued {
        signal: libc::SIGTERM,
        errno: 0,
        code: libc::SI_QUEUE,
        _gap: 0,
        pid: i32::try_from(std::process::id()).unwrap_or_default(),
        // SAFETY: it has no arguments and cannot fail.
        uid: unsafe { libc::getuid() },
        value: COOKIE,
        _rest: [0; 12],
    };
    // SAFETY: the kernel reads a siginfo_t, which `info` has the size and
    // layout of; the descriptor is borrowed for the call.
    let sent = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), libc::SIGTERM, &raw const info, 0_u32)
    };
    if sent == 0 { Ok(()) } else { Err(last_error("pidfd_send_signal")) }
}

fn last_error(call: &'static str) -> Error {
    let error = std::io::Error::last_os_error();
    Error::new(call, Errno::from_io_error(&error).unwrap_or(Errno::INVAL))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Instant;
    use crate::process::{Blow, ProcessFd};
    use std::os::fd::AsFd;
    use std::sync::atomic::AtomicI32;
    use std::sync::atomic::Ordering::SeqCst;
    use std::time::Duration;

    static WORD: AtomicU64 = AtomicU64::new(0);
    static HEARD: AtomicI32 = AtomicI32::new(0);

    extern "C" fn hear(signal: c_int) {
        HEARD.fetch_add(signal, SeqCst);
    }

    // One test: the handler belongs to the process. What a foreign SIGTERM
    // does is tested where there is a process to lose: tests/test_kills.py.
    #[test]
    fn our_signal_interrupts_what_is_to_stop() {
        // SAFETY: an atomic addition.
        let interrupt = unsafe { Interrupt::new(hear) };
        heed(&WORD, 0b10, interrupt).unwrap();
        let this = ProcessFd::open(std::process::id()).unwrap();
        ask(this.as_fd()).unwrap();
        WORD.store(0b110, SeqCst);
        // The one before may still be on its way to another thread.
        let start = Instant::now();
        while HEARD.load(SeqCst) == 0 {
            this.strike(Blow::Stop).unwrap();
            assert!(Instant::now().saturating_since(start) < Duration::from_secs(60));
            std::thread::yield_now();
        }
        assert_eq!(HEARD.load(SeqCst) % libc::SIGTERM, 0);
    }
}
