//! What workers write to standard error: shown, and remembered in part.
//!
//! File descriptor 2 of a worker is a pipe. The supervisor reads it, keeps the
//! last of it for [`Death`](super::Death), and writes it to the standard error
//! of this process, which may be stuck (a full pipe, a stopped terminal): then
//! nothing more is read, the pipe of the worker fills up, and whoever writes
//! to it waits, as it would have without us. Nobody else does.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use plait_sys::{Result, pipe};

/// How much of it is remembered.
const TAIL: usize = 8192;
/// How much is read at a time.
const CHUNK: usize = 1 << 16;
/// What is written in one piece to a pipe is not mixed with what others write,
/// up to this size (pipe(7)).
const WHOLE: usize = 4096;
/// How much of what is left behind by a worker is read: what it has started
/// may go on for ever.
const LEFT_BEHIND: usize = 1 << 20;

/// The reading end of a worker's standard error.
#[derive(Debug)]
pub(crate) struct Outlet {
    pipe: OwnedFd,
    ended: bool,
    tail: VecDeque<u8>,
    /// Read, and not written yet.
    waiting: Vec<u8>,
}

/// Where it goes.
type Show<'a> = &'a mut dyn FnMut(&[u8]) -> Result<Option<usize>>;

impl Outlet {
    /// An outlet, and the end for the worker.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub(crate) fn new() -> Result<(Self, OwnedFd)> {
        let (pipe, theirs) = pipe::pair()?;
        Ok((Self { pipe, ended: false, tail: VecDeque::new(), waiting: Vec::new() }, theirs))
    }

    /// To be watched while [`may_read`](Self::may_read).
    pub(crate) fn number(&self) -> RawFd {
        self.pipe.as_raw_fd()
    }

    /// Whether there may be more to read, and room for it.
    pub(crate) fn may_read(&self) -> bool {
        !self.ended && self.waiting.is_empty()
    }

    /// Whether everything that was read has been shown.
    pub(crate) fn is_shown(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether all that there will ever be has been shown.
    pub(crate) fn is_finished(&self) -> bool {
        self.ended && self.is_shown()
    }

    /// Reads once, if what was read before is shown, and shows what there is
    /// room for.
    pub(crate) fn carry(&mut self, show: Show<'_>) {
        if self.may_read() {
            self.read();
        }
        self.empty(show);
    }

    /// Reads once. False if there was nothing.
    fn read(&mut self) -> bool {
        let before = self.waiting.len();
        self.waiting.resize(before + CHUNK, 0);
        let count = match pipe::read(self.number(), &mut self.waiting[before..]) {
            Ok(Some(count)) if count > 0 => count,
            Ok(None) => 0,
            Ok(Some(_)) | Err(_) => {
                self.ended = true;
                0
            }
        };
        self.waiting.truncate(before + count);
        let new = &self.waiting[before..];
        let new = &new[new.len().saturating_sub(TAIL)..];
        self.tail.drain(..(self.tail.len() + new.len()).saturating_sub(TAIL));
        self.tail.extend(new);
        count > 0
    }

    /// Shows what there is room for.
    pub(crate) fn empty(&mut self, show: Show<'_>) {
        let mut shown = 0;
        while let Some(piece) = first_piece(&self.waiting[shown..]) {
            match show(piece) {
                Ok(Some(count)) => shown += count,
                Ok(None) => break,
                // There is no standard error (any more): it is read all the
                // same, and remembered.
                Err(_) => shown = self.waiting.len(),
            }
        }
        self.waiting.drain(..shown);
        if self.waiting.is_empty() {
            // Nothing is held for those who are silent.
            self.waiting = Vec::new();
        }
    }

    /// The worker is gone: reads what it has left behind, shows what there is
    /// room for, and tells the last words.
    pub(crate) fn last_words(&mut self, show: Show<'_>) -> String {
        let mut left = LEFT_BEHIND / CHUNK;
        // Also what cannot be shown now: it is not much, and the end of it
        // may say why.
        while left > 0 && !self.ended && self.read() {
            left -= 1;
        }
        self.empty(show);
        let tail = self.tail.make_contiguous();
        let lines = match tail.iter().position(|&byte| byte == b'\n') {
            Some(end) if tail.len() == TAIL => &tail[end + 1..],
            _ => &*tail,
        };
        String::from_utf8_lossy(lines).into_owned()
    }
}

/// What is to be written first: whole lines, no more than is kept together.
fn first_piece(data: &[u8]) -> Option<&[u8]> {
    let most = &data[..data.len().min(WHOLE)];
    if most.len() == data.len() {
        return (!data.is_empty()).then_some(data);
    }
    let end = most.iter().rposition(|&byte| byte == b'\n');
    Some(end.map_or(most, |end| &most[..=end]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use plait_sys::Error;
    use proptest::prelude::*;

    fn outlet() -> (Outlet, std::fs::File) {
        let (outlet, theirs) = Outlet::new().unwrap();
        (outlet, theirs.into())
    }

    fn write(file: &mut std::fs::File, data: &[u8]) {
        std::io::Write::write_all(file, data).unwrap();
    }

    #[test]
    fn shows_and_remembers() {
        let (mut outlet, mut worker) = outlet();
        let mut shown = Vec::new();
        write(&mut worker, b"one\ntwo");
        outlet.carry(&mut |data| {
            shown.extend_from_slice(data);
            Ok(Some(data.len()))
        });
        assert_eq!(shown, b"one\ntwo");
        assert!(outlet.is_shown() && outlet.may_read());
        write(&mut worker, b" and three");
        drop(worker);
        assert_eq!(outlet.last_words(&mut |data| Ok(Some(data.len()))), "one\ntwo and three");
        assert!(outlet.is_finished() && !outlet.may_read());
    }

    #[test]
    fn who_is_stuck_reads_no_more_and_loses_nothing() {
        let (mut outlet, mut worker) = outlet();
        let mut shown = Vec::new();
        write(&mut worker, b"first ");
        outlet.carry(&mut |_| Ok(None));
        write(&mut worker, b"second ");
        outlet.carry(&mut |_| Ok(None));
        assert!(!outlet.may_read() && !outlet.is_shown());
        // A byte at a time, then stuck again.
        let mut room = 3;
        let mut little = |data: &[u8]| {
            if room == 0 {
                return Ok(None);
            }
            room -= 1;
            shown.push(data[0]);
            Ok(Some(1))
        };
        outlet.carry(&mut little);
        assert_eq!(shown, b"fir");
        // Its end is remembered even so.
        write(&mut worker, b"third");
        assert_eq!(outlet.last_words(&mut |_| Ok(None)), "first second third");
        outlet.empty(&mut |data| {
            shown.extend_from_slice(data);
            Ok(Some(data.len()))
        });
        assert_eq!(shown, b"first second third");
    }

    #[test]
    fn without_a_standard_error_it_is_read_and_remembered() {
        let (mut outlet, mut worker) = outlet();
        let gone = || Error::from_raw_os_error("write", 32);
        write(&mut worker, b"words");
        outlet.carry(&mut |_| Err(gone()));
        assert!(outlet.is_shown() && outlet.may_read());
        assert_eq!(outlet.last_words(&mut |_| Err(gone())), "words");
    }

    #[test]
    fn what_somebody_else_holds_open_does_not_keep_us() {
        let (mut outlet, _held) = outlet();
        assert_eq!(outlet.last_words(&mut |_| Ok(None)), "");
        assert!(!outlet.is_finished());
    }

    #[test]
    fn the_tail_is_bounded_and_begins_with_a_line() {
        let (mut outlet, mut worker) = outlet();
        for number in 0..3000 {
            write(&mut worker, format!("line {number}\n").as_bytes());
        }
        let words = outlet.last_words(&mut |data| Ok(Some(data.len())));
        assert!(words.len() < TAIL && words.starts_with("line ") && words.ends_with("line 2999\n"));
    }

    proptest! {
        #[test]
        fn pieces_are_whole_lines_where_they_can_be(data in prop::collection::vec(prop::sample::select(vec![b'a', b'\n']), 0..3 * WHOLE)) {
            let (mut rest, mut pieces) = (&data[..], 0);
            while let Some(piece) = first_piece(rest) {
                prop_assert!(!piece.is_empty() && piece.len() <= WHOLE);
                prop_assert!(rest.starts_with(piece));
                rest = &rest[piece.len()..];
                prop_assert!(rest.is_empty() || piece.ends_with(b"\n"));
                pieces += 1;
            }
            prop_assert!(rest.is_empty() && pieces <= 4);
        }
    }
}
