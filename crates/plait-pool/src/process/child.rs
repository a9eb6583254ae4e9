//! The worker's side: the next thing to do, and the answer.

use std::os::fd::OwnedFd;

use plait_shm::{Heard, Runs, WorkerLink};
use plait_sys::clock::Instant;
use plait_sys::eventfd::EventFd;
use plait_sys::resident::Account;

use super::Result;
use super::appetite::Excess;
use super::borrowing::Arenas;
use super::packer::Packer;
use super::piece::Pieces;
use super::several::Several;
use super::wire::{self, Body};

/// What the parent wants of this worker.
#[derive(Debug, PartialEq, Eq)]
pub enum ToDo {
    /// Keep `bytes` under `id`; forget what is there if they are empty.
    Image {
        /// The number that tasks name it by.
        id: u64,
        /// Whether others see its buffers too: they are not to be written to.
        shared: bool,
        /// What was given to `Image::new`.
        bytes: Body,
        /// What of it lies in the arena.
        pieces: Pieces,
    },
    /// Set yourself up, by `image` and `bytes` if these are not empty.
    Begin {
        /// The image of the initializer.
        image: u64,
        /// Its arguments.
        bytes: Body,
        /// What of them lies in the arena.
        pieces: Pieces,
    },
    /// Run `image` on `bytes` and answer.
    Task {
        /// The number to answer with.
        task: u64,
        /// The image of the function.
        image: u64,
        /// The arguments.
        bytes: Body,
        /// What of them lies in the arena.
        pieces: Pieces,
    },
    /// There is nothing more to do.
    Leave,
    /// A signal arrived: act on it, then ask again.
    Interrupted,
}

/// What a worker answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is set up.
    Ready,
    /// It cannot be set up.
    Unfit,
    /// The task of this number returned.
    Returned(u64),
    /// It raised.
    Raised {
        /// The task.
        task: u64,
        /// Whether it was one of the exceptions upon which to try again.
        again: bool,
    },
    /// It was stopped.
    Stopped(u64),
}

/// The descriptors of a worker's arenas.
#[derive(Debug)]
pub struct ArenaFds {
    /// The parent's arena.
    pub requests: OwnedFd,
    /// Its own.
    pub results: OwnedFd,
}

/// A worker, in its own process.
pub struct Worker {
    pub(super) link: WorkerLink,
    /// What it runs, if it may run more than one.
    pub(super) several: Option<Several>,
    arenas: Option<Arenas>,
    /// When it began the last task.
    begun: Instant,
    appetite: Option<(Account, u64)>,
    /// It has asked to be let go.
    retired: bool,
}

impl Worker {
    /// Takes up the work, with the descriptors that the parent made.
    ///
    /// # Errors
    /// The memory is not what the parent makes.
    pub fn new(memory: OwnedFd, bell: OwnedFd, arenas: Option<ArenaFds>) -> Result<Self> {
        let link = WorkerLink::open(memory, EventFd::from(bell))?;
        let arenas = arenas.map(|fds| Arenas::open(fds.requests, fds.results)).transpose()?;
        Ok(Self { link, several: None, arenas, begun: Instant::default(), appetite: None, retired: false })
    }

    /// Keeps to so many bytes of private memory.
    ///
    /// # Errors
    /// There is no `/proc`.
    pub fn limit_memory(&mut self, limit: u64) -> Result<()> {
        self.appetite = Some((Account::own()?, limit));
        Ok(())
    }

    /// Its private memory and its limit, if it has more.
    ///
    /// # Errors
    /// There is no `/proc` any more.
    pub fn excess(&self) -> Result<Option<Excess>> {
        let Some((account, limit)) = &self.appetite else { return Ok(None) };
        let had = account.private()?;
        Ok((had > *limit).then_some(Excess { had, limit: *limit }))
    }

    /// Begins no further task. Returns what to send.
    pub fn retire(&mut self) -> Vec<u8> {
        self.retired = true;
        wire::message(wire::RETIRE, 0, 0, &[])
    }

    /// The next thing to do, if it has come. A task has begun when this
    /// returns it.
    ///
    /// # Errors
    /// What the parent wrote is garbage: leave.
    pub fn poll(&mut self) -> Result<Option<ToDo>> {
        while let Some(message) = self.next_message()? {
            if let Some(todo) = self.understand(message)? {
                return Ok(Some(todo));
            }
        }
        Ok(None)
    }

    fn next_message(&mut self) -> Result<Option<Vec<u8>>> {
        let kept = self.several.as_mut().and_then(Several::next);
        if kept.is_some() { Ok(kept) } else { Ok(self.link.poll()?) }
    }

    /// Waits for the next thing to do, [`poll`](Self::poll) having found none.
    /// A task has begun when this returns it.
    ///
    /// # Errors
    /// What the parent wrote is garbage: leave.
    pub fn receive(&mut self) -> Result<ToDo> {
        loop {
            let Heard::Message(message) = self.link.receive()? else { return Ok(ToDo::Interrupted) };
            if let Some(todo) = self.understand(message)? {
                return Ok(todo);
            }
        }
    }

    /// Begins the next task, whether it has come or not.
    #[cfg(test)]
    pub(crate) fn claim(&mut self) -> bool {
        self.link.begin(Instant::now())
    }

    /// What a message says; `None` for what needs nothing to be done, as a
    /// task that was taken back.
    fn understand(&mut self, message: Vec<u8>) -> Result<Option<ToDo>> {
        let Some(([kind, first, second], _)) = wire::parse(&message) else { return Ok(Some(ToDo::Leave)) };
        match kind {
            wire::FREE => {
                self.arenas.as_mut().map_or(Ok(()), |arenas| arenas.free(&message))?;
                return Ok(None);
            }
            wire::TRIM => {
                self.arenas.iter().for_each(Arenas::trim);
                return Ok(None);
            }
            wire::TASK => {
                if self.retired {
                    return Ok(None);
                }
                self.begun = Instant::now();
                if let Some(several) = &mut self.several {
                    if !self.link.begin_another(self.begun) {
                        return Ok(None);
                    }
                    several.begin(first, self.begun);
                } else if !self.link.begin(self.begun) {
                    return Ok(None);
                }
            }
            wire::STOP => {
                self.ask(first);
                return Ok(None);
            }
            wire::BEGIN => {
                let keep = usize::try_from(first).unwrap_or(usize::MAX);
                self.arenas.iter().for_each(|arenas| arenas.keep(keep));
            }
            _ => {}
        }
        let (body, task) = (Body::of(message), if kind == wire::TASK { first } else { 0 });
        let (bytes, pieces) = match &mut self.arenas {
            Some(arenas) => arenas.receive(task, body)?,
            None => (body, Pieces::default()),
        };
        Ok(Some(match kind {
            wire::IMAGE => ToDo::Image { id: first, shared: second != 0, bytes, pieces },
            wire::BEGIN => ToDo::Begin { image: second, bytes, pieces },
            wire::TASK => ToDo::Task { task, image: second, bytes, pieces },
            _ => ToDo::Leave,
        }))
    }

    /// For the result of a task.
    #[must_use]
    pub fn packer(&self) -> Packer {
        self.arenas.as_ref().map_or_else(|| Packer::new(None), Arenas::packer)
    }

    /// An answer, for [`send`](Self::send).
    #[must_use]
    pub fn answer(&mut self, answer: Answer, packer: Packer) -> Vec<u8> {
        let mut message = match &mut self.arenas {
            Some(arenas) => arenas.answer(packer),
            None => packer.finish().message,
        };
        let (kind, number, took) = self.head(answer);
        wire::write_head(&mut message, kind, number, took);
        message
    }

    /// Adds to the answer to a task what the task leaves behind.
    pub fn amend(&mut self, task: u64, answer: &mut Vec<u8>) {
        if let Some(arenas) = &mut self.arenas {
            arenas.amend(task, answer);
        }
    }

    /// A message to be sent after an answer, or when an image is gone, if
    /// there is something to say.
    #[must_use]
    pub fn done(&self) -> Option<Vec<u8>> {
        self.arenas.as_ref().and_then(Arenas::done)
    }

    /// What this worker runs; to be asked for once.
    #[must_use]
    pub fn runs(&self) -> Runs {
        self.link.runs()
    }

    /// Begins an answer, for [`send`](Self::send); the body comes behind it.
    pub fn begin_answer(&self, answer: Answer, message: &mut Vec<u8>) {
        let (kind, number, took) = self.head(answer);
        wire::begin(message, kind, number, took);
    }

    fn head(&self, answer: Answer) -> (u64, u64, u64) {
        let took = |task| {
            let begun = self.several.as_ref().and_then(|several| several.begun(task));
            Instant::now().saturating_since(begun.unwrap_or(self.begun)).as_nanos() as u64
        };
        match answer {
            Answer::Ready => (wire::READY, 0, 0),
            Answer::Unfit => (wire::UNFIT, 0, 0),
            Answer::Returned(task) => (wire::RETURNED, task, took(task)),
            Answer::Raised { task, again: false } => (wire::RAISED, task, took(task)),
            Answer::Raised { task, again: true } => (wire::FAILED, task, took(task)),
            Answer::Stopped(task) => (wire::STOPPED, task, took(task)),
        }
    }

    /// What to send before the answer to tell what the task has written.
    #[must_use]
    pub fn output(data: &[u8]) -> Vec<u8> {
        wire::message(wire::OUTPUT, 0, 0, data)
    }

    /// What to send before the answer to `task`, when something has been said
    /// beside, the last of it with this number.
    #[must_use]
    pub fn said(task: u64, number: u32) -> Vec<u8> {
        wire::message(wire::SAID, task, u64::from(number), &[])
    }

    /// Makes of an answer that `task` was stopped. What it has raised says
    /// where; anything else does not count.
    pub fn stop_answer(&mut self, task: u64, message: &mut Vec<u8>) {
        match wire::parse(message) {
            Some(([wire::RAISED | wire::FAILED, number, _], _)) if number == task => {
                wire::rename(message, wire::STOPPED);
            }
            _ => {
                if let Some(arenas) = &mut self.arenas {
                    arenas.discard(message);
                }
                message.clear();
                self.begin_answer(Answer::Stopped(task), message);
            }
        }
    }

    /// As [`send`](Self::send), but never sleeps: false if there is no room
    /// for the rest.
    ///
    /// # Errors
    /// What the parent wrote is garbage: leave.
    pub fn push(&mut self, answer: &[u8], done: &mut usize) -> Result<bool> {
        Ok(self.link.push(answer, done)?)
    }

    /// Sends an answer from `done` on, which it moves. False is for the
    /// caller to act on a signal, and come again.
    ///
    /// # Errors
    /// What the parent wrote is garbage: leave.
    pub fn send(&mut self, answer: &[u8], done: &mut usize) -> Result<bool> {
        Ok(self.link.send(answer, done)?)
    }
}
