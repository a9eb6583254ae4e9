//! What the machine has to give, and what it asks for handing out calls.

/// What each engine costs here, in seconds and bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Overheads {
    /// Handing one call to a thread and taking its result, when many are.
    pub thread_call: f64,
    /// The same for a call alone: there and back.
    pub thread_trip: f64,
    /// Starting a thread of a pool.
    pub thread_start: f64,
    /// Bytes of a thread.
    pub thread_memory: u64,
    /// How much longer computing takes that shares the interpreter lock, 1 at
    /// least.
    pub contention: f64,
    /// Handing the interpreter lock to a thread that waits for it.
    pub lock_switch: f64,
    /// Handing one call to a process and taking its result, when many are.
    pub process_call: f64,
    /// What a call in a chunk adds to the chunk.
    pub process_item: f64,
    /// Handing out a call alone: there and back.
    pub process_trip: f64,
    /// Starting a pool with its first worker.
    pub process_start: f64,
    /// Each further worker.
    pub worker_start: f64,
    /// Bytes of a worker.
    pub worker_memory: u64,
    /// Carrying one byte to a process or back, pickling apart.
    pub byte: f64,
    /// Running one task on the loop.
    pub task: f64,
    /// Bytes of a task.
    pub task_memory: u64,
}

/// Who computes for so many seconds at a time has no more of a busy machine than
/// one that never rests. Measured with two processes beside two programs that
/// never rest, on two cores: 1.3 cores with chunks of 1 ms, 0.9 with calls of
/// 3.5 ms, 0.75 with calls of 11 ms.
const LONG: f64 = 8e-3;

/// What a crowd of threads was given of a busy machine, measured there: it
/// depends on how the kernel groups programs, and on which core a thread wakes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Crowd {
    /// How many threads there were, more than 1.
    pub threads: u32,
    /// Cores' worth of time that they had computing in turns, with the
    /// interpreter lock.
    pub locked: Option<f64>,
    /// The same without the lock, all at once.
    pub free: Option<f64>,
}

/// Where none was measured.
const USUAL: Crowd = Crowd { threads: 32, locked: None, free: None };

impl Crowd {
    /// How far from one thread to the whole crowd `threads` are, 0 to 1: twice
    /// as many are one step further.
    fn part(&self, threads: f64) -> f64 {
        (threads.max(1.0).ln() / f64::from(self.threads.max(2)).ln()).min(1.0)
    }
}

/// The cores, who else uses them, and the overheads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Machine {
    /// How many cores this program may use.
    pub cores: u32,
    /// How many threads of other programs want a core at any time.
    pub others: f64,
    /// What a crowd gets of them, where that was measured.
    pub crowd: Option<Crowd>,
    /// What handing out costs.
    pub overheads: Overheads,
}

impl Machine {
    /// How many cores' worth of time `threads` of ours get that all compute,
    /// where the kernel deals the cores out evenly among all that want one.
    pub(super) fn dealt(&self, threads: f64) -> f64 {
        let (threads, cores) = (threads.max(f64::MIN_POSITIVE), f64::from(self.cores.max(1)));
        let wanted = threads + self.others();
        if wanted <= cores { threads } else { threads * cores / wanted }.min(cores)
    }

    /// How many threads of other programs want a core: as many as are told of, and
    /// no fewer than leave a crowd what it got. A few calls may have been lucky.
    fn others(&self) -> f64 {
        let (cores, others) = (f64::from(self.cores.max(1)), self.others.max(0.0));
        match self.crowd.and_then(|crowd| crowd.free) {
            Some(free) if others > cores - 1.0 => others.max(cores / free.max(0.01) - 1.0),
            _ => others,
        }
    }

    /// The same where no engine is given more of a busy machine for being
    /// larger than it.
    pub(super) fn share(&self, threads: f64) -> f64 {
        self.dealt(threads.min(f64::from(self.cores.max(1))))
    }

    /// The same for any number of threads: a crowd of them may get more of a
    /// busy machine. As much as was measured, or else as much as is dealt to
    /// so many.
    pub(super) fn crowd(&self, threads: f64) -> f64 {
        let Some((crowd, free)) = self.crowd.and_then(|crowd| Some((crowd, crowd.free?))) else {
            return self.dealt(threads);
        };
        let (cores, others) = (f64::from(self.cores.max(1)), self.others());
        // Threads of one program may count as fewer to the kernel than they are.
        let all = free * others / (cores - free).max(f64::MIN_POSITIVE);
        let count = all.clamp(1.0, f64::from(crowd.threads.max(2))).powf(crowd.part(threads));
        (cores * count / (count + others)).min(threads).min(cores)
    }

    /// The same for as many as there are cores at most, each of which sleeps a
    /// moment after every `stretch` seconds: then it is let in before those that
    /// never rest, as those are that wait for the interpreter lock, but has to
    /// share with others that are.
    pub(super) fn rested(&self, threads: f64, stretch: f64) -> f64 {
        let threads = threads.min(f64::from(self.cores.max(1)));
        let dealt = self.dealt(threads);
        let each = threads * self.locked(f64::INFINITY);
        let often = dealt + (each - dealt).max(0.0) / 3.0;
        let never = self.crowd(threads);
        often + (never - often) * (stretch / LONG).min(1.0)
    }

    /// What part of a core the one of `threads` has that holds the interpreter
    /// lock, while all of them only wait for it: less on a busy machine.
    pub(super) fn locked(&self, threads: f64) -> f64 {
        let locked = self.crowd.and_then(|crowd| crowd.locked);
        locked.map_or_else(|| self.dealt(1.0), |locked| self.in_turns(threads, locked))
    }

    /// The same where they wait for something else too: many leave none of a
    /// core unused.
    pub(super) fn let_in(&self, threads: f64) -> f64 {
        self.in_turns(threads, 1.0)
    }

    /// What part of a core threads have that take turns, and of which a crowd has
    /// `all`. One thread at a time has one core, and nobody has none.
    fn in_turns(&self, threads: f64, all: f64) -> f64 {
        let (alone, crowd) = (self.dealt(1.0), self.crowd.unwrap_or(USUAL));
        if self.is_busy() { alone + (all.clamp(0.01, 1.0) - alone) * crowd.part(threads) } else { alone }
    }

    /// Whether one thread that computes has less than a core.
    pub(super) fn is_busy(&self) -> bool {
        self.dealt(1.0) < 1.0
    }

    /// How much longer a thread computes because `threads` of ours do.
    pub(super) fn slowdown(&self, threads: f64) -> f64 {
        (threads / self.share(threads)).max(1.0)
    }
}
