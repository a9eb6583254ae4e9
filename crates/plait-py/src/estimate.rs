//! The estimate: signals and overheads in, times and sentences out.

use plait_pool::choice::{self, Engine};
use plait_pool::estimate::{self as model, Batch, Call, Crowd, Estimate, Facts, Machine, Overheads};
use pyo3::prelude::*;

use crate::error::Result;

/// One call, read off the fields of the same names.
#[derive(FromPyObject)]
struct Signals {
    first: f64,
    wall: f64,
    cpu: f64,
    queued: f64,
    process_cpu: f64,
    held: Option<f64>,
    pauses: f64,
    releases: f64,
    stepped: Option<f64>,
    argument_bytes: Option<u64>,
    result_bytes: Option<u64>,
    pickle_seconds: Option<f64>,
    unpicklable: Option<String>,
    memory: Option<u64>,
    #[pyo3(attribute("_waits"))]
    waits: Vec<(String, f64)>,
}

impl Signals {
    fn call(&self) -> Call {
        let bytes = self.argument_bytes.unwrap_or(0).saturating_add(self.result_bytes.unwrap_or(0));
        Call {
            wall: self.wall,
            cpu: self.cpu,
            queued: self.queued,
            process_cpu: self.process_cpu,
            held: self.held,
            pauses: self.pauses,
            releases: self.releases,
            stepped: self.stepped.unwrap_or(0.0),
            warm_up: self.first - self.wall,
            carried: self.unpicklable.is_none(),
            bytes: bytes as f64,
            pickle: self.pickle_seconds.unwrap_or(0.0),
            memory: self.memory.unwrap_or(0),
        }
    }
}

/// What the engines cost, read off the fields of the same names.
#[derive(FromPyObject)]
struct Costs {
    thread_call: f64,
    thread_trip: f64,
    thread_start: f64,
    thread_memory: u64,
    contention: f64,
    lock_switch: f64,
    process_call: f64,
    process_item: f64,
    process_trip: f64,
    process_start: f64,
    worker_start: f64,
    worker_memory: u64,
    byte: f64,
    task: f64,
    task_memory: u64,
}

impl From<Costs> for Overheads {
    fn from(costs: Costs) -> Self {
        Self {
            thread_call: costs.thread_call,
            thread_trip: costs.thread_trip,
            thread_start: costs.thread_start,
            thread_memory: costs.thread_memory,
            contention: costs.contention,
            lock_switch: costs.lock_switch,
            process_call: costs.process_call,
            process_item: costs.process_item,
            process_trip: costs.process_trip,
            process_start: costs.process_start,
            worker_start: costs.worker_start,
            worker_memory: costs.worker_memory,
            byte: costs.byte,
            task: costs.task,
            task_memory: costs.task_memory,
        }
    }
}

/// What a crowd was given, read off the fields of the same names.
#[derive(FromPyObject)]
struct Given {
    threads: u32,
    locked: Option<f64>,
    free: Option<f64>,
}

impl From<Given> for Crowd {
    fn from(given: Given) -> Self {
        Self { threads: given.threads, locked: given.locked, free: given.free }
    }
}

/// Engine, width, chunk, seconds, seconds of warm-up and start, bytes.
type Row = (&'static str, u32, u32, f64, f64, f64, u64);

fn row(one: &Estimate) -> Row {
    (one.engine.word(), one.width, one.chunk, one.seconds, one.warm_up, one.start, one.memory)
}

/// The estimates of the engines that can run the batch, and a sentence about
/// each that was considered.
#[pyfunction]
#[pyo3(signature = (signals, overheads, *, batch, cores, others, crowd, coroutine, threads, processes))]
#[allow(clippy::too_many_arguments, reason = "keywords only: the names are the contract")]
fn estimate(
    signals: Signals,
    overheads: Costs,
    batch: u32,
    cores: u32,
    others: f64,
    crowd: Option<Given>,
    coroutine: bool,
    threads: u32,
    processes: u32,
) -> (Vec<Row>, Vec<(&'static str, String)>) {
    let call = signals.call();
    let machine = Machine { cores, others, crowd: crowd.map(Into::into), overheads: overheads.into() };
    let batch = Batch { calls: batch, coroutine, threads, processes };
    let all = model::estimate(&call, &machine, &batch);
    let facts = Facts {
        call: &call,
        machine: &machine,
        batch: &batch,
        waits: &signals.waits,
        uncarried: signals.unpicklable.as_deref(),
        all: &all,
    };
    let considered: &[Engine] = match coroutine {
        true => &[Engine::Serial, Engine::Loop],
        false => &[Engine::Serial, Engine::Thread, Engine::Process],
    };
    let sentences =
        considered.iter().map(|engine| (engine.word(), model::sentence(&facts, *engine))).collect();
    (all.iter().map(row).collect(), sentences)
}

/// The cheapest engine that is as fast as the fastest, but for a margin.
#[pyfunction]
#[pyo3(signature = (seconds, margin = model::MARGIN))]
fn best_engine(seconds: Vec<(String, f64)>, margin: f64) -> Result<&'static str> {
    let mut times = Vec::with_capacity(seconds.len());
    for (engine, time) in seconds {
        times.push((engine.parse::<choice::Engine>()?, time));
    }
    Ok(model::best(&times, margin).word())
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(estimate, module)?)?;
    module.add_function(wrap_pyfunction!(best_engine, module)?)
}
