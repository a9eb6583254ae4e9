//! Input and output on pipes, terminals and whatever else takes `read` and
//! `write`.
//!
//! There is no flag for one call, as sockets have it, and the mode of the open
//! file description is everybody's who shares it: another process may have
//! made it block. So it is looked at before each call. If it does block, the
//! kernel is asked whether there is room: that means at least [`PIPE_BUF`]
//! bytes of it in a pipe, and so much is written at once.

use std::io::IoSlice;
use std::os::fd::{OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::{Errno, read as sys_read, write as sys_write, writev};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::descriptor;
use crate::error::{Error, Result};
use crate::raw::borrow;
use crate::stream::{MAX_SLICES, attempt};

/// So many bytes fit into a pipe that is said to have room (pipe(7)).
const PIPE_BUF: usize = 4096;

/// Makes a pipe to read without waiting, and to write as usual.
///
/// # Errors
/// EMFILE, ENFILE.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| Error::new("pipe2", errno))?;
    // Each end is a description of its own, with a mode of its own.
    fcntl_setfl(&reader, OFlags::NONBLOCK).map_err(|errno| Error::new("fcntl(F_SETFL)", errno))?;
    Ok((reader, writer))
}

/// Whether a call on `fd`, which blocks, would wait now.
fn would_wait(fd: RawFd, wanted: PollFlags) -> Result<bool> {
    const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
    let ready = attempt("poll", || poll(&mut [PollFd::from_borrowed_fd(borrow(fd)?, wanted)], Some(&NOW)))?;
    Ok(ready == Some(0))
}

/// Reads what there is, up to the size of `buffer`. `Some(0)` is the end of
/// the input, `None` that there is nothing yet.
///
/// # Errors
/// EIO (a terminal whose other side is gone) and its like.
pub fn read(fd: RawFd, buffer: &mut [u8]) -> Result<Option<usize>> {
    if descriptor::blocks(fd)? && would_wait(fd, PollFlags::IN)? {
        return Ok(None);
    }
    attempt("read", || sys_read(borrow(fd)?, &mut *buffer))
}

/// Writes as much of `data` as there is room for; `None` if there is none.
///
/// # Errors
/// EPIPE and its like. The signal that comes with EPIPE is ignored by Python
/// unless the program changed that.
pub fn write(fd: RawFd, data: &[u8]) -> Result<Option<usize>> {
    if descriptor::blocks(fd)? { write_blocking(fd, data) } else { write_now(fd, data) }
}

fn write_now(fd: RawFd, data: &[u8]) -> Result<Option<usize>> {
    attempt("write", || sys_write(borrow(fd)?, data))
}

fn write_blocking(fd: RawFd, data: &[u8]) -> Result<Option<usize>> {
    if would_wait(fd, PollFlags::OUT)? {
        return Ok(None);
    }
    write_now(fd, &data[..data.len().min(PIPE_BUF)])
}

/// As [`write`], for the first [`MAX_SLICES`] of `slices` in one call.
///
/// # Errors
/// EPIPE and its like.
pub fn write_vectored(fd: RawFd, slices: &[IoSlice<'_>]) -> Result<Option<usize>> {
    if descriptor::blocks(fd)? {
        let first = slices.iter().find(|slice| !slice.is_empty());
        return first.map_or(Ok(Some(0)), |first| write_blocking(fd, first));
    }
    let slices = &slices[..slices.len().min(MAX_SLICES)];
    attempt("writev", || writev(borrow(fd)?, slices))
}

/// Whether `error` is the answer of a terminal whose other side is gone.
#[must_use]
pub fn is_hang_up(error: &Error) -> bool {
    error.errno() == Errno::IO
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    fn pipe() -> (OwnedFd, OwnedFd) {
        pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap()
    }

    #[test]
    fn carries_bytes_and_tells_their_end() {
        let (reader, writer) = pipe();
        let mut buffer = [0; 16];
        assert_eq!(read(reader.as_raw_fd(), &mut buffer).unwrap(), None);
        assert_eq!(write(writer.as_raw_fd(), b"ab").unwrap(), Some(2));
        let slices = [IoSlice::new(b"cd"), IoSlice::new(b"e")];
        assert_eq!(write_vectored(writer.as_raw_fd(), &slices).unwrap(), Some(3));
        assert_eq!(read(reader.as_raw_fd(), &mut buffer).unwrap(), Some(5));
        assert_eq!(&buffer[..5], b"abcde");
        drop(writer);
        assert_eq!(read(reader.as_raw_fd(), &mut buffer).unwrap(), Some(0));
    }

    #[test]
    fn a_pair_waits_at_one_end_only() {
        let (reader, writer) = pair().unwrap();
        assert!(!descriptor::blocks(reader.as_raw_fd()).unwrap());
        assert!(descriptor::blocks(writer.as_raw_fd()).unwrap());
    }

    #[test]
    fn a_full_pipe_does_not_block() {
        let (_reader, writer) = pipe();
        let chunk = vec![0; 1 << 16];
        while write(writer.as_raw_fd(), &chunk).unwrap().is_some() {}
        assert_eq!(write_vectored(writer.as_raw_fd(), &[IoSlice::new(b"x")]).unwrap(), None);
    }

    #[test]
    fn a_pipe_that_somebody_made_block_does_not_block_here() {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let (reader, writer) = (reader.as_raw_fd(), writer.as_raw_fd());
        let mut buffer = vec![0; 1 << 17];
        assert_eq!(read(reader, &mut buffer).unwrap(), None);
        let mut sent = 0;
        while let Some(count) = write(writer, &buffer).unwrap() {
            sent += count;
        }
        assert!(sent >= PIPE_BUF);
        assert_eq!(write_vectored(writer, &[IoSlice::new(b""), IoSlice::new(b"x")]).unwrap(), None);
        assert_eq!(read(reader, &mut buffer).unwrap(), Some(sent));
        assert_eq!(write_vectored(writer, &[IoSlice::new(b""), IoSlice::new(b"x")]).unwrap(), Some(1));
    }

    #[test]
    fn a_pipe_that_nobody_reads_is_an_error() {
        let (reader, writer) = pipe();
        drop(reader);
        assert_eq!(write(writer.as_raw_fd(), b"x").unwrap_err().errno(), Errno::PIPE);
        assert_eq!(read(-1, &mut [0]).unwrap_err().errno(), Errno::BADF);
    }
}
