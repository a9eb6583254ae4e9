//! Events and timelines, and the picture drawn of them.
//!
//! A [`Timeline`] has panels (what was done), a panel has tracks (one way of
//! doing it), a track has lanes (a thread, a process, a coroutine), a lane
//! has spans (what ran there, from when to when). [`Timeline::to_svg`] draws
//! it as one self-contained picture.

mod error;
mod event;
mod scale;
mod svg;
mod text;
mod timeline;

pub use error::Error;
pub use event::{Kind, Span, instant};
pub use scale::{Scale, Tick};
pub use text::human;
pub use timeline::{Lane, Panel, PanelId, Timeline, Track, TrackId};
