//! Functions that the workers of a pool know: a call of one is a look here.
//!
//! What a worker was told of a function holds as long as the globals that the
//! function uses, directly or by others, are bound to the same objects. A look
//! at each of these bindings is the check: two look-ups for a function of
//! `__main__` that uses nothing, none for one of a module that can be
//! imported.

use std::collections::BTreeMap;
use std::sync::Arc;

use plait_pool::process::{self, Terms};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyModule, PyString, PyTuple, PyWeakrefMethods, PyWeakrefReference};
use pyo3::{PyTraverseError, PyVisit};

use crate::hot::cell::GilCell;
use crate::hot::module;
use crate::image::needs;
use crate::process_pool::{GivenTerms, terms};

/// What some globals of one module are bound to; nothing: they are not.
struct Globals {
    module_name: Py<PyString>,
    module: Py<PyModule>,
    bindings: Vec<(Py<PyString>, Option<Py<PyAny>>)>,
}

impl Globals {
    fn hold(&self, modules: &Bound<'_, PyDict>) -> PyResult<bool> {
        let py = modules.py();
        let module = self.module.bind(py);
        if !modules.get_item(&self.module_name)?.is_some_and(|found| found.is(module)) {
            return Ok(false);
        }
        let variables = module.dict();
        for (name, value) in &self.bindings {
            let found = variables.get_item(name)?;
            if found.as_ref().map(Bound::as_ptr) != value.as_ref().map(Py::as_ptr) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// One such function.
pub(crate) struct Callee {
    function: Py<PyWeakrefReference>,
    pub(crate) image: u64,
    pub(crate) needs: Arc<[Arc<process::Image>]>,
    pub(crate) name: Arc<str>,
    pub(crate) terms: Terms,
    globals: Vec<Globals>,
}

impl Callee {
    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.function)?;
        for globals in &self.globals {
            visit.call(&globals.module)?;
            globals.bindings.iter().try_for_each(|(_, value)| visit.call(value))?;
        }
        Ok(())
    }
}

/// A name of a module, whether it is bound, and what to.
type Told = (Py<PyString>, bool, Py<PyAny>);

/// The functions of one pool, by their address.
#[pyclass(frozen, module = "plait._native")]
pub(crate) struct Callees(GilCell<BTreeMap<usize, Arc<Callee>>>);

impl Callees {
    /// What the workers know `function` as, if all is as they were told.
    pub(crate) fn find(&self, function: &Bound<'_, PyAny>) -> PyResult<Option<Arc<Callee>>> {
        let py = function.py();
        let known = self.0.borrow(py).get(&function.as_ptr().addr()).map(Arc::clone);
        let Some(callee) = known else { return Ok(None) };
        if !callee.function.bind(py).upgrade().is_some_and(|alive| alive.is(function)) {
            return Ok(None);
        }
        if callee.globals.is_empty() {
            return Ok(Some(callee));
        }
        let modules = module::all(py)?;
        for globals in &callee.globals {
            if !globals.hold(&modules)? {
                return Ok(None);
            }
        }
        Ok(Some(callee))
    }
}

#[pymethods]
impl Callees {
    #[new]
    fn new() -> Self {
        Self(GilCell::new(BTreeMap::new()))
    }

    /// Takes up the function that `reference` refers to. `modules` tells, by
    /// the name of a module, the module and what its names are bound to.
    #[allow(clippy::too_many_arguments)]
    fn add(
        &self,
        py: Python<'_>,
        reference: &Bound<'_, PyWeakrefReference>,
        image: u64,
        images: &Bound<'_, PyTuple>,
        name: &str,
        given: Option<GivenTerms>,
        modules: Vec<(Py<PyString>, Py<PyModule>, Vec<Told>)>,
    ) -> PyResult<()> {
        let Some(function) = reference.upgrade() else { return Ok(()) };
        let globals = modules.into_iter();
        let globals = globals.map(|(module_name, module, bindings)| {
            let bindings = bindings.into_iter();
            let bindings = bindings.map(|(name, bound, value)| (name, bound.then_some(value))).collect();
            Globals { module_name, module, bindings }
        });
        let callee = Callee {
            function: reference.clone().unbind(),
            image,
            needs: needs(images)?,
            name: name.into(),
            terms: terms(given),
            globals: globals.collect(),
        };
        let before = self.0.borrow(py).insert(function.as_ptr().addr(), Arc::new(callee));
        drop(before);
        Ok(())
    }

    /// The function at this address is gone, which `reference` referred to.
    fn discard(&self, py: Python<'_>, address: usize, reference: &Bound<'_, PyAny>) {
        let mut callees = self.0.borrow(py);
        let is_it = callees.get(&address).is_some_and(|callee| callee.function.is(reference));
        let gone = if is_it { callees.remove(&address) } else { None };
        drop(callees);
        drop(gone);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(callees) = self.0.visit(&visit) else { return Ok(()) };
        callees.values().try_for_each(|callee| callee.traverse(&visit))
    }

    fn __clear__(&self, py: Python<'_>) {
        let callees = std::mem::take(&mut *self.0.borrow(py));
        drop(callees);
    }
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Callees>()
}
