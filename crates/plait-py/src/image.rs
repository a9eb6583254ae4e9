//! What workers are told once.

use std::sync::Arc;

use plait_pool::process;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use crate::error::Error;
use crate::packer::{self, Packer};

/// Bytes that a worker is told once.
#[pyclass(frozen, module = "plait._native")]
pub(crate) struct Image(Arc<process::Image>);

impl From<Arc<process::Image>> for Image {
    fn from(image: Arc<process::Image>) -> Self {
        Self(image)
    }
}

#[pymethods]
impl Image {
    #[new]
    #[pyo3(signature = (packer, images = None))]
    fn new(packer: &Bound<'_, Packer>, images: Option<&Bound<'_, PyTuple>>) -> PyResult<Self> {
        let images = images.map(needs).transpose()?.unwrap_or_default();
        Ok(Self(process::Image::relying(packer.get().finish()?, images)))
    }

    #[getter]
    fn id(&self) -> u64 {
        self.0.id()
    }

    #[getter]
    fn data(&self) -> &[u8] {
        self.0.bytes()
    }

    /// What it relies on.
    #[getter]
    fn needs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        tuple(py, self.0.needs())
    }

    /// What a worker is given of it: the bytes, and buffers to be read.
    fn read<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyList>)> {
        let (body, pieces) = self.0.read().map_err(Error::from)?;
        Ok((packer::stream(py, body.as_ref(), &pieces)?, packer::buffers_to_read(py, &pieces)?))
    }
}

/// The images as objects.
pub(crate) fn tuple<'py>(py: Python<'py>, images: &[Arc<process::Image>]) -> PyResult<Bound<'py, PyTuple>> {
    let images: PyResult<Vec<_>> =
        images.iter().map(|image| Bound::new(py, Image(Arc::clone(image)))).collect();
    PyTuple::new(py, images?)
}

/// The images that these objects are.
pub(crate) fn needs(images: &Bound<'_, PyTuple>) -> PyResult<Arc<[Arc<process::Image>]>> {
    images.iter().map(|image| Ok(Arc::clone(&image.cast::<Image>()?.get().0))).collect()
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Image>()
}
