//! What is said over the rings and over the control socket.
//!
//! A ring message is a kind, two numbers and a body; all of one machine, so
//! in its byte order. What comes from a worker is checked, never trusted.

use std::fmt;

use plait_sys::process::Status;

use super::piece::Pieces;

pub(crate) const HEAD: usize = 24;

/// To the worker: keep these bytes under this number, not to be written to if
/// the second is 1; no bytes: forget it.
pub(crate) const IMAGE: u64 = 1;
/// To the worker: set yourself up, keeping so many bytes of your arena in
/// memory, then say `READY` (or `UNFIT`).
pub(crate) const BEGIN: u64 = 2;
/// To the worker: run this, if it has not been taken back.
pub(crate) const TASK: u64 = 3;
/// To the worker: leave.
pub(crate) const LEAVE: u64 = 4;
/// To the worker: the parent has done with these blocks of its arena.
pub(crate) const FREE: u64 = 5;
/// To a worker that runs several tasks at once: stop this one.
pub(crate) const STOP: u64 = 6;

/// To the worker: give back the memory that you keep for results to come.
pub(crate) const TRIM: u64 = 7;

/// From the worker: give me tasks.
pub(crate) const READY: u64 = 16;
/// From the worker: the initializer failed; the body says how.
pub(crate) const UNFIT: u64 = 17;
/// From the worker: the task returned the body, after so many nanoseconds.
pub(crate) const RETURNED: u64 = 18;
/// From the worker: the task raised the body, likewise.
pub(crate) const RAISED: u64 = 19;
/// From the worker: the task was stopped, as it was asked to be; the body says
/// where, or is empty.
pub(crate) const STOPPED: u64 = 20;
/// As `RAISED`, and what it raised is one of those upon which to try again.
pub(crate) const FAILED: u64 = 21;
/// From the worker: it has done with these blocks of the parent's arena.
pub(crate) const DONE: u64 = 22;

/// From the worker: I begin nothing more, let me go.
pub(crate) const RETIRE: u64 = 32;

/// From a worker that runs several tasks at once: it has begun some. Answers
/// may be long in coming, and it is handed only so many that it has not begun.
pub(crate) const BEGAN: u64 = 35;

/// From the worker, before its answer: while it was at the task it said
/// something beside, this being the number of the last.
pub(crate) const SAID: u64 = 33;

/// From the worker, before its answer: what the task has written, kept for
/// whoever submitted it.
pub(crate) const OUTPUT: u64 = 34;

/// Puts a message together, with one copy of the body.
pub(crate) fn message(kind: u64, first: u64, second: u64, body: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEAD + body.len());
    begin(&mut message, kind, first, second);
    message.extend_from_slice(body);
    message
}

/// Adds what comes before the body.
pub(crate) fn begin(message: &mut Vec<u8>, kind: u64, first: u64, second: u64) {
    for number in [kind, first, second] {
        message.extend_from_slice(&number.to_ne_bytes());
    }
}

/// Makes the message one of another kind.
pub(crate) fn rename(message: &mut [u8], kind: u64) {
    if let Some(place) = message.first_chunk_mut() {
        *place = kind.to_ne_bytes();
    }
}

/// Writes over the place of a head.
pub(crate) fn write_head(message: &mut [u8], kind: u64, first: u64, second: u64) {
    for (place, number) in message.chunks_exact_mut(8).zip([kind, first, second]) {
        place.copy_from_slice(&number.to_ne_bytes());
    }
}

/// A message about blocks.
pub(crate) fn places(kind: u64, offsets: &[usize]) -> Vec<u8> {
    let mut message = message(kind, offsets.len() as u64, 0, &[]);
    message.extend(offsets.iter().flat_map(|&offset| (offset as u64).to_ne_bytes()));
    message
}

/// The blocks that a message is about; `None` if it is not such a message.
pub(crate) fn read_places(message: &[u8]) -> Option<Vec<usize>> {
    let (_, body) = parse(message)?;
    let (offsets, []) = body.as_chunks::<8>() else { return None };
    offsets.iter().map(|&bytes| usize::try_from(u64::from_ne_bytes(bytes)).ok()).collect()
}

/// Takes a message apart; `None` if it is too short to be one.
pub(crate) fn parse(message: &[u8]) -> Option<([u64; 3], &[u8])> {
    let (head, body) = message.split_first_chunk::<HEAD>()?;
    let number = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&head[at..at + 8]);
        u64::from_ne_bytes(bytes)
    };
    Some(([number(0), number(8), number(16)], body))
}

/// The body of a message, left where it arrived.
#[derive(Clone, PartialEq, Eq)]
pub struct Body {
    message: Vec<u8>,
    start: usize,
}

impl Body {
    /// The body of a message that has been parsed.
    pub(crate) fn of(message: Vec<u8>) -> Self {
        Self { message, start: HEAD }
    }

    /// The same but for its first `count` bytes.
    pub(crate) fn without(self, count: usize) -> Self {
        Self { start: self.start + count, ..self }
    }
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        self.message.get(self.start..).unwrap_or_default()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.as_ref().len())
    }
}

/// What a worker answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Whether the task raised.
    pub raised: bool,
    /// Whether what it raised is to be tried again.
    pub again: bool,
    /// What it returned or raised, as the worker wrote it.
    pub body: Body,
    /// What it has written, if that was to be kept, as the worker packed it.
    pub output: Option<Body>,
    /// The process, and the number of the last thing that it said, if it said
    /// any meanwhile; see `Said`.
    pub said: Option<(u32, u32)>,
    /// What of it lies in an arena.
    pub pieces: Pieces,
}

/// A message of the control socket: a kind and three numbers.
pub(crate) const CONTROL: usize = 32;

/// To the template: this is what you serve; descriptors: the settings, the
/// bell of the supervisor, the lifeline, the pipe of the records.
pub(crate) const SERVE: i64 = 1;
/// To the template: fork worker A; descriptors: its memory, its lifeline,
/// its standard error; the arena of requests and its own, if there are any.
pub(crate) const FORK: i64 = 2;
/// To the template: nothing more will be asked.
pub(crate) const GO: i64 = 3;
/// To the template: descriptors that are handed on to every worker.
pub(crate) const HAND: i64 = 4;

/// What the template says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// It is ready to fork.
    Serving,
    /// Worker `worker` runs as `pid`; its pidfd comes along.
    Forked { worker: u64, pid: u32 },
    /// The fork for `worker` failed with this errno.
    NotForked { worker: u64, errno: i32 },
    /// It cannot serve, and ends; the reason comes along.
    Unusable,
    /// Worker `worker` is gone.
    Gone { worker: u64, status: Status },
}

pub(crate) fn control(kind: i64, numbers: [i64; 3]) -> [u8; CONTROL] {
    let mut message = [0; CONTROL];
    for (place, number) in message.chunks_exact_mut(8).zip([kind, numbers[0], numbers[1], numbers[2]]) {
        place.copy_from_slice(&number.to_ne_bytes());
    }
    message
}

/// Reads a report; `None` for what no template of ours says.
pub(crate) fn report(message: &[u8]) -> Option<Report> {
    let message: &[u8; CONTROL] = message.try_into().ok()?;
    let mut numbers = message.chunks_exact(8).map(|bytes| {
        let mut number = [0; 8];
        number.copy_from_slice(bytes);
        i64::from_ne_bytes(number)
    });
    let (kind, worker) = (numbers.next()?, u64::try_from(numbers.next()?).ok()?);
    let (first, second) = (i32::try_from(numbers.next()?).ok()?, i32::try_from(numbers.next()?).ok()?);
    Some(match kind {
        16 => Report::Serving,
        17 => Report::Forked { worker, pid: u32::try_from(first).ok()? },
        18 => Report::NotForked { worker, errno: first },
        19 => Report::Gone {
            worker,
            status: match first {
                0 => Status::Exited(second),
                1 => Status::Killed(second),
                _ => Status::Unknown,
            },
        },
        20 => Report::Unusable,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reports_say_what_the_template_packed() {
        let gone = |how, code| report(&control(19, [7, how, code]));
        assert_eq!(gone(0, 3), Some(Report::Gone { worker: 7, status: Status::Exited(3) }));
        assert_eq!(gone(1, 9), Some(Report::Gone { worker: 7, status: Status::Killed(9) }));
        assert_eq!(gone(2, 0), Some(Report::Gone { worker: 7, status: Status::Unknown }));
        assert_eq!(report(&control(17, [7, 42, 0])), Some(Report::Forked { worker: 7, pid: 42 }));
        assert_eq!(report(&control(18, [7, 11, 0])), Some(Report::NotForked { worker: 7, errno: 11 }));
        assert_eq!(report(&control(20, [0; 3])), Some(Report::Unusable));
        assert_eq!(report(&control(99, [0; 3])), None);
    }

    proptest! {
        #[test]
        fn any_message_comes_back(kind: u64, first: u64, second: u64, body: Vec<u8>) {
            let whole = message(kind, first, second, &body);
            prop_assert_eq!(parse(&whole), Some(([kind, first, second], &body[..])));
        }

        #[test]
        fn any_places_come_back(offsets: Vec<usize>) {
            prop_assert_eq!(read_places(&places(FREE, &offsets)), Some(offsets));
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            let _ = (parse(&bytes), report(&bytes), read_places(&bytes), Body::of(bytes.clone()).as_ref().len());
        }
    }
}
