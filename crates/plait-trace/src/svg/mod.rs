//! A timeline as one self-contained SVG document: no script, no font, no
//! image from elsewhere.

mod canvas;
mod lane;
mod panel;
mod style;

use canvas::Canvas;
use style::{ADVANCE, MARGIN, WIDTH};

use crate::timeline::Timeline;
use crate::{Kind, text};

/// Draws `timeline`.
pub(crate) fn draw(timeline: &Timeline) -> String {
    let mut canvas = Canvas::default();
    let mut y = header(&mut canvas, timeline);
    for panel in &timeline.panels {
        y = panel::draw(&mut canvas, timeline, panel, y + 30.0);
    }
    canvas.finish(timeline, WIDTH, y + MARGIN)
}

/// Title, subtitle and legend; returns where they end.
fn header(canvas: &mut Canvas, timeline: &Timeline) -> f64 {
    let mut y = MARGIN + 18.0;
    canvas.text("h1", MARGIN, y, &timeline.title);
    let columns = ((WIDTH - 2.0 * MARGIN) / (12.0 * ADVANCE)) as usize;
    for line in text::wrap(&timeline.subtitle, columns) {
        y += 19.0;
        canvas.text("quiet", MARGIN, y, &line);
    }
    let spans = || timeline.tracks.iter().flat_map(|track| &track.lanes).flat_map(|lane| &lane.spans);
    if spans().next().is_none() {
        canvas.text("quiet", MARGIN, y + 24.0, "Nothing was recorded.");
        return y + 24.0;
    }
    y += 26.0;
    let mut x = MARGIN;
    for kind in Kind::ALL.into_iter().filter(|kind| spans().any(|span| span.kind == *kind)) {
        canvas.swatch(style::class(kind), x, y - 10.0);
        canvas.text("quiet", x + 18.0, y, kind.legend());
        x += 18.0 + 12.0 * ADVANCE * kind.legend().len() as f64 + 22.0;
    }
    y
}

#[cfg(test)]
mod tests {
    use plait_sys::clock::Instant;

    use crate::{Kind, PanelId, Span, Timeline, Track};

    fn span(label: &str, kind: Kind, start: u64, end: u64) -> Span {
        Span::new(label, kind, Instant::from_nanos(start), Instant::from_nanos(end)).unwrap()
    }

    fn one_track(spans: &[(&str, Span)]) -> Timeline {
        let mut timeline = Timeline::new("title", "subtitle");
        let panel: PanelId = timeline.add_panel("panel", "note", "advice");
        let (from, to) = (Instant::from_nanos(0), Instant::from_nanos(1000));
        let track = timeline.add_track(panel, Track::new("track", "fine", from, to).unwrap()).unwrap();
        for (lane, span) in spans {
            timeline.add_span(track, lane, span.clone()).unwrap();
        }
        timeline
    }

    #[test]
    fn nothing_is_drawn_as_nothing() {
        let svg = Timeline::new("a < b", "").to_svg();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("a &lt; b") && svg.contains("Nothing was recorded."));
    }

    #[test]
    fn a_panel_and_a_track_may_be_empty() {
        let mut timeline = one_track(&[]);
        timeline.add_panel("bare", "", "");
        assert!(timeline.to_svg().contains("bare"));
    }

    #[test]
    fn the_legend_has_what_is_there_and_no_more() {
        let svg = one_track(&[("a", span("x", Kind::Process, 0, 10))]).to_svg();
        assert!(svg.contains("in processes") && !svg.contains("in threads"));
    }

    #[test]
    fn a_bar_says_what_it_was_and_when() {
        let svg = one_track(&[("thread 1", span("page <1>", Kind::Thread, 100, 600))]).to_svg();
        assert!(
            svg.contains("<title>page &lt;1&gt;, thread 1: 500 ns, from 100 ns to 600 ns</title>"),
            "{svg}"
        );
    }

    #[test]
    fn dust_is_drawn_as_one_bar() {
        let dust: Vec<_> = (0..1000).map(|n| ("a", span(&format!("x{n}"), Kind::Serial, n, n + 1))).collect();
        let svg = one_track(&dust).to_svg();
        let bars = svg.matches("<rect class=\"serial\"").count();
        assert!(bars < 600, "{bars} bars for 572 pixels");
        assert!(svg.contains("<title>x0 to x3 (4), a: 4 ns, from 0 ns to 4 ns</title>"), "{svg}");
    }

    #[test]
    fn the_end_of_time_fits() {
        let svg = one_track(&[("a", span("x", Kind::Loop, 0, u64::MAX))]).to_svg();
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }
}
