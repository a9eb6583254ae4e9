//! Watching a thread from another one: whether it holds the interpreter lock,
//! and what it waits on where it does not.
//!
//! One sampling thread looks at the watched thread every so often. It takes no
//! lock of any kind, so it holds up nobody, and nobody holds it up.
//!
//! | who | does what |
//! |---|---|
//! | `begin` | takes `busy`; writes whom to watch; publishes a new `epoch`; rings if the sampling thread sleeps |
//! | sampling thread | reads the epoch and whom, looks, counts under that epoch; sleeps once nobody was watched for a while |
//! | `end` | takes the epoch away (0: nobody is watched); reads what was counted under it; gives `busy` back |
//!
//! | race | why it is harmless |
//! |---|---|
//! | whom to watch is rewritten while it is read | the epoch is read before and after, and has changed |
//! | the watch ends while a sample is taken | it is counted under the old epoch, which nobody asks about any more |
//! | `begin` publishes as the sampling thread goes to sleep | each writes its word and then reads the other's, in one order for all: one of them sees the other |
//! | the watched thread has ended | its file says so: the sample counts without a wait; nothing of its memory is read |
//!
//! The sampling thread is made with the first watch. It goes on looking for a
//! little while after `end`, so a function that is called often is watched
//! without a system call; then it sleeps until it is rung, and costs nothing.
//! What is watched for long is looked at less and less often, and each look
//! counts for as many periods as went by: a share of a second needs no five
//! thousand looks. The first looks of a watch, unless it is steady, are close
//! ones as well: for some microseconds the sampling thread follows the lock, and
//! counts how often the watched thread lets go of it.
//!
//! Measured through the binding (a virtual machine with 2 cores, CPython 3.13,
//! a period of 0.2 ms): `begin` and `end` take 0.3 µs together, `so_far` 0.08.
//! The sampling thread takes 6 % of a core while it watches one that computes
//! and 8 % while it watches one that waits, most of it for being woken; 1.5 to
//! 2 % over a watch of a second, 0.4 to 1 % over one of five.

mod counts;
mod gap;

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, fence};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use plait_sys::clock::Instant;
use plait_sys::futex::{self, Scope};
use plait_sys::slack::PreciseSleep;
use plait_sys::waiting::{Thread, Waiting, own_core};

use counts::Counts;
pub use counts::{Counted, Found};
use gap::Gap;

/// For so long the sampling thread goes on looking while nobody is watched.
const LINGER: Duration = Duration::from_millis(20);

/// So many looks of a watch are close ones, and so long: a call that is so
/// short that letting go of the lock is a part of its costs is over by then.
const CLOSE_LOOKS: u32 = 16;
const CLOSE: Duration = Duration::from_micros(20);

/// A close look that took so much longer was interrupted, and saw nothing
/// meanwhile.
const INTERRUPTED: Duration = Duration::from_micros(10);

/// Who can tell of the interpreter lock without taking it.
pub trait Lock: Send + Sync + 'static {
    /// Whether the thread with this state of the interpreter's holds it.
    fn held_by(&self, state: usize) -> bool;

    /// Whether a word that somebody sleeps on is the lock's own.
    fn owns(&self, address: usize) -> bool;
}

/// A thread to watch.
#[derive(Debug, Clone, Copy)]
pub struct Whom {
    /// The kernel's number of it.
    pub tid: u32,
    /// Where the interpreter keeps its state of it; never looked into.
    pub state: usize,
    /// The core that it was on last.
    pub core: usize,
}

#[derive(Debug, Default)]
struct Shared {
    /// Somebody is between `begin` and `end`.
    busy: AtomicBool,
    /// Under which number the watched thread is counted; 0: nobody is watched.
    epoch: AtomicU32,
    tid: AtomicU32,
    state: AtomicUsize,
    core: AtomicUsize,
    /// 1 while the sampling thread sleeps until somebody is watched.
    asleep: AtomicU32,
    /// The sampling thread looks less often than once in a period.
    slow: AtomicBool,
    /// 1 once the sampling thread is to end.
    stop: AtomicU32,
    counts: Counts,
}

/// A sampler, and its thread once something was watched.
#[derive(Debug)]
pub struct Sampler<L> {
    shared: Arc<Shared>,
    lock: Arc<L>,
    period: Duration,
    steady: bool,
    last_epoch: AtomicU32,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// A fork has ended the watch that this process, its child, was in.
    lost: AtomicBool,
}

impl<L: Lock> Sampler<L> {
    /// A sampler that looks once in `period`, on average; in a long watch less
    /// often, unless it is `steady`.
    #[must_use]
    pub fn new(lock: Arc<L>, period: Duration, steady: bool) -> Self {
        Self {
            shared: Arc::default(),
            lock,
            period,
            steady,
            last_epoch: AtomicU32::new(0),
            thread: Mutex::new(None),
            lost: AtomicBool::new(false),
        }
    }

    /// Watches a thread until [`end`](Self::end). False, and nothing is done,
    /// if one is watched already.
    ///
    /// # Errors
    /// There is no room for the sampling thread.
    pub fn begin(&self, whom: Whom) -> plait_sys::Result<bool> {
        // Acquire: pairs with the Release in `end`; the words below are ours.
        if self.shared.busy.swap(true, Acquire) {
            return Ok(false);
        }
        if let Err(error) = self.start() {
            self.shared.busy.store(false, Release);
            return Err(error);
        }
        let epoch = match self.last_epoch.load(Relaxed).wrapping_add(1) {
            0 => 1,
            next => next,
        };
        self.last_epoch.store(epoch, Relaxed);
        // The epoch is 0 here. Release: whoever sees one of the next three stores
        // sees that too; pairs with the fence in `whom`.
        fence(Release);
        self.shared.tid.store(whom.tid, Relaxed);
        self.shared.state.store(whom.state, Relaxed);
        self.shared.core.store(whom.core, Relaxed);
        // SeqCst: before the load of `asleep`, in one order with the sampling
        // thread's store and load; and Release for the three stores above.
        self.shared.epoch.store(epoch, SeqCst);
        if self.shared.asleep.load(SeqCst) == 1 {
            self.shared.ring();
        } else if self.shared.slow.load(Relaxed) {
            // It would come too late for a short watch. Relaxed: one that is
            // missed is that late.
            self.shared.hurry();
        }
        Ok(true)
    }

    /// Ends the watch and tells what was seen; `None` if nobody is watched.
    pub fn end(&self) -> Option<Counted> {
        // AcqRel in SeqCst: only one of two callers gets it, after `begin`.
        let epoch = self.shared.epoch.swap(0, SeqCst);
        if epoch == 0 {
            return None;
        }
        let counted = self.shared.counts.of(epoch);
        // Release: pairs with the Acquire in `begin`.
        self.shared.busy.store(false, Release);
        Some(counted)
    }

    /// What this watch has seen so far; `None` if nobody is watched.
    pub fn so_far(&self) -> Option<Counted> {
        // Relaxed: the counts are read for what they are.
        let epoch = self.shared.epoch.load(Relaxed);
        (epoch != 0).then(|| self.shared.counts.of(epoch))
    }

    /// Ends the sampling thread and waits for that, which takes as long as one
    /// look; the next watch makes another one, or `resume`.
    pub fn rest(&self) {
        // Held until the thread is gone, so that none is made that stops at once.
        let mut slot = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = slot.take() {
            self.shared.stop();
            // It has nothing to say; a panic of it has been printed.
            let _ = thread.join();
            self.shared.stop.store(0, Relaxed);
        }
    }

    /// Goes on after [`rest`](Self::rest) with a watch that is under way.
    ///
    /// # Errors
    /// There is no room for the sampling thread.
    pub fn resume(&self) -> plait_sys::Result<()> {
        // Relaxed: whoever begins a watch meanwhile starts the thread as well.
        if self.shared.epoch.load(Relaxed) == 0 { Ok(()) } else { self.start() }
    }

    /// In the child of a fork: the thread has not come along, nor perhaps who
    /// is watched. It works on from here as a new one does.
    pub fn forked(&self) {
        // The handle of a thread that is none: joining and detaching it would
        // both touch what belongs to it.
        std::mem::forget(self.thread.lock().unwrap_or_else(PoisonError::into_inner).take());
        // Relaxed: the child has one thread.
        self.lost.store(self.shared.epoch.swap(0, Relaxed) != 0, Relaxed);
        self.shared.asleep.store(0, Relaxed);
        self.shared.stop.store(0, Relaxed);
        self.shared.busy.store(false, Relaxed);
    }

    /// Whether the last watch was ended by a fork; once.
    pub fn take_lost(&self) -> bool {
        self.lost.swap(false, Relaxed)
    }

    fn start(&self) -> plait_sys::Result<()> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_none() {
            let (shared, lock) = (Arc::clone(&self.shared), Arc::clone(&self.lock));
            let gap = Gap::new(self.period, self.steady);
            let made = std::thread::Builder::new()
                .name("plait-sample".into())
                .stack_size(256 << 10)
                .spawn(move || shared.run(&*lock, gap));
            *thread = Some(made.map_err(|error| {
                plait_sys::Error::from_raw_os_error("clone", error.raw_os_error().unwrap_or_default())
            })?);
        }
        Ok(())
    }
}

impl<L> Drop for Sampler<L> {
    /// The thread ends by itself, and keeps what it needs until then.
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl Shared {
    fn ring(&self) {
        // Only one of several rings: a call of the kernel that is spared.
        if self.asleep.swap(0, SeqCst) == 1 {
            // A private word of ours that is mapped: it cannot be refused.
            let _ = futex::wake(&self.asleep, 1, Scope::Process);
        }
    }

    /// Ends the gap between two samples.
    fn hurry(&self) {
        // As in `ring`.
        let _ = futex::wake(&self.stop, 1, Scope::Process);
    }

    fn stop(&self) {
        // SeqCst: as `epoch` in `begin`.
        self.stop.store(1, SeqCst);
        self.hurry();
        self.ring();
    }

    /// Whom to watch, and under which epoch; `None`: nobody.
    fn whom(&self) -> Option<(u32, Whom)> {
        // Acquire: pairs with the store in `begin`, so whom is at least as new.
        let epoch = self.epoch.load(Acquire);
        let (tid, state) = (self.tid.load(Relaxed), self.state.load(Relaxed));
        let whom = Whom { tid, state, core: self.core.load(Relaxed) };
        // Acquire: if one of these is of a later `begin`, the load below sees
        // that the epoch was taken away before; pairs with the fence there.
        fence(Acquire);
        (epoch != 0 && self.epoch.load(Relaxed) == epoch).then_some((epoch, whom))
    }

    fn run(&self, lock: &impl Lock, mut gap: Gap) {
        let _precise = PreciseSleep::new();
        let mut looker = Looker::default();
        let mut last = Instant::now();
        // SeqCst: as the epoch; a stop is seen before the next sleep at last.
        while self.stop.load(SeqCst) == 0 {
            if let Some((epoch, whom)) = self.whom() {
                let found = looker.look(lock, whom);
                self.counts.add(epoch, found, gap.weight(epoch));
                if gap.is_close() {
                    self.look_closely(epoch, lock, whom, found);
                }
                last = Instant::now();
            } else {
                gap.reset();
                if Instant::now().saturating_since(last) > LINGER {
                    looker = Looker::default();
                    self.sleep();
                    last = Instant::now();
                }
            }
            self.slow.store(gap.is_slow(), Relaxed);
            // Whatever ended the sleep: a look too early does no harm.
            let _ = futex::wait(&self.stop, 0, Some(gap.next()), Scope::Process);
        }
    }

    /// Counts how often the watched thread lets go of the lock for a while.
    fn look_closely(&self, epoch: u32, lock: &impl Lock, whom: Whom, found: Found) {
        let nanos = |time: Duration| u32::try_from(time.as_nanos()).unwrap_or(u32::MAX);
        if !matches!(found, Found::Holding | Found::Running) {
            // Who waits has let go before, and does not do so again.
            self.counts.add_close(epoch, 0, nanos(CLOSE));
            return;
        }
        // On a core of its own: who is in the place of the watched thread sees
        // that nothing happens.
        if own_core() == whom.core {
            return;
        }
        let begun = Instant::now();
        let (mut held, mut at) = (found == Found::Holding, begun);
        // Relaxed: a watch that ends meanwhile asks no more for its counts.
        while at.saturating_since(begun) < CLOSE && self.epoch.load(Relaxed) == epoch {
            let mut released = 0;
            for _ in 0..64 {
                let before = std::mem::replace(&mut held, lock.held_by(whom.state));
                released += u32::from(before && !held);
                std::hint::spin_loop();
            }
            let took = Instant::now().saturating_since(at);
            if took < INTERRUPTED {
                self.counts.add_close(epoch, released, nanos(took));
            }
            at = Instant::now();
        }
    }

    /// Sleeps until somebody is watched, or the end.
    fn sleep(&self) {
        self.asleep.store(1, SeqCst);
        // SeqCst: after the store above, in one order with `begin` and `stop`:
        // either they see that we sleep, or we see what they stored.
        while self.epoch.load(SeqCst) == 0 && self.stop.load(SeqCst) == 0 && self.asleep.load(SeqCst) == 1 {
            // Whatever ended the sleep: the loop looks.
            let _ = futex::wait(&self.asleep, 1, None, Scope::Process);
        }
        self.asleep.store(0, SeqCst);
    }
}

/// Looks at one thread after the other, mostly at the same.
#[derive(Debug, Default)]
struct Looker(Option<(u32, Thread)>);

impl Looker {
    fn look(&mut self, lock: &impl Lock, whom: Whom) -> Found {
        if lock.held_by(whom.state) {
            return Found::Holding;
        }
        match self.waiting(whom.tid) {
            None | Some(Waiting::Running) => Found::Running,
            // It wants to run, and waits for its turn with the interpreter.
            Some(Waiting::Lock(address)) if lock.owns(address) => Found::Running,
            Some(Waiting::Socket) => Found::Socket,
            Some(Waiting::Sleep) => Found::Sleep,
            Some(Waiting::File) => Found::File,
            Some(Waiting::Pipe) => Found::Pipe,
            Some(Waiting::Lock(_)) => Found::Lock,
            Some(Waiting::Process) => Found::Process,
            Some(Waiting::Other) => Found::Other,
        }
    }

    /// `None` where the kernel does not say. A thread's number is used again
    /// after its end, so a file that fails is opened once more.
    fn waiting(&mut self, tid: u32) -> Option<Waiting> {
        if let Some((of, thread)) = &mut self.0
            && *of == tid
            && let Ok(waiting) = thread.waiting()
        {
            return Some(waiting);
        }
        self.0 = Thread::open(tid).ok().map(|thread| (tid, thread));
        self.0.as_mut().and_then(|(_, thread)| thread.waiting().ok())
    }
}

#[cfg(test)]
mod tests;
