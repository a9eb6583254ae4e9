//! What one call costs and does.

/// One call of the function, made alone; times in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Call {
    /// Wall time.
    pub wall: f64,
    /// CPU time of the calling thread.
    pub cpu: f64,
    /// Time in which it was ready to run and had no core.
    pub queued: f64,
    /// CPU time of the whole process, where that is more: a library's own
    /// threads.
    pub process_cpu: f64,
    /// The share of `wall` in which it held the interpreter lock; `None` if
    /// that could not be read.
    pub held: Option<f64>,
    /// How often it stopped to wait.
    pub pauses: f64,
    /// How often it let go of the interpreter lock, as far as that was seen.
    pub releases: f64,
    /// For a coroutine: wall time of its steps, in which the loop stands.
    pub stepped: f64,
    /// How much longer the first call takes.
    pub warm_up: f64,
    /// Whether it can go to a process.
    pub carried: bool,
    /// Bytes of its pickled argument and result.
    pub bytes: f64,
    /// Time to pickle and unpickle argument and result.
    pub pickle: f64,
    /// Bytes of memory that it needs while it runs.
    pub memory: u64,
}

impl Call {
    /// The same with every figure in its range: clocks are read one after
    /// another, and their sums can exceed each other.
    pub(super) fn clean(&self) -> Self {
        let positive = |value: f64| if value.is_finite() { value.max(0.0) } else { 0.0 };
        // Never nothing: it divides.
        let wall = positive(self.wall).max(1e-9);
        let cpu = positive(self.cpu).min(wall);
        let queued = positive(self.queued).min(wall - cpu);
        Self {
            wall,
            cpu,
            queued,
            process_cpu: positive(self.process_cpu).max(cpu),
            held: self.held.filter(|share| share.is_finite()).map(|share| share.clamp(0.0, 1.0)),
            pauses: positive(self.pauses),
            releases: positive(self.releases),
            stepped: positive(self.stepped).clamp(cpu, wall),
            warm_up: warm_up(positive(self.warm_up), wall),
            carried: self.carried,
            bytes: positive(self.bytes),
            pickle: positive(self.pickle),
            memory: self.memory,
        }
    }

    /// Time in which it neither computed nor queued for a core.
    pub(super) fn waited(&self) -> f64 {
        (self.wall - self.cpu - self.queued).max(0.0)
    }

    /// Its time with a core to itself.
    pub(super) fn alone(&self) -> f64 {
        // As rounding may have it, the one is the other.
        (self.wall - self.queued).max(self.cpu)
    }

    /// The share of its wall time that it waits, queueing left out.
    pub(super) fn share_waited(&self) -> f64 {
        let alone = self.alone();
        if alone > 0.0 { (self.waited() / alone).clamp(0.0, 1.0) } else { 0.0 }
    }

    /// How many cores it keeps busy while it runs, 1 at least: more than 1
    /// where a library computes in threads of its own.
    pub(super) fn parallelism(&self) -> f64 {
        if self.has_others() { (self.process_cpu / self.alone()).max(1.0) } else { 1.0 }
    }

    /// CPU time of the call, the threads of libraries and child processes
    /// included.
    pub(super) fn computing(&self) -> f64 {
        if self.has_others() { self.process_cpu } else { self.cpu }
    }

    /// Whether threads of a library or child processes compute for it. What goes
    /// on in the process beside it is not the call's doing: who watches the
    /// interpreter lock takes up to a fifth of a core where the machine is busy.
    fn has_others(&self) -> bool {
        let alone = self.alone();
        alone > 0.0 && self.process_cpu - self.cpu > 0.35 * alone
    }

    /// CPU time with the interpreter lock held. Where nothing could be read,
    /// what computes is taken to hold it: most Python code does.
    pub(super) fn computing_locked(&self) -> f64 {
        let Some(held) = self.held else { return self.cpu };
        let running = self.cpu + self.queued;
        if running > 0.0 { self.cpu * (held * self.wall / running).min(1.0) } else { 0.0 }
    }

    /// Time spent waiting with the interpreter lock held.
    pub(super) fn waiting_locked(&self) -> f64 {
        let Some(held) = self.held else { return 0.0 };
        // Samples are few: a few that say so while it waited mean nothing.
        let excess = held * self.wall - (self.cpu + self.queued);
        if excess > 0.05 * self.wall { excess.min(self.waited()) } else { 0.0 }
    }
}

/// A first call that takes a little longer, or twice as long as next to
/// nothing, does so on every machine: caches are cold. That is no warm-up.
fn warm_up(longer: f64, wall: f64) -> f64 {
    if longer > wall && longer > 1e-3 { longer } else { 0.0 }
}
