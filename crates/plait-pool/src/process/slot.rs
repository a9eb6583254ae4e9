//! What is known of one worker.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};

use plait_shm::{CLAIMS, Requests, Responses};
use plait_sys::clock::Instant;
use plait_sys::lifeline::Lifeline;
use plait_sys::process::{Blow, ProcessFd};

use super::appetite::Excess;
use super::image::Image;
use super::lending::{self, Kept, Results};
use super::outbox::{FIRST_SWEEP, Outgoing};
use super::piece::Pieces;
use super::pulse::Pulse;
use super::statistics::Counts;
use super::stops::Stopping;
use super::task::Task;
use super::wire::{self, Body};

/// A message longer than this is not handed ahead: it goes to whoever is idle.
const AHEAD_LARGEST: usize = 16 * 1024;
/// So many bytes of messages are handed ahead: a quarter of the ring.
const AHEAD_BYTES: usize = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The template has been told to fork it.
    Asked,
    /// It runs the initializer.
    Starting,
    /// It takes tasks.
    Serving,
    /// It was told to stop.
    Leaving,
}

/// A task that is with a worker.
pub(crate) struct Handed<T> {
    pub(crate) task: Task<T>,
    pub(crate) sequence: u64,
    /// When it was begun, once that is known here and its claim is free for
    /// another: where several run at once, one of them may do so for long.
    begun: Option<Instant>,
    /// The stop of it that is under way.
    pub(crate) stopping: Option<Stopping>,
}

/// What is to become of a task that is taken back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Another worker gets it.
    Another,
    /// Nobody does.
    Nobody,
}

pub(crate) struct Slot<T> {
    pub(crate) stage: Stage,
    /// What it says; none when it has written garbage.
    pub(crate) responses: Option<Responses>,
    /// Whether it has been told that nobody reads what it says, and has not
    /// been heard since.
    announced: bool,
    pub(super) requests: Requests,
    pub(super) outgoing: VecDeque<Outgoing>,
    /// How much of the first of them is sent.
    pub(super) done: usize,
    /// The tasks that it has and has not answered, in the order of handing.
    pub(crate) handed: VecDeque<Handed<T>>,
    /// What their messages weigh.
    bytes: usize,
    /// How many tasks it runs at once.
    pub(crate) width: usize,
    /// How many tasks it may still answer.
    pub(crate) left: usize,
    /// Whether it stands in the list of those who may be handed more.
    pub(crate) open: bool,
    /// Whether its task takes much longer than most.
    pub(crate) late: bool,
    /// The images that it has been sent.
    pub(crate) told: HashMap<u64, Weak<Image>>,
    /// When so many are known, those that nobody can name any more are to be
    /// forgotten.
    pub(super) sweep_at: usize,
    /// Its results, if it has an arena for them.
    pub(super) results: Option<Arc<Results>>,
    /// What it has of the requests, its tasks aside.
    pub(crate) kept: Kept,
    pub(crate) process: Option<(u32, ProcessFd)>,
    /// The worker dies when this goes.
    pub(crate) lifeline: Option<Lifeline>,
    /// Of which template it is the child.
    pub(crate) template: u64,
    pub(crate) counts: Counts,
    pub(crate) dead_since: Option<Instant>,
    /// We have ended it.
    condemned: bool,
    /// Because it wrote garbage.
    pub(crate) corrupt: bool,
    /// What its task has written, if that is kept.
    pub(crate) output: Option<Body>,
    /// The last thing that it said while it was at its task.
    pub(crate) said: Option<u32>,
    /// Because one of several tasks that it ran did not stop.
    pub(crate) unstoppable: bool,
    /// Because it had too much memory.
    pub(crate) excess: Option<Excess>,
    pub(crate) pulse: Pulse,
}

impl<T> Slot<T> {
    pub(crate) fn new(
        requests: Requests,
        responses: Responses,
        results: Option<Arc<Results>>,
        lifeline: Lifeline,
        template: u64,
    ) -> Self {
        Self {
            stage: Stage::Asked,
            responses: Some(responses),
            announced: false,
            requests,
            outgoing: VecDeque::new(),
            done: 0,
            handed: VecDeque::new(),
            bytes: 0,
            width: 1,
            left: usize::MAX,
            open: false,
            late: false,
            told: HashMap::new(),
            sweep_at: FIRST_SWEEP,
            results,
            kept: Kept::default(),
            process: None,
            lifeline: Some(lifeline),
            template,
            counts: Counts::default(),
            dead_since: None,
            condemned: false,
            corrupt: false,
            output: None,
            said: None,
            unstoppable: false,
            excess: None,
            pulse: Pulse::default(),
        }
    }

    pub(crate) fn requests(&self) -> &Requests {
        &self.requests
    }

    pub(crate) fn results(&self) -> Option<&Arc<Results>> {
        self.results.as_ref()
    }

    pub(crate) fn fd(&self) -> Option<&ProcessFd> {
        self.process.as_ref().map(|(_, fd)| fd)
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(|&(pid, _)| pid)
    }

    // ---- its tasks

    /// Whether the template has been asked for it and has not answered.
    pub(crate) fn is_asked(&self) -> bool {
        self.process.is_none()
    }

    /// Whether it can be given tasks at all.
    pub(crate) fn serves(&self) -> bool {
        self.listens() && !self.pulse.is_stalled()
    }

    /// Whether it reads what it is sent, if only when it goes on.
    pub(crate) fn listens(&self) -> bool {
        self.stage == Stage::Serving && !self.is_ended()
    }

    /// Whether it has died, or is as good as dead.
    pub(crate) fn is_ended(&self) -> bool {
        self.condemned || self.dead_since.is_some()
    }

    /// Whether it runs a task, as far as is known, or an initializer.
    pub(crate) fn is_busy(&self) -> bool {
        let works = self.stage == Stage::Starting || !self.handed.is_empty();
        works && !self.is_ended()
    }

    /// Whether it may be handed a task ahead, being `depth` the most that it
    /// should have.
    pub(crate) fn has_room(&mut self, depth: usize) -> bool {
        if self.runs_several() {
            self.note_begun();
        }
        let claimed = self.handed.partition_point(|handed| handed.begun.is_some());
        let oldest = self.handed.get(claimed).map_or(u64::MAX, |handed| handed.sequence);
        // Who runs several is handed what it may begin at once, and no more.
        let depth = if self.runs_several() { self.width } else { depth };
        self.serves()
            && !self.late
            && self.handed.len() < depth.min(self.left)
            && !self.has_unsent()
            && self.requests.offered() + 1 < oldest.saturating_add(CLAIMS as u64)
    }

    /// Whether there is room for this message, of one that [has
    /// room](Self::has_room).
    pub(crate) fn fits(&self, message: usize) -> bool {
        self.runs_several() || message <= AHEAD_LARGEST && self.bytes + message <= AHEAD_BYTES
    }

    /// Whether it has been handed tasks and has not begun the first.
    pub(crate) fn is_waking(&self) -> bool {
        self.serves() && !self.handed.is_empty() && !self.has_begun_first()
    }

    /// Whether it has begun the first of the tasks that it was handed.
    pub(crate) fn has_begun_first(&self) -> bool {
        self.handed.front().is_some_and(|first| self.begun(first).is_some())
    }

    /// Whether it runs several tasks at once.
    pub(crate) fn runs_several(&self) -> bool {
        self.width > 1
    }

    /// When it has begun a task that it has, if it has.
    pub(crate) fn begun(&self, handed: &Handed<T>) -> Option<Instant> {
        handed.begun.or_else(|| self.requests.begun(handed.sequence))
    }

    /// Notes which tasks have begun, so that their claims are free.
    fn note_begun(&mut self) {
        let Self { handed, requests, .. } = self;
        // They are begun in their order; the last of those that were noted is
        // behind all others of them.
        for handed in handed.iter_mut().rev().take_while(|handed| handed.begun.is_none()) {
            handed.begun = requests.begun(handed.sequence);
        }
    }

    pub(crate) fn hand(&mut self, task: Task<T>) {
        self.free();
        self.tell(&task.needs);
        let sequence = self.requests.offer();
        self.send_task(sequence);
        self.bytes += weight(&task);
        self.counts.sent += task.parcel.weight() as u64;
        self.handed.push_back(Handed { task, sequence, begun: None, stopping: None });
        self.pump();
    }

    /// The answer to a task. `None` if it has not begun such a task, or no
    /// worker of ours would answer so.
    pub(crate) fn open(&mut self, id: u64, message: Vec<u8>) -> Option<(Body, Pieces)> {
        let handed = self.handed.iter().find(|handed| handed.task.id == id)?;
        let sequence = handed.sequence;
        if self.begun(handed).is_none() || self.is_unsent(sequence) {
            return None;
        }
        let blocks = &handed.task.parcel.blocks;
        lending::open(Body::of(message), blocks, self.results.as_ref(), &mut self.kept, &self.told).ok()
    }

    /// The task that it has answered, and the stop of it that was under way.
    /// If it says that it `stopped`, there has to be one.
    pub(crate) fn answered(&mut self, id: u64, stopped: bool) -> Option<(Task<T>, Option<Stopping>)> {
        // The first, unless it runs several at once.
        let at = self.handed.iter().position(|handed| handed.task.id == id)?;
        let stopping = self.handed.get_mut(at)?.stopping.take();
        if stopped && stopping.is_none() {
            return None;
        }
        self.left = self.left.saturating_sub(1);
        Some((self.remove(at)?, stopping))
    }

    /// Takes back the handed task at `index`, if it has not begun.
    pub(crate) fn take_back(&mut self, index: usize, fate: Fate) -> Option<Task<T>> {
        let handed = self.handed.get(index).filter(|handed| handed.begun.is_none())?;
        let sequence = handed.sequence;
        match self.requests.revoke(sequence) {
            Ok(true) => {}
            Ok(false) => return None,
            Err(_) => {
                self.condemn(true);
                return None;
            }
        }
        let mut task = self.remove(index)?;
        self.send_to_skip(sequence, &mut task, fate);
        Some(task)
    }

    fn remove(&mut self, index: usize) -> Option<Task<T>> {
        let task = self.handed.remove(index)?.task;
        self.bytes -= weight(&task);
        Some(task)
    }

    /// Takes away whatever it has.
    pub(crate) fn strip(&mut self) -> VecDeque<Handed<T>> {
        self.bytes = 0;
        std::mem::take(&mut self.handed)
    }

    // ---- what it says

    /// Whether there is something to read.
    pub(crate) fn has_said(&self) -> bool {
        self.responses.as_ref().is_some_and(Responses::is_ready)
    }

    /// Whether there is something to read, or room for what is to be sent.
    pub(crate) fn stirs(&mut self) -> bool {
        self.has_said() || self.may_pump()
    }

    /// Says that nobody reads what it says: it is to ring.
    pub(crate) fn announce(&mut self) {
        if let Some(responses) = &self.responses
            && !self.announced
        {
            responses.announce_sleep();
            self.announced = true;
        }
    }

    /// All it said has been read. It may have rung for that, and does so once.
    pub(crate) fn heard(&mut self) {
        self.announced = false;
    }

    /// Says that somebody reads: it need not ring.
    pub(crate) fn retract(&mut self) {
        if let Some(responses) = &self.responses
            && self.announced
        {
            responses.retract_sleep();
            self.announced = false;
        }
    }

    // ---- its end

    /// Tells it to leave when it has done what it was sent.
    pub(crate) fn send_home(&mut self) {
        self.stage = Stage::Leaving;
        self.order(wire::message(wire::LEAVE, 0, 0, &[]));
        self.pump();
    }

    /// Ends the worker: what it wrote cannot be trusted, or is not wanted.
    pub(crate) fn condemn(&mut self, corrupt: bool) {
        self.condemned = true;
        self.corrupt |= corrupt;
        self.hush();
        self.strike(Blow::Kill);
    }

    pub(crate) fn strike(&self, blow: Blow) {
        if let Some((_, fd)) = &self.process {
            // Refused only to a worker that changed its user; its lifeline
            // still holds.
            let _ = fd.strike(blow);
        }
    }

    /// The template has forked it.
    pub(crate) fn forked(&mut self, pid: u32, fd: ProcessFd) {
        if self.stage == Stage::Asked {
            self.stage = Stage::Starting;
        }
        self.process = Some((pid, fd));
        if self.condemned {
            self.strike(Blow::Kill);
        }
    }
}

impl<T> Drop for Slot<T> {
    fn drop(&mut self) {
        // The worker is gone, or as good as.
        if let Some(results) = &self.results {
            results.close();
        }
    }
}

fn weight<T>(task: &Task<T>) -> usize {
    task.parcel.message.len().min(AHEAD_LARGEST)
}
