//! One sentence about each engine, in the terms in which people ask.

use std::time::Duration;

use plait_trace::human;

use super::{Batch, Call, Estimate, Machine};
use crate::choice::Engine;

/// From this share on a call computes, or waits, and does nothing else worth
/// a word.
const NEARLY_ALL: f64 = 0.75;
/// From so many at once on, waiting calls are better off as coroutines.
const MANY: u32 = 32;

/// What the sentences are about.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// One call.
    pub call: &'a Call,
    /// Where it runs.
    pub machine: &'a Machine,
    /// How many of them.
    pub batch: &'a Batch,
    /// Shares of the call's wall time by what it waited on.
    pub waits: &'a [(String, f64)],
    /// Why it cannot go to a process, as a clause.
    pub uncarried: Option<&'a str>,
    /// Every engine's estimate.
    pub all: &'a [Estimate],
}

/// What is to be said of an engine, whether it can run the batch or not:
/// without a capital, and without a full stop.
#[must_use]
pub fn sentence(facts: &Facts<'_>, engine: Engine) -> String {
    let call = facts.call.clean();
    let about = About { facts, call: &call };
    match engine {
        Engine::Serial => about.serial(),
        Engine::Loop => about.on_the_loop(),
        Engine::Thread => about.in_threads(),
        Engine::Process => about.in_processes(),
    }
}

struct About<'a> {
    facts: &'a Facts<'a>,
    call: &'a Call,
}

impl About<'_> {
    fn estimate(&self, engine: Engine) -> Option<&Estimate> {
        self.facts.all.iter().find(|one| one.engine == engine)
    }

    /// How much faster than one after another an engine is estimated to be.
    fn speedup(&self, engine: Engine) -> f64 {
        let seconds = |engine| self.estimate(engine).map_or(f64::INFINITY, |one: &Estimate| one.seconds);
        seconds(Engine::Serial) / seconds(engine).max(f64::MIN_POSITIVE)
    }

    fn gains(&self, engine: Engine) -> bool {
        self.speedup(engine) > 1.0 + super::MARGIN
    }

    fn single(&self) -> bool {
        self.facts.batch.calls == 1
    }

    fn waits(&self) -> bool {
        self.call.share_waited() >= NEARLY_ALL
    }

    fn computes(&self) -> bool {
        self.call.share_waited() <= 1.0 - NEARLY_ALL
    }

    /// "waits 99 % of the time on a socket".
    fn waiting(&self) -> String {
        let all: f64 = self.facts.waits.iter().map(|(_, share)| share).sum();
        let most = self.facts.waits.iter().max_by(|(_, a), (_, b)| a.total_cmp(b));
        let on = match most.filter(|(_, share)| *share > all / 2.0) {
            Some((what, _)) => match what.as_str() {
                "socket" => " on a socket",
                "sleep" => return format!("sleeps {} of the time", percent(self.call.share_waited())),
                "file" => " on a file",
                "pipe" => " on a pipe",
                "lock" => " for a lock",
                "process" => " for another process",
                _ => "",
            },
            None => "",
        };
        format!("waits {} of the time{on}", percent(self.call.share_waited()))
    }

    /// The share of its computing with the interpreter lock held.
    fn locked(&self) -> f64 {
        if self.call.cpu > 0.0 { (self.call.computing_locked() / self.call.cpu).min(1.0) } else { 0.0 }
    }

    fn holding(&self) -> String {
        match self.call.held {
            Some(held) => format!("holds the interpreter lock {} of the time", percent(held)),
            None => {
                format!("computes {} of the time, as far as is known with the interpreter lock held", {
                    percent(1.0 - self.call.share_waited())
                })
            }
        }
    }

    /// Where the call is over before it could have been handed out.
    fn tiny(&self, handout: f64) -> bool {
        self.call.wall < 2.0 * handout
    }

    fn each(&self) -> String {
        format!("{} a call", time(self.call.wall))
    }

    fn serial(&self) -> String {
        let cores = self.facts.machine.cores;
        if self.single() {
            return "a single call has nothing to overlap with".into();
        }
        if !Engine::ALL.into_iter().any(|engine| engine != Engine::Serial && self.gains(engine)) {
            return self.nothing_gains();
        }
        if self.waits() {
            return format!("{}, and nothing else is done meanwhile", self.waiting());
        }
        if self.computes() {
            return format!("computes on one core of {cores}");
        }
        format!("{} and computes for the rest: one of the two stands still", self.waiting())
    }

    /// Why one after another is best.
    fn nothing_gains(&self) -> String {
        let costs = &self.facts.machine.overheads;
        if self.facts.batch.coroutine {
            return match self.tiny(costs.task) {
                true => format!("{}: a task of its own costs {}", self.each(), time(costs.task)),
                false => "its calls cannot overlap on one loop".into(),
            };
        }
        if self.tiny(costs.thread_call.max(costs.process_item)) {
            return format!("{}: handing it out costs more than it saves", self.each());
        }
        if self.facts.machine.cores == 1 && self.computes() {
            return "computes, and there is one core to run on".into();
        }
        if self.call.parallelism() > 1.5 {
            return "its library computes on several cores already".into();
        }
        if self.computes() && self.facts.uncarried.is_some() {
            return "threads cannot help, and it cannot go to a process".into();
        }
        "no engine saves more than it costs".into()
    }

    fn in_threads(&self) -> String {
        let Some(own) = self.estimate(Engine::Thread) else { return "not for coroutines".into() };
        let costs = &self.facts.machine.overheads;
        if self.single() {
            return format!("one call gains nothing, and handing it out costs {}", time(costs.thread_trip));
        }
        if self.tiny(costs.thread_call) {
            return format!("{}: handing one to a thread costs {}", self.each(), time(costs.thread_call));
        }
        if self.call.waiting_locked() > 0.25 * self.call.wall {
            return format!("{} even while it waits: threads cannot help", self.holding());
        }
        if self.waits() {
            let waiting = self.waiting();
            return match (own.width, self.gains(Engine::Thread)) {
                (width @ MANY.., true) => {
                    format!("{waiting}: {width} at once are cheaper as coroutines than as threads")
                }
                (width, true) => format!("{waiting}: {width} threads wait at once"),
                (_, false) => format!("{waiting}, but its calls would not overlap"),
            };
        }
        if self.call.parallelism() > 1.5 {
            return format!(
                "its library computes on {:.1} cores already: more threads have none to run on",
                self.call.parallelism()
            );
        }
        if self.computes() {
            return match (self.gains(Engine::Thread), self.locked() >= 0.5) {
                (false, true) => format!("{}: threads cannot help", self.holding()),
                (false, false) if self.facts.machine.cores == 1 => "there is one core to run on".into(),
                (false, false) => "no core is free for more threads".into(),
                (true, true) if self.facts.machine.is_busy() => format!(
                    "the machine is busy: {} threads take turns at the interpreter lock, and whoever has it is \
                     given a core sooner",
                    own.width
                ),
                (true, true) => format!("{}: threads help with the rest", self.holding()),
                (true, false) if own.width > self.facts.machine.cores => format!(
                    "lets go of the interpreter lock {} of the time: {} threads get more of a busy machine",
                    percent(1.0 - self.locked()),
                    own.width
                ),
                (true, false) => format!(
                    "lets go of the interpreter lock {} of the time: {} threads compute at once",
                    percent(1.0 - self.locked()),
                    own.width
                ),
            };
        }
        match self.gains(Engine::Thread) {
            true => format!("{}: {} threads, one computes while others wait", self.waiting(), own.width),
            false => format!("{}, and {}", self.waiting(), self.holding()),
        }
    }

    fn in_processes(&self) -> String {
        if let Some(clause) = self.facts.uncarried {
            return clause.into();
        }
        let Some(own) = self.estimate(Engine::Process) else { return "not for coroutines".into() };
        let costs = &self.facts.machine.overheads;
        let gains = self.gains(Engine::Process);
        if self.single() {
            return format!("one call gains nothing, and handing it out costs {}", time(costs.process_trip));
        }
        let end = self.call.pickle + 2.0 * self.call.bytes * costs.byte;
        if !gains && end > self.call.wall / 4.0 && self.call.bytes > 10_000.0 {
            return format!(
                "carrying {} there and back takes {}, the call itself {}",
                size(self.call.bytes as u64),
                time(end),
                time(self.call.wall)
            );
        }
        if self.tiny(costs.process_call + self.call.pickle) {
            let each = self.each();
            return match (gains, own.chunk) {
                (true, 2..) => {
                    format!("{each}: handing it out costs more than it saves; use chunks of {}", own.chunk)
                }
                (true, _) => format!("{each}: handing it out costs {}", time(costs.process_call)),
                (false, 2..) => format!("{each}: handing it out costs more than it saves, in chunks too"),
                (false, _) => format!("{each}: handing it out costs more than it saves"),
            };
        }
        if self.waits() {
            return match gains {
                true => format!("{} processes wait at once, {} each", own.width, size(costs.worker_memory)),
                false => "there is nothing to compute at once".into(),
            };
        }
        if self.call.parallelism() > 1.5 {
            return "its library computes on several cores already".into();
        }
        match gains {
            true => {
                format!("{} processes compute at once, each with an interpreter lock of its own", own.width)
            }
            false if self.facts.machine.cores == 1 => "there is one core to run on".into(),
            false if self.facts.machine.others > 0.5 => "other programs have the other cores".into(),
            false => "the hand-out takes what a second core would save".into(),
        }
    }

    fn on_the_loop(&self) -> String {
        if self.estimate(Engine::Loop).is_none() {
            return "needs a coroutine function".into();
        }
        let batch = self.facts.batch;
        if self.single() {
            return "a single call has nothing to overlap with".into();
        }
        let blocked = self.call.stepped - self.call.cpu - self.call.queued;
        if blocked > 0.5 * self.call.wall {
            return "blocks the loop while it waits: run that part in a thread".into();
        }
        if self.tiny(self.facts.machine.overheads.task) && !self.gains(Engine::Loop) {
            let task = time(self.facts.machine.overheads.task);
            return format!("{}: a task of its own costs {task}", self.each());
        }
        if self.computes() {
            return "a coroutine that computes holds the loop; as a plain function it could run in processes"
                .into();
        }
        match self.gains(Engine::Loop) {
            true => format!("{}: {} at once on one thread", self.waiting(), batch.calls),
            false => format!("{}, but its calls would not overlap", self.waiting()),
        }
    }
}

/// "98 %": what is not all is never called all, nor what is something nothing.
fn percent(share: f64) -> String {
    let whole = (share * 100.0).round();
    let whole = if share < 1.0 { whole.min(99.0) } else { whole };
    let whole = if share > 0.0 { whole.max(1.0) } else { whole };
    format!("{whole} %")
}

fn time(seconds: f64) -> String {
    human(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// A number of bytes in the unit that suits it.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
