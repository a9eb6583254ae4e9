//! How much of a batch to run.

use std::sync::{Mutex, MutexGuard};

use plait_pool::choice::plan;
use pyo3::prelude::*;

use crate::sync::lock;

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
    module.add_function(wrap_pyfunction!(batch_size, module)?)?;
    module.add_class::<Rounds>()
}
