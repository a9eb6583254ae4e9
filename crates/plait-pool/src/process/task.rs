//! A task, from its submission to its end.

use std::sync::Arc;

use super::terms::Terms;
use super::wire::Image;

pub(crate) struct Task<T> {
    /// Its number: later ones are larger.
    pub(crate) id: u64,
    pub(crate) message: Vec<u8>,
    pub(crate) needs: Arc<[Arc<Image>]>,
    pub(crate) terms: Terms,
    /// How many attempts have ended.
    pub(crate) attempts: u32,
    pub(crate) ticket: T,
}
