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

/// The cores, who else uses them, and the overheads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Machine {
    /// How many cores this program may use.
    pub cores: u32,
    /// How many threads of other programs want a core at any time.
    pub others: f64,
    /// What handing out costs.
    pub overheads: Overheads,
}

impl Machine {
    /// How many cores' worth of time `threads` of ours get that all compute:
    /// the kernel deals the cores out evenly among all that want one. No
    /// engine is given more of a busy machine for being larger than it.
    pub(super) fn share(&self, threads: f64) -> f64 {
        self.crowd(threads.min(f64::from(self.cores.max(1))))
    }

    /// The same for any number of threads: a crowd of them does get more of a
    /// busy machine.
    pub(super) fn crowd(&self, threads: f64) -> f64 {
        let (threads, cores) = (threads.max(f64::MIN_POSITIVE), f64::from(self.cores.max(1)));
        let wanted = threads + self.others.max(0.0);
        if wanted <= cores { threads } else { threads * cores / wanted }.min(cores)
    }

    /// How much longer a thread computes because `threads` of ours do.
    pub(super) fn slowdown(&self, threads: f64) -> f64 {
        (threads / self.share(threads)).max(1.0)
    }
}
