//! What can be wrong with an event.

/// An event that cannot be put on a timeline.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// Not a point on the monotonic clock, nor a stretch of it.
    #[error("{0} is not a time in seconds")]
    NotATime(f64),
    /// A span that ends before it starts.
    #[error("{what:?} ends before it starts (start {start} s, end {end} s)")]
    Backwards {
        /// Its label.
        what: String,
        /// Seconds.
        start: f64,
        /// Seconds.
        end: f64,
    },
    /// A word that names no kind of span.
    #[error("{0:?} is not a kind of span: serial, thread, process, loop, waiting or stalled")]
    UnknownKind(String),
    /// A panel that was never added to this timeline.
    #[error("the timeline has no panel {0}")]
    NoSuchPanel(usize),
    /// A track that was never added to this timeline.
    #[error("the timeline has no track {0}")]
    NoSuchTrack(usize),
}
