//! Signals that the kernel sends this process when their time has come.
//!
//! A timer of timer_create(2) needs no thread that watches, and SIGKILL from
//! one ends even a process that is stopped or blocks everything else. A child
//! of a fork does not inherit it; a program that is executed does not either.

use std::mem::MaybeUninit;
use std::time::Duration;

use rustix::io::Errno;

use crate::error::{Error, Result};

/// Has `signal` sent to this process after `delay`, as long as it lives.
///
/// # Errors
/// EINVAL for what is no signal, or no delay at all; EAGAIN.
pub fn signal_after(signal: i32, delay: Duration) -> Result<()> {
    let seconds = libc::time_t::try_from(delay.as_secs());
    if delay.is_zero() || seconds.is_err() {
        // The one would disarm the timer, the other is no date.
        return Err(Error::new("timer_settime", Errno::INVAL));
    }
    let mut setting = zeroed::<libc::itimerspec>();
    setting.it_value.tv_sec = seconds.unwrap_or_default();
    setting.it_value.tv_nsec = libc::c_long::from(delay.subsec_nanos().cast_signed());

    let mut event = zeroed::<libc::sigevent>();
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = signal;
    let mut timer = MaybeUninit::<libc::timer_t>::uninit();
    // SAFETY: the event is complete, and the timer's number is written to
    // where there is room for it.
    let made = unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, timer.as_mut_ptr()) };
    if made != 0 {
        return Err(last_error("timer_create"));
    }
    // SAFETY: `timer_create` succeeded, so it has written the number.
    let timer = unsafe { timer.assume_init() };
    // SAFETY: the timer is the one that was just made, the setting is
    // complete, and nobody wants to know the one before.
    let set = unsafe { libc::timer_settime(timer, 0, &raw const setting, std::ptr::null_mut()) };
    if set != 0 {
        return Err(last_error("timer_settime"));
    }
    Ok(())
}

/// A structure of the C library in which zero means nothing special.
fn zeroed<T: Plain>() -> T {
    // SAFETY: `Plain` is for types that zeroes are a value of.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// # Safety
/// Zeroes have to be a value of the type.
unsafe trait Plain {}
// SAFETY: numbers.
unsafe impl Plain for libc::itimerspec {}
// SAFETY: numbers, and a union of a number and a pointer that may be null.
unsafe impl Plain for libc::sigevent {}

fn last_error(call: &'static str) -> Error {
    let number = std::io::Error::last_os_error().raw_os_error().unwrap_or_default();
    Error::from_raw_os_error(call, number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    // In a child, which it is to end: the test executes itself.
    #[test]
    fn ends_a_process_that_is_stopped() {
        if std::env::var_os("PLAIT_TEST_ALARM").is_some() {
            signal_after(libc::SIGKILL, Duration::from_millis(50)).unwrap();
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP).unwrap();
            return;
        }
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["alarm::tests::ends_a_process_that_is_stopped", "--exact"]);
        let status = command.env("PLAIT_TEST_ALARM", "1").stdout(Stdio::null()).status().unwrap();
        assert_eq!(status.signal(), Some(libc::SIGKILL));
    }

    #[test]
    fn refuses_what_is_no_signal_and_no_delay() {
        let second = Duration::from_secs(1);
        assert_eq!(signal_after(1000, second).unwrap_err().errno(), Errno::INVAL);
        assert_eq!(signal_after(libc::SIGTERM, Duration::ZERO).unwrap_err().errno(), Errno::INVAL);
        assert_eq!(signal_after(libc::SIGTERM, Duration::MAX).unwrap_err().errno(), Errno::INVAL);
    }
}
