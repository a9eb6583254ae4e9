//! Methods that take their arguments by vectorcall, and the border that every
//! raw entry crosses.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::panic::PanicException;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyTuple, PyType};
use pyo3::{Borrowed, intern};

/// The definitions of a class' methods.
pub(super) struct Methods<const COUNT: usize>(pub(super) [ffi::PyMethodDef; COUNT]);

// SAFETY: never written to; the pointers inside are to functions and strings
// of this crate.
unsafe impl<const COUNT: usize> Sync for Methods<COUNT> {}

impl<const COUNT: usize> Methods<COUNT> {
    /// Puts them into the class.
    ///
    /// # Safety
    /// The functions take instances of `class`.
    pub(super) unsafe fn install(&'static self, class: &Bound<'_, PyType>) -> PyResult<()> {
        for method in &self.0 {
            // SAFETY: a static definition, and a class; the descriptor checks
            // that it is called on an instance of it.
            let descriptor =
                unsafe { ffi::PyDescr_NewMethod(class.as_type_ptr(), ptr::from_ref(method).cast_mut()) };
            // SAFETY: a new reference, or null with an exception set.
            let descriptor = unsafe { Bound::from_owned_ptr_or_err(class.py(), descriptor) }?;
            // SAFETY: the name of a static definition.
            let name = unsafe { CStr::from_ptr(method.ml_name) };
            class.setattr(name.to_string_lossy().as_ref(), descriptor)?;
        }
        Ok(())
    }
}

/// A method that takes positional and keyword arguments.
pub(super) const fn method(
    name: &'static CStr,
    function: ffi::PyCFunctionFastWithKeywords,
    doc: &'static CStr,
) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: function },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: doc.as_ptr(),
    }
}

/// Runs `f` for a caller in C: an error becomes the current exception and a
/// panic a `PanicException`, for unwinding must not leave Rust.
pub(super) fn entry(f: impl FnOnce(Python<'_>) -> PyResult<Py<PyAny>>) -> *mut ffi::PyObject {
    // SAFETY: the interpreter calls with its lock held. PyO3 does not count
    // this entry: should none of its own be further out (the loop's run
    // usually is), a `Py` dropped inside waits for the next one, no more.
    let py = unsafe { Python::assume_attached() };
    {
        let outcome = catch_unwind(AssertUnwindSafe(|| f(py)));
        let outcome = outcome.unwrap_or_else(|payload| {
            let message = payload
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| payload.downcast_ref::<&str>().map(|&text| text.to_owned()));
            Err(PanicException::new_err(message.unwrap_or_else(|| "panic from Rust code".to_owned())))
        });
        match outcome {
            Ok(object) => object.into_ptr(),
            Err(error) => {
                error.restore(py);
                ptr::null_mut()
            }
        }
    }
}

/// Whether a keyword is `context`. The tasks of asyncio pass one and the same
/// string that is not interned, in each step: it is known by its address from
/// the second time on.
fn is_context(py: Python<'_>, key: Borrowed<'_, '_, PyString>) -> PyResult<bool> {
    static SPELLED: PyOnceLock<Py<PyString>> = PyOnceLock::new();
    if key.is(intern!(py, "context")) || SPELLED.get(py).is_some_and(|spelled| key.is(spelled)) {
        return Ok(true);
    }
    let same = key.to_cow()? == "context";
    if same {
        SPELLED.get_or_init(py, || key.to_owned().unbind());
    }
    Ok(same)
}

/// The arguments of `method(leading..., callback, *args, context=None)`.
pub(crate) struct Call<'a, 'py> {
    /// What comes before the callback: at most one, `when` or `delay`.
    leading: Option<Borrowed<'a, 'py, PyAny>>,
    callback: *mut ffi::PyObject,
    args: &'a [*mut ffi::PyObject],
    context: Option<Borrowed<'a, 'py, PyAny>>,
    held: PhantomData<&'a Py<PyAny>>,
}

impl<'a, 'py> Call<'a, 'py> {
    /// A call with no keywords, from Rust.
    pub(crate) fn new(
        callback: &'a Bound<'py, PyAny>,
        args: &'a Bound<'py, PyTuple>,
        context: Option<&'a Bound<'py, PyAny>>,
    ) -> Self {
        // SAFETY: the items of a tuple lie in a row and live as long as it.
        let args = unsafe {
            let items = (&raw const (*args.as_ptr().cast::<ffi::PyTupleObject>()).ob_item).cast();
            std::slice::from_raw_parts(items, args.len())
        };
        let context = context.map(Bound::as_borrowed);
        Self { leading: None, callback: callback.as_ptr(), args, context, held: PhantomData }
    }

    /// Takes the arguments of the method `name` apart.
    ///
    /// # Safety
    /// `args`, `nargs` and `kwnames` are those of a METH_FASTCALL |
    /// METH_KEYWORDS function, which live for `'a`.
    pub(super) unsafe fn parse(
        py: Python<'py>,
        name: &str,
        leading: Option<&str>,
        args: *const *mut ffi::PyObject,
        nargs: ffi::Py_ssize_t,
        kwnames: *mut ffi::PyObject,
    ) -> PyResult<Self> {
        let count = usize::try_from(nargs).unwrap_or_default();
        // SAFETY: the caller's: so many positional arguments, then one for
        // each name.
        let (mut positional, keywords) = unsafe {
            let names = Bound::from_borrowed_ptr_or_opt(py, kwnames);
            let names = names.map(|names| names.cast_into_unchecked::<PyTuple>());
            let given = names.as_ref().map_or(0, |names| names.len());
            let all = if args.is_null() { &[] } else { std::slice::from_raw_parts(args, count + given) };
            (&all[..count], names.map(|names| (names, &all[count..])))
        };
        // SAFETY: arguments are live objects for `'a`.
        let borrowed = |object: *mut ffi::PyObject| unsafe { Borrowed::from_ptr(py, object) };
        let mut take = || {
            let (&first, rest) = positional.split_first()?;
            positional = rest;
            Some(first)
        };
        let mut lead = if leading.is_some() { take().map(borrowed) } else { None };
        let mut callback = take();
        let mut context = None;
        if let Some((names, values)) = keywords {
            for (key, &value) in names.iter_borrowed().zip(values) {
                let key = key.cast::<PyString>()?;
                if is_context(py, key)? {
                    context = Some(borrowed(value)).filter(|value| !value.is_none());
                } else if leading.is_some_and(|leading| key.to_cow().is_ok_and(|key| key == leading))
                    && lead.is_none()
                {
                    lead = Some(borrowed(value));
                } else if key.to_cow()? == "callback" && callback.is_none() {
                    callback = Some(value);
                } else {
                    return Err(PyTypeError::new_err(format!(
                        "{name}() got an unexpected or repeated keyword argument '{}'",
                        key.to_cow()?
                    )));
                }
            }
        }
        if let (Some(leading), None) = (leading, &lead) {
            return Err(PyTypeError::new_err(format!(
                "{name}() missing 1 required positional argument: '{leading}'"
            )));
        }
        let Some(callback) = callback else {
            return Err(PyTypeError::new_err(format!(
                "{name}() missing 1 required positional argument: 'callback'"
            )));
        };
        Ok(Self { leading: lead, callback, args: positional, context, held: PhantomData })
    }

    /// `when` or `delay`; of a method without one, nothing.
    pub(crate) fn leading(&self) -> Option<Borrowed<'a, 'py, PyAny>> {
        self.leading
    }

    pub(super) fn callback(&self) -> *mut ffi::PyObject {
        self.callback
    }

    /// The callback, to be looked at.
    pub(crate) fn callback_object(&self, py: Python<'py>) -> Borrowed<'a, 'py, PyAny> {
        // SAFETY: a live object for `'a`.
        unsafe { Borrowed::from_ptr(py, self.callback) }
    }

    pub(super) fn args(&self) -> &'a [*mut ffi::PyObject] {
        self.args
    }

    pub(super) fn args_tuple(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        // SAFETY: live objects for `'a`.
        let args = self.args.iter().map(|&arg| unsafe { Bound::from_borrowed_ptr(py, arg) });
        PyTuple::new(py, args.collect::<Vec<_>>())
    }

    pub(super) fn context(&self) -> Option<Borrowed<'a, 'py, PyAny>> {
        self.context
    }
}
