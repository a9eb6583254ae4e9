//! The measured choice: evidence in, an engine and a reason out.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use plait_pool::choice::{self, Call, Carriage, Evidence, Trial, plan};
use pyo3::prelude::*;

use crate::error::Result;
use crate::sync::lock;

/// What Python says of an engine: `(seconds, width, handout)` if it ran, the
/// clause that says why it cannot.
#[derive(FromPyObject)]
enum Outcome {
    Ran(f64, u32, f64),
    Unfit(String),
}

impl From<Outcome> for Trial {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Ran(seconds, width, handout) => Self::Ran { seconds, width, handout },
            Outcome::Unfit(clause) => Self::Unfit(clause),
        }
    }
}

/// The engine to use and the sentence that says why.
#[pyfunction]
#[pyo3(signature = (*, coroutine, cores, batch, wall, waited, serial, trials, carriage))]
#[allow(clippy::too_many_arguments, reason = "keywords only: the names are the contract")]
fn choose(
    coroutine: bool,
    cores: u32,
    batch: u32,
    wall: f64,
    waited: f64,
    serial: f64,
    trials: HashMap<String, Option<Outcome>>,
    carriage: Option<(u64, f64)>,
) -> Result<(&'static str, String)> {
    let mut known = Vec::with_capacity(trials.len());
    for (engine, outcome) in trials {
        known.push((engine.parse::<choice::Engine>()?, outcome.map_or(Trial::NoTime, Trial::from)));
    }
    known.sort_by_key(|(engine, _)| *engine);
    let choice = choice::choose(&Evidence {
        coroutine,
        cores,
        batch,
        call: Call { wall, waited },
        serial,
        trials: known,
        carriage: carriage.map(|(bytes, seconds)| Carriage { bytes, seconds }),
    });
    Ok((choice.best.word(), choice.reason))
}

/// The size of a batch that the budget can pay for.
#[pyfunction]
fn batch_size(cost: f64, budget: f64, least: u32) -> u32 {
    plan::batch(cost, budget, least)
}

/// How one engine spends its share of the budget.
#[pyclass(frozen, module = "plait._native")]
struct Rounds(Mutex<plan::Rounds>);

impl Rounds {
    fn inner(&self) -> MutexGuard<'_, plan::Rounds> {
        // A few numbers, whole after every call.
        lock(&self.0)
    }
}

#[pymethods]
impl Rounds {
    #[new]
    fn new(batch: u32, width: u32, cost: f64, share: f64) -> Self {
        Self(Mutex::new(plan::Rounds::new(batch, width, cost, share)))
    }

    fn part(&self) -> u32 {
        self.inner().part()
    }

    fn took(&self, calls: u32, seconds: f64) {
        self.inner().took(calls, seconds);
    }

    fn seconds(&self) -> Option<f64> {
        self.inner().seconds()
    }
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(choose, module)?)?;
    module.add_function(wrap_pyfunction!(batch_size, module)?)?;
    module.add_class::<Rounds>()
}
