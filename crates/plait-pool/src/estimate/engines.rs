//! The engines, each as the resources that its calls share.

use super::{Batch, Call, Estimate, Machine, WIDEST};
use crate::choice::Engine;

/// A wider engine must be faster by more than this share to be worth it.
const WORTH: f64 = 0.02;

/// Calls wait whose waiting is so much of their time, and are given more threads
/// than are estimated if those are estimated to take no more than so much longer.
const WAITS: f64 = 0.2;
const ROOM: f64 = 0.1;

/// Calls do next to nothing else whose waiting is so much of their time.
const IDLES: f64 = 0.8;

/// So many times as long a call takes whose thread has to take turns with a
/// crowd: its data is out of the caches by its next turn. Measured from 1.0 to
/// 1.5.
const TURNS: f64 = 1.1;

/// A time of `width` calls at once that compute for a part of their time: how
/// many of them compute at any moment.
fn runnable(call: &Call, width: f64) -> f64 {
    (width * call.computing() / call.alone().max(f64::MIN_POSITIVE)).max(call.parallelism())
}

/// Wall time of one call while `width` are under way.
fn paced(call: &Call, machine: &Machine, width: f64) -> f64 {
    call.waited() + (call.alone() - call.waited()) * machine.slowdown(runnable(call, width))
}

/// Of the candidates, the narrowest that is as fast as the fastest.
fn narrowest(candidates: impl Iterator<Item = Estimate> + Clone) -> Option<Estimate> {
    let fastest = candidates.clone().map(|one| one.seconds).fold(f64::INFINITY, f64::min);
    candidates.into_iter().find(|one| one.seconds <= fastest * (1.0 + WORTH))
}

pub(super) fn one_after_another(call: &Call, machine: &Machine, batch: &Batch) -> Estimate {
    Estimate {
        engine: Engine::Serial,
        width: 1,
        chunk: 1,
        seconds: f64::from(batch.calls) * paced(call, machine, 1.0),
        warm_up: call.warm_up,
        start: 0.0,
        memory: call.memory,
    }
}

pub(super) fn in_threads(call: &Call, machine: &Machine, batch: &Batch) -> Estimate {
    let widest = batch.calls.min(batch.threads).clamp(1, WIDEST);
    let mut queue = Queue::default();
    let candidates: Vec<_> =
        (1..=widest).map(|width| threads(call, machine, batch, width, &mut queue)).collect();
    // There is always the width of one.
    let narrow = narrowest(candidates.iter().copied())
        .unwrap_or_else(|| threads(call, machine, batch, 1, &mut Queue::default()));
    // Of calls that wait, threads beyond what is estimated cost next to nothing,
    // and too few much: 24 instead of 48 took half as long again, and so did 32
    // of calls that do little else.
    let times = if call.share_waited() > IDLES { 4 } else { 2 };
    let wide = narrow.width.saturating_mul(times).min(widest);
    let roomy = candidates.into_iter().find(|one| one.width == wide);
    match roomy.filter(|one| one.seconds <= narrow.seconds * (1.0 + ROOM)) {
        Some(roomy) if narrow.width > 1 && call.share_waited() > WAITS => roomy,
        _ => narrow,
    }
}

/// Those who wait for the lock, as mean value analysis has it (Reiser and
/// Lavenberg, 1980): who arrives finds as many there as there would be on
/// average with one thread less. The lock is held for times that vary, so
/// that threads meet at it even where it is free for a part of the time.
#[derive(Debug, Default)]
struct Queue(f64);

impl Queue {
    /// The time of a call with one more thread, which has the lock for
    /// `locked` seconds and does without it for `free`.
    fn with_one_more(&mut self, threads: f64, locked: f64, free: f64) -> f64 {
        let there = locked * (1.0 + self.0);
        let call = (free + there).max(f64::MIN_POSITIVE);
        self.0 = threads * there / call;
        call
    }
}

fn threads(call: &Call, machine: &Machine, batch: &Batch, width: u32, queue: &mut Queue) -> Estimate {
    let costs = &machine.overheads;
    let (calls, at_once) = (f64::from(batch.calls), f64::from(width));
    let pace = paced(call, machine, 1.0);

    // The lock: its holders compute one at a time. On a busy machine one that
    // has waited is let in before those that never rest; whether one that has
    // waited for the lock is, and comes to a core that is less busy, is
    // measured.
    let waits = call.share_waited() > 0.1;
    let core = if waits { machine.let_in(at_once) } else { machine.locked(at_once) };
    let slow = if width > 1 && core > machine.dealt(1.0) && !waits { TURNS } else { 1.0 } / core;
    let mut locked = call.computing_locked() * slow + call.waiting_locked();
    // A thread that comes back from a wait, or from work without the lock, has
    // to be given it, the more often the busier it is. Where all wait for long,
    // those who let go for a moment have it back before another is awake: 46
    // threads whose calls let go 48 times each lost nothing by it.
    let handed = if waits { call.pauses } else { call.pauses.max(call.releases) };
    if width > 1 {
        let busy = (at_once * locked / pace).min(1.0);
        locked += call.computing_locked() * (costs.contention.max(1.0) - 1.0) * busy;
        locked += handed * costs.lock_switch * busy;
    }
    locked += costs.thread_call;
    // The last call's time without the lock comes after its time with it.
    let by_lock = calls * locked + (pace - locked).max(0.0);

    let computing = call.computing() + costs.thread_call;
    // A library's own threads are as many whoever calls it.
    let busy = runnable(call, at_once);
    let cores = if call.parallelism() > 1.0 { machine.share(busy) } else { machine.crowd(busy) };
    // Those that take turns may have more than those that all compute at once.
    let cores = cores.max(core);
    let by_cores = calls * computing / cores + call.waited();

    // Those who have to wait for the lock are as good as half of what the
    // analysis says: its times vary more than most do.
    let queued = queue.with_one_more(at_once, locked, (pace - locked).max(0.0));
    let by_queue = calls / at_once * f64::midpoint(queued, pace.max(locked * at_once));

    let waves = f64::from(batch.calls.div_ceil(width));
    let computing = (call.alone() - call.waited()) * (busy / cores).max(1.0);
    let by_time = waves * (call.waited() + computing + costs.thread_call);

    Estimate {
        engine: Engine::Thread,
        width,
        chunk: 1,
        seconds: by_lock.max(by_cores).max(by_time).max(by_queue) + costs.thread_trip,
        warm_up: call.warm_up,
        start: at_once * costs.thread_start,
        memory: u64::from(width) * (costs.thread_memory + call.memory),
    }
}

pub(super) fn in_processes(call: &Call, machine: &Machine, batch: &Batch) -> Estimate {
    // More processes than cores are for calls that wait.
    let useful = if call.share_waited() < 0.1 { machine.cores } else { u32::MAX };
    let widest = batch.calls.min(batch.processes).min(useful).max(1);
    let candidates = (1..=widest).map(|width| {
        let chunks = std::iter::successors(Some(1_u32), |chunk| chunk.checked_mul(2))
            .take_while(|chunk| *chunk <= batch.calls.div_ceil(width))
            .map(|chunk| processes(call, machine, batch, width, chunk));
        narrowest(chunks).unwrap_or_else(|| processes(call, machine, batch, width, 1))
    });
    narrowest(candidates).unwrap_or_else(|| processes(call, machine, batch, 1, 1))
}

fn processes(call: &Call, machine: &Machine, batch: &Batch, width: u32, chunk: u32) -> Estimate {
    let costs = &machine.overheads;
    let (calls, at_once) = (f64::from(batch.calls), f64::from(width));
    let chunks = batch.calls.div_ceil(chunk);

    // Both ends pickle one thing and unpickle the other, and touch each byte.
    let end = call.pickle / 2.0 + call.bytes * costs.byte;
    // Both ends have half of a hand-out; the first of a chunk is in it.
    let handout = (costs.process_call - costs.process_item).max(0.0) / 2.0;
    let parent = handout / f64::from(chunk) + costs.process_item / 2.0 + end;
    let worker = parent;

    // Handing out competes with the workers for the cores.
    let computing = call.computing() + worker;
    let busy = runnable(call, at_once).max(at_once * computing / (call.alone() + worker));
    let hands = (parent / (computing / at_once).max(f64::MIN_POSITIVE)).min(1.0);
    let given = |threads| machine.rested(threads, f64::from(chunk) * computing);
    let slow = ((busy + hands) / given(busy + hands)).max(1.0);

    let by_parent = calls * parent * machine.slowdown(1.0 + busy.min(at_once)) + call.alone();
    // Who hands out takes a share of the cores, and wins none from others for it.
    let by_cores = calls * (computing + parent) / given(busy) + call.waited();
    // The worker that has the most calls.
    let most = f64::from((chunks.div_ceil(width).saturating_mul(chunk)).min(batch.calls));
    let by_time = most * (call.waited() + (call.alone() - call.waited() + worker) * slow);

    // Workers are new to the function together.
    let together = (at_once / machine.share(at_once)).max(1.0);
    Estimate {
        engine: Engine::Process,
        width,
        chunk,
        seconds: by_parent.max(by_cores).max(by_time) + costs.process_trip + end,
        warm_up: call.warm_up * together,
        start: costs.process_start + (at_once - 1.0) * costs.worker_start,
        memory: u64::from(width) * (costs.worker_memory + call.memory + call.bytes as u64),
    }
}

pub(super) fn on_the_loop(call: &Call, machine: &Machine, batch: &Batch) -> Estimate {
    let costs = &machine.overheads;
    let calls = f64::from(batch.calls);
    // Its steps have the loop to themselves; what it waits for between them
    // passes for all at once.
    let blocked = (call.stepped - call.cpu).max(0.0).min(call.waited());
    let step = blocked + call.cpu * machine.slowdown(1.0) + costs.task;
    let between = call.waited() - blocked;
    Estimate {
        engine: Engine::Loop,
        width: batch.calls,
        chunk: 1,
        seconds: calls * step + between,
        warm_up: call.warm_up,
        start: 0.0,
        memory: u64::from(batch.calls) * (costs.task_memory + call.memory),
    }
}
