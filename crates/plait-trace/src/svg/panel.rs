//! One panel: its title, its tracks one below the other, their common axis.

use super::canvas::{Area, Canvas};
use super::lane;
use super::style::{ADVANCE, LANE_NAMES_END, MARGIN, PLOT_LEFT, PLOT_RIGHT, Pitch, VALUE_LEFT, WIDTH};
use crate::text::{human, shorten, wrap};
use crate::timeline::{Panel, Timeline, Track};
use crate::{Lane, Scale};

/// Room between two tracks.
const GAP: f64 = 9.0;
/// The least height of a track: its name and what it ended with.
const LEAST: f64 = 30.0;

/// Draws `panel` from `y` down; returns where it ends.
pub(super) fn draw(canvas: &mut Canvas, timeline: &Timeline, panel: &Panel, mut y: f64) -> f64 {
    y += 12.0;
    canvas.text("h2", MARGIN, y, &panel.title);
    let columns = ((WIDTH - 2.0 * MARGIN) / (12.0 * ADVANCE)) as usize;
    for (class, text) in [("quiet", &panel.note), ("advice", &panel.advice)] {
        for line in wrap(text, columns) {
            y += 17.0;
            canvas.text(class, MARGIN, y, &line);
        }
    }
    y += 12.0;
    let tracks: Vec<_> = panel.tracks.iter().filter_map(|index| timeline.tracks.get(*index)).collect();
    let Some(longest) = tracks.iter().map(|track| track.length()).max() else {
        return y;
    };
    let scale = Scale::new(longest, 8);

    let top = y;
    let heights = tracks.iter().map(|track| (*track, height(track))).collect::<Vec<_>>();
    let bottom = top + heights.iter().map(|(_, height)| height + GAP).sum::<f64>() - GAP;
    for (track, height) in &heights {
        let width = PLOT_RIGHT - PLOT_LEFT;
        canvas.bed(Area { x: PLOT_LEFT, y, width, height: *height });
        y += height + GAP;
        debug_assert!(track.lanes.len() as f64 * Pitch::of(track.lanes.len()).lane <= *height + 0.1);
    }
    for tick in scale.ticks() {
        let x = PLOT_LEFT + tick.at * (PLOT_RIGHT - PLOT_LEFT);
        canvas.vertical(x, top - 3.0, bottom + 5.0);
        canvas.text_centred("lane", x, bottom + 17.0, &tick.label);
    }
    y = top;
    for (track, height) in heights {
        draw_track(canvas, track, &scale, y, height);
        y += height + GAP;
    }
    bottom + 20.0
}

fn height(track: &Track) -> f64 {
    let lanes = track.lanes.len();
    (Pitch::of(lanes).lane * lanes as f64).max(LEAST)
}

fn draw_track(canvas: &mut Canvas, track: &Track, scale: &Scale, y: f64, height: f64) {
    let middle = y + height / 2.0;
    canvas.text("name", MARGIN, middle + 4.0, &shorten(&track.name, 30));
    canvas.text("value", VALUE_LEFT, middle - 1.0, &human(track.length()));
    canvas.text("lane", VALUE_LEFT, middle + 12.0, &shorten(&track.outcome, 18));

    let pitch = Pitch::of(track.lanes.len());
    if !pitch.named {
        canvas.text_ending("lane", LANE_NAMES_END, middle + 3.5, &count(&track.lanes));
    }
    let mut lane_y = y + (height - pitch.lane * track.lanes.len() as f64) / 2.0;
    for found in &track.lanes {
        if pitch.named {
            let baseline = lane_y + pitch.lane / 2.0 + 3.5;
            canvas.text_ending("lane", LANE_NAMES_END, baseline, &shorten(&found.name, 16));
        }
        lane::draw(canvas, track, found, scale, lane_y, pitch);
        lane_y += pitch.lane;
    }
}

/// Lanes too thin to be named one by one: "50 threads" for "thread 1" to
/// "thread 50", "50 lanes" where they have no name in common.
fn count(lanes: &[Lane]) -> String {
    fn stem(lane: &Lane) -> &str {
        lane.name.trim_end_matches(|character: char| character.is_ascii_digit() || character == ' ')
    }
    let number = lanes.len();
    match lanes.first().map(stem) {
        Some(first) if !first.is_empty() && lanes.iter().all(|lane| stem(lane) == first) => {
            let ending = if first.ends_with('s') { "es" } else { "s" };
            format!("{number} {}", shorten(&format!("{first}{ending}"), 14))
        }
        _ => format!("{number} lanes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes(names: &[&str]) -> Vec<Lane> {
        names.iter().map(|name| Lane { name: (*name).to_owned(), spans: Vec::new() }).collect()
    }

    #[test]
    fn thin_lanes_are_counted_by_their_common_name() {
        assert_eq!(count(&lanes(&["thread 1", "thread 20"])), "2 threads");
        assert_eq!(count(&lanes(&["process 1", "process 2"])), "2 processes");
        assert_eq!(count(&lanes(&["thread 1", "ticker"])), "2 lanes");
        assert_eq!(count(&lanes(&["1", "2", "3"])), "3 lanes");
    }
}
