//! One lane: its spans as bars.

use std::time::Duration;

use super::canvas::{Area, Canvas};
use super::style::{ADVANCE, PLOT_LEFT, PLOT_RIGHT, Pitch, class};
use crate::text::human;
use crate::timeline::Track;
use crate::{Kind, Lane, Scale, Span};

/// Narrower than this, neighbours are drawn as one bar.
const DUST: f64 = 1.0;
/// No bar is narrower than this, or it could not be seen.
const LEAST: f64 = 0.6;

/// Spans of one kind that are drawn as one bar.
struct Bar<'a> {
    first: &'a Span,
    last: &'a Span,
    count: usize,
    /// When the latest of them ended, from the beginning of the track.
    end: Duration,
    left: f64,
    right: f64,
}

impl Bar<'_> {
    fn kind(&self) -> Kind {
        self.first.kind
    }

    /// "x" for one span, "x to y (17)" for dust.
    fn label(&self) -> String {
        match self.count {
            1 => self.first.label.clone(),
            count => format!("{} to {} ({count})", self.first.label, self.last.label),
        }
    }
}

/// Draws the spans of `lane` from `y` down.
pub(super) fn draw(canvas: &mut Canvas, track: &Track, lane: &Lane, scale: &Scale, y: f64, pitch: Pitch) {
    for bar in bars(track, lane, scale) {
        let (from, to) = (since(track, bar.first).0, bar.end);
        let length = human(to.saturating_sub(from));
        let tooltip =
            format!("{}, {}: {length}, from {} to {}", bar.label(), lane.name, human(from), human(to));
        let gap = (pitch.lane - pitch.bar) / 2.0;
        // A hairline between neighbours, where it leaves something of them.
        let seam = if bar.right - bar.left > 3.0 { 0.8 } else { 0.0 };
        let width = (bar.right - bar.left - seam).max(LEAST);
        canvas.bar(class(bar.kind()), Area { x: bar.left, y: y + gap, width, height: pitch.bar }, &tooltip);
        let text = &bar.first.label;
        if pitch.named && bar.count == 1 && text.chars().count() as f64 * 10.0 * ADVANCE + 8.0 < width {
            // The bars of what waits are pale: the text's own colour is read there.
            let on = if bar.kind() == Kind::Waiting { "on" } else { "in" };
            canvas.text_centred(on, bar.left + width / 2.0, y + pitch.lane / 2.0 + 3.5, text);
        }
    }
}

/// When a span began and ended, from the beginning of its track.
fn since(track: &Track, span: &Span) -> (Duration, Duration) {
    (span.start.saturating_since(track.start), span.end.saturating_since(track.start))
}

fn bars<'a>(track: &Track, lane: &'a Lane, scale: &Scale) -> Vec<Bar<'a>> {
    let x = |time| PLOT_LEFT + scale.fraction(time) * (PLOT_RIGHT - PLOT_LEFT);
    let mut spans: Vec<_> = lane.spans.iter().collect();
    spans.sort_by_key(|span| (span.start, span.end));
    let mut bars: Vec<Bar<'_>> = Vec::new();
    for span in spans {
        let (start, end) = since(track, span);
        let (left, right) = (x(start), x(end));
        match bars.last_mut() {
            Some(bar)
                if bar.kind() == span.kind
                    && left - bar.right < DUST / 2.0
                    && right - left < DUST
                    && bar.right - bar.left < 2.0 * DUST =>
            {
                bar.count += 1;
                bar.last = span;
                bar.end = bar.end.max(end);
                bar.right = bar.right.max(right);
            }
            _ => bars.push(Bar { first: span, last: span, count: 1, end, left, right }),
        }
    }
    bars
}
