//! Timelines, built from Python and drawn in Rust.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use plait_trace::{PanelId, Span, Track, TrackId, instant};
use pyo3::prelude::*;

use crate::error::Result;
use crate::sync::lock;

/// What ran where and when: panels of tracks of lanes of spans.
#[pyclass(frozen, module = "plait._native")]
struct Timeline(Mutex<plait_trace::Timeline>);

impl Timeline {
    fn inner(&self) -> MutexGuard<'_, plait_trace::Timeline> {
        // A timeline is whole after every call: a panic elsewhere spoils nothing.
        lock(&self.0)
    }
}

#[pymethods]
impl Timeline {
    #[new]
    #[pyo3(signature = (title, subtitle = ""))]
    fn new(title: &str, subtitle: &str) -> Self {
        Self(Mutex::new(plait_trace::Timeline::new(title, subtitle)))
    }

    #[pyo3(signature = (title, note = "", advice = ""))]
    fn panel(&self, title: &str, note: &str, advice: &str) -> usize {
        self.inner().add_panel(title, note, advice).0
    }

    #[pyo3(signature = (panel, name, start, end, outcome = ""))]
    fn track(&self, panel: usize, name: &str, start: f64, end: f64, outcome: &str) -> Result<usize> {
        let track = Track::new(name, outcome, instant(start)?, instant(end)?)?;
        Ok(self.inner().add_track(PanelId(panel), track)?.0)
    }

    fn span(&self, track: usize, lane: &str, label: &str, kind: &str, start: f64, end: f64) -> Result<()> {
        let span = Span::new(label, kind.parse()?, instant(start)?, instant(end)?)?;
        Ok(self.inner().add_span(TrackId(track), lane, span)?)
    }

    fn svg(&self, py: Python<'_>) -> String {
        py.detach(|| self.inner().to_svg())
    }
}

/// A time in seconds as people read it.
#[pyfunction]
fn human(seconds: f64) -> Result<String> {
    let duration = Duration::try_from_secs_f64(seconds).map_err(|_| plait_trace::Error::NotATime(seconds))?;
    Ok(plait_trace::human(duration))
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(human, module)?)?;
    module.add_class::<Timeline>()
}
