//! What ran where and when.

use std::time::Duration;

use plait_sys::clock::Instant;

use crate::{Error, Span};

/// A panel of one timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PanelId(pub usize);

/// A track of one timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TrackId(pub usize);

/// What ran in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    pub(crate) name: String,
    pub(crate) spans: Vec<Span>,
}

/// One run: a stretch of time and the lanes in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    pub(crate) name: String,
    pub(crate) outcome: String,
    pub(crate) start: Instant,
    pub(crate) end: Instant,
    pub(crate) lanes: Vec<Lane>,
}

impl Track {
    /// A run from `start` to `end`; `outcome` is a few words about how it ended.
    ///
    /// # Errors
    /// [`Error::Backwards`] if `end` is before `start`.
    pub fn new(
        name: impl Into<String>,
        outcome: impl Into<String>,
        start: Instant,
        end: Instant,
    ) -> Result<Self, Error> {
        // A track is checked as the span that it is.
        let Span { label: name, start, end, .. } = Span::new(name, crate::Kind::Serial, start, end)?;
        Ok(Self { name, outcome: outcome.into(), start, end, lanes: Vec::new() })
    }

    /// Adds a span; the lane is made at its first use. The track grows to
    /// hold a span that leaves it.
    pub fn add(&mut self, lane: &str, span: Span) {
        self.start = self.start.min(span.start);
        self.end = self.end.max(span.end);
        // Spans mostly come lane by lane: the last one is tried first.
        let found = self.lanes.iter().rposition(|known| known.name == lane);
        let index = found.unwrap_or_else(|| {
            self.lanes.push(Lane { name: lane.to_owned(), spans: Vec::new() });
            self.lanes.len() - 1
        });
        self.lanes[index].spans.push(span);
    }

    pub(crate) fn length(&self) -> Duration {
        self.end.saturating_since(self.start)
    }
}

/// Runs that are compared with each other: they share one time axis, on
/// which each begins at zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panel {
    pub(crate) title: String,
    pub(crate) note: String,
    pub(crate) advice: String,
    pub(crate) tracks: Vec<usize>,
}

/// Panels of tracks of lanes of spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    pub(crate) title: String,
    pub(crate) subtitle: String,
    pub(crate) panels: Vec<Panel>,
    pub(crate) tracks: Vec<Track>,
}

impl Timeline {
    /// An empty timeline.
    pub fn new(title: impl Into<String>, subtitle: impl Into<String>) -> Self {
        Self { title: title.into(), subtitle: subtitle.into(), panels: Vec::new(), tracks: Vec::new() }
    }

    /// Adds a panel; below its title come a `note` on what is shown and the
    /// `advice` drawn from it, which stands out.
    pub fn add_panel(
        &mut self,
        title: impl Into<String>,
        note: impl Into<String>,
        advice: impl Into<String>,
    ) -> PanelId {
        let (title, note, advice) = (title.into(), note.into(), advice.into());
        self.panels.push(Panel { title, note, advice, tracks: Vec::new() });
        PanelId(self.panels.len() - 1)
    }

    /// Adds a track to a panel.
    ///
    /// # Errors
    /// [`Error::NoSuchPanel`].
    pub fn add_track(&mut self, panel: PanelId, track: Track) -> Result<TrackId, Error> {
        let index = self.tracks.len();
        self.panels.get_mut(panel.0).ok_or(Error::NoSuchPanel(panel.0))?.tracks.push(index);
        self.tracks.push(track);
        Ok(TrackId(index))
    }

    /// Adds a span to a lane of a track.
    ///
    /// # Errors
    /// [`Error::NoSuchTrack`].
    pub fn add_span(&mut self, track: TrackId, lane: &str, span: Span) -> Result<(), Error> {
        self.tracks.get_mut(track.0).ok_or(Error::NoSuchTrack(track.0))?.add(lane, span);
        Ok(())
    }

    /// Draws the timeline as one self-contained SVG document.
    #[must_use]
    pub fn to_svg(&self) -> String {
        crate::svg::draw(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    fn span(start: u64, end: u64) -> Span {
        Span::new("x", Kind::Thread, Instant::from_nanos(start), Instant::from_nanos(end)).unwrap()
    }

    #[test]
    fn a_track_grows_to_hold_its_spans() {
        let mut track = Track::new("t", "", Instant::from_nanos(10), Instant::from_nanos(20)).unwrap();
        track.add("a", span(12, 15));
        assert_eq!(track.length(), Duration::from_nanos(10));
        track.add("b", span(5, 25));
        assert_eq!(track.length(), Duration::from_nanos(20));
    }

    #[test]
    fn a_lane_is_made_once_and_in_order() {
        let mut track = Track::new("t", "", Instant::from_nanos(0), Instant::from_nanos(9)).unwrap();
        for lane in ["a", "b", "a"] {
            track.add(lane, span(1, 2));
        }
        let lanes: Vec<_> = track.lanes.iter().map(|lane| (lane.name.as_str(), lane.spans.len())).collect();
        assert_eq!(lanes, [("a", 2), ("b", 1)]);
    }

    #[test]
    fn unknown_places_are_errors_and_add_nothing() {
        let mut timeline = Timeline::new("", "");
        let track = Track::new("t", "", Instant::from_nanos(0), Instant::from_nanos(9)).unwrap();
        assert_eq!(timeline.add_track(PanelId(0), track), Err(Error::NoSuchPanel(0)));
        assert_eq!(timeline.add_span(TrackId(3), "a", span(1, 2)), Err(Error::NoSuchTrack(3)));
        assert_eq!(timeline, Timeline::new("", ""));
    }

    #[test]
    fn a_track_does_not_run_backwards() {
        let made = Track::new("t", "", Instant::from_nanos(2), Instant::from_nanos(1));
        assert!(matches!(made, Err(Error::Backwards { .. })));
    }
}
