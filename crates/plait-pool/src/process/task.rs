//! A task, from its submission to its end.

use std::sync::Arc;

use super::image::Image;
use super::packer::Parcel;
use super::terms::Terms;

pub(crate) struct Task<T> {
    /// Its number: later ones are larger.
    pub(crate) id: u64,
    pub(crate) parcel: Parcel,
    pub(crate) needs: Arc<[Arc<Image>]>,
    pub(crate) terms: Terms,
    /// How many attempts have ended.
    pub(crate) attempts: u32,
    pub(crate) ticket: T,
}
