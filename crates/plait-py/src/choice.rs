//! The measured choice: evidence in, an engine and a reason out.

use std::collections::HashMap;

use plait_pool::choice::{self, Call, Carriage, Evidence, Trial, plan};
use pyo3::prelude::*;

use crate::error::Result;

/// What Python says of an engine: `(seconds, width, handout)` if it ran, else
/// the clause that says why it did not.
#[derive(FromPyObject)]
enum Outcome {
    Ran(f64, u32, f64),
    LeftOut(String),
}

impl From<Outcome> for Trial {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Ran(seconds, width, handout) => Self::Ran { seconds, width, handout },
            Outcome::LeftOut(clause) => Self::LeftOut(clause),
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
    trials: HashMap<String, Outcome>,
    carriage: Option<(u64, f64)>,
) -> Result<(&'static str, String)> {
    let mut known = Vec::with_capacity(trials.len());
    for (engine, outcome) in trials {
        known.push((engine.parse::<choice::Engine>()?, outcome.into()));
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

/// How many of `wanted` calls fit into `seconds`, in whole waves of `width`.
#[pyfunction]
fn fitting(wanted: u32, cost: f64, seconds: f64, width: u32) -> u32 {
    plan::fitting(wanted, cost, seconds, width)
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(choose, module)?)?;
    module.add_function(wrap_pyfunction!(batch_size, module)?)?;
    module.add_function(wrap_pyfunction!(fitting, module)?)
}
