//! Why an engine was chosen: one sentence in the terms in which people ask.

use std::time::Duration;

use plait_trace::human;

use super::{Call, Engine, Evidence, NOISE, Trial};

/// What a call does with its time.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Nature {
    /// Computes for nearly all of it.
    Computes,
    /// Waits for nearly all of it.
    Waits,
    /// Does both.
    Mixed,
}

impl Nature {
    fn of(call: Call) -> Self {
        match share_waited(call) {
            share if share >= 0.8 => Self::Waits,
            share if share <= 0.25 => Self::Computes,
            _ => Self::Mixed,
        }
    }
}

fn share_waited(call: Call) -> f64 {
    if call.wall > 0.0 { (call.waited / call.wall).clamp(0.0, 1.0) } else { 0.0 }
}

/// Why `best` is the engine for what `evidence` is about.
pub(super) fn reason(evidence: &Evidence, best: Engine) -> String {
    let about = About { evidence, nature: Nature::of(evidence.call) };
    let mut clause = match best {
        Engine::Serial if evidence.coroutine => about.serial_coroutine(),
        Engine::Serial => about.serial_function(),
        Engine::Loop => about.on_the_loop(),
        Engine::Thread => about.in_threads(),
        Engine::Process => about.in_processes(),
    };
    if let Some(first) = clause.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    clause.push('.');
    clause
}

struct About<'a> {
    evidence: &'a Evidence,
    nature: Nature,
}

impl About<'_> {
    /// How much faster than serial an engine was, if it ran.
    fn speed(&self, engine: Engine) -> Option<f64> {
        Some(self.evidence.serial / self.evidence.seconds(engine)?.max(f64::MIN_POSITIVE))
    }

    fn gained(&self, engine: Engine) -> bool {
        self.speed(engine).is_some_and(|speed| speed > 1.0 + NOISE)
    }

    /// "3.9 times as fast as one after another", if the engine ran.
    fn times(&self, engine: Engine) -> String {
        let speed = self.speed(engine).unwrap_or(1.0);
        format!("{} times as fast as one after another", figure(speed))
    }

    /// How many of its calls an engine has under way at once.
    fn at_once(&self, engine: Engine) -> u32 {
        match self.evidence.trial(engine) {
            Some(Trial::Ran { width, .. }) => (*width).min(self.evidence.batch),
            _ => 1,
        }
    }

    /// The engines that ran, with what one hand-out costs in each.
    fn handouts(&self) -> Vec<(Engine, f64)> {
        let trials = self.evidence.trials.iter();
        trials
            .filter_map(|(engine, trial)| match trial {
                Trial::Ran { handout, .. } => Some((*engine, *handout)),
                Trial::NoTime | Trial::Unfit(_) => None,
            })
            .collect()
    }

    /// Whether a call is too short for any engine that ran to save time on
    /// it: with two at once, a call must take twice its hand-out. Threads are
    /// no measure for what computes, if processes ran too.
    fn is_tiny(&self) -> bool {
        let handouts = self.handouts();
        let computes = self.nature == Nature::Computes && handouts.len() > 1;
        let mut relevant = handouts.iter().filter(|(engine, _)| !(computes && *engine == Engine::Thread));
        !handouts.is_empty() && relevant.all(|(_, cost)| 2.0 * cost >= self.evidence.call.wall)
    }

    fn too_small(&self) -> String {
        let costs: Vec<_> = self
            .handouts()
            .into_iter()
            .map(|(engine, cost)| match engine {
                Engine::Loop => format!("making a task of it {}", time(cost)),
                Engine::Process => format!("handing one to a process {}", time(cost)),
                _ => format!("handing one to a thread {}", time(cost)),
            })
            .collect();
        format!("too small to hand out: a call takes {}, {}", time(self.evidence.call.wall), costs.join(", "))
    }

    /// Why processes cannot run it, if they cannot.
    fn unfit(&self, engine: Engine) -> Option<&str> {
        match self.evidence.trial(engine)? {
            Trial::Unfit(clause) => Some(clause),
            Trial::Ran { .. } | Trial::NoTime => None,
        }
    }

    /// Why engines are missing, as a clause: nothing if all ran.
    fn missing(&self) -> Option<String> {
        let trials = &self.evidence.trials;
        let mut clauses: Vec<String> = Vec::new();
        let late = |trial: &Trial| matches!(trial, Trial::NoTime);
        let names: Vec<_> = trials.iter().filter(|(_, trial)| late(trial)).map(|(e, _)| plural(*e)).collect();
        if !names.is_empty() {
            clauses
                .push(format!("the budget left no time for {}, a larger one would tell", names.join(" or ")));
        }
        for (engine, _) in trials {
            if let Some(clause) = self.unfit(*engine) {
                clauses.push(format!("{} are out because {clause}", plural(*engine)));
            }
        }
        (!clauses.is_empty()).then(|| clauses.join("; "))
    }

    /// "waits (I/O, sleep) for 97 % of its time", and its like.
    fn nature(&self) -> String {
        let percent = (share_waited(self.evidence.call) * 100.0).round();
        match self.nature {
            Nature::Computes => "CPU bound".into(),
            Nature::Waits => format!("waits (I/O, sleep) for {percent} % of its time"),
            Nature::Mixed => format!("waits for {percent} % of its time and computes for the rest"),
        }
    }

    /// Whether a call costs more to carry to a process than two cores could save.
    fn is_heavy(&self) -> bool {
        let seconds = self.evidence.carriage.map_or(0.0, |carriage| carriage.seconds);
        seconds >= self.evidence.call.wall / 2.0
    }

    fn serial_function(&self) -> String {
        let evidence = self.evidence;
        if evidence.batch == 1 {
            return "a single call has nothing to overlap with, so handing it out gains nothing".into();
        }
        if self.handouts().is_empty() {
            return self.untried();
        }
        if self.is_tiny() {
            return self.too_small();
        }
        let nature = self.nature();
        if self.nature == Nature::Waits {
            return format!(
                "{nature}, but its calls did not overlap: they wait for each other (a lock?), or \
                 hold the interpreter lock while they wait"
            );
        }
        if let Some(why) = self.missing() {
            return format!("{nature}, and threads gained nothing ({}); {why}", self.times(Engine::Thread));
        }
        if let Some(carriage) = evidence.carriage.filter(|_| self.is_heavy()) {
            return format!(
                "{nature}, but carrying a call to a process and back ({}, {}) costs too much for the \
                 {} that it takes",
                size(carriage.bytes),
                time(carriage.seconds),
                time(evidence.call.wall)
            );
        }
        if evidence.cores == 1 {
            return format!("{nature}, and there is one core to run on");
        }
        let speeds: Vec<_> = [(Engine::Thread, "threads"), (Engine::Process, "processes")]
            .into_iter()
            .filter_map(|(engine, name)| Some(format!("{name} {} times", figure(self.speed(engine)?))))
            .collect();
        format!("{nature}, and handing it out did not earn its place: {} the speed", speeds.join(", "))
    }

    fn serial_coroutine(&self) -> String {
        if self.evidence.batch == 1 {
            return "a single call has nothing to overlap with, so a task of its own gains nothing".into();
        }
        if self.handouts().is_empty() {
            return self.untried();
        }
        if self.is_tiny() {
            return self.too_small();
        }
        let nature = self.nature();
        match self.nature {
            Nature::Computes => format!(
                "{nature}: a coroutine that computes holds the loop, so nothing overlaps; as a plain \
                 function it could run in processes"
            ),
            Nature::Waits | Nature::Mixed => format!(
                "{nature}, but its calls did not overlap: it blocks the loop while it waits (then run \
                 that call in a thread), or its calls wait for each other"
            ),
        }
    }

    fn on_the_loop(&self) -> String {
        let batch = self.evidence.batch;
        format!("{}: {batch} at once on the loop ran {}", self.nature(), self.times(Engine::Loop))
    }

    fn in_threads(&self) -> String {
        let at_once = self.at_once(Engine::Thread);
        let times = self.times(Engine::Thread);
        let nature = self.nature();
        match self.nature {
            Nature::Computes => {
                let why = self.missing().map_or(String::new(), |why| format!("; {why}"));
                let threads = count(at_once, "thread", "threads");
                format!(
                    "{nature}, but it releases the interpreter lock: {threads} ran {times}, and nothing \
                     has to be pickled{why}"
                )
            }
            Nature::Waits if self.evidence.batch > at_once => format!(
                "{nature}: with {at_once} at once threads ran {times}; many more at once are lighter \
                 as coroutines on the loop"
            ),
            Nature::Waits | Nature::Mixed => {
                format!("{nature}: with {at_once} at once threads ran {times}")
            }
        }
    }

    fn in_processes(&self) -> String {
        let processes = count(self.at_once(Engine::Process), "process", "processes");
        let times = self.times(Engine::Process);
        let nature = self.nature();
        let threads = self.speed(Engine::Thread).map(figure);
        match (self.nature, threads) {
            (Nature::Computes, Some(threads)) if self.gained(Engine::Thread) => format!(
                "{nature}, and it releases the interpreter lock only in part: threads ran {threads} \
                 times as fast, {processes} {times}"
            ),
            (Nature::Computes, Some(threads)) => format!(
                "{nature}, and it holds the interpreter lock: threads ran {threads} times as fast, \
                 {processes} {times}"
            ),
            (Nature::Waits | Nature::Mixed, Some(threads)) => format!(
                "{nature}, and in threads it waits for the interpreter lock or for a lock of its own \
                 (which no process sees): threads ran {threads} times as fast, {processes} {times}"
            ),
            (_, None) => {
                let why = self.missing().map_or(String::new(), |why| format!("; {why}"));
                format!("{nature}: {processes} ran {times}{why}")
            }
        }
    }

    /// Nothing but the serial engine ran.
    fn untried(&self) -> String {
        let why = self.missing().unwrap_or_else(|| "no other engine was tried".into());
        format!("{}, and only one after another was measured: {why}", self.nature())
    }
}

/// What there are several of in an engine.
fn plural(engine: Engine) -> &'static str {
    match engine {
        Engine::Serial => "calls one after another",
        Engine::Loop => "calls at once on the loop",
        Engine::Thread => "threads",
        Engine::Process => "processes",
    }
}

/// "1 process", "2 processes".
fn count(number: u32, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// A ratio in two or three digits.
fn figure(ratio: f64) -> String {
    match ratio {
        ratio if ratio >= 9.95 => format!("{ratio:.0}"),
        ratio if ratio >= 1.95 => format!("{ratio:.1}"),
        ratio => format!("{ratio:.2}"),
    }
}

fn time(seconds: f64) -> String {
    // What clocks say is a duration, but for their jitter around zero.
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
