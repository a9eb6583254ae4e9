//! Measures, and colours for light and dark viewers.

use crate::Kind;

pub(super) const WIDTH: f64 = 1000.0;
pub(super) const MARGIN: f64 = 28.0;
/// Lane names end here, next to the plot.
pub(super) const LANE_NAMES_END: f64 = 292.0;
pub(super) const PLOT_LEFT: f64 = 300.0;
pub(super) const PLOT_RIGHT: f64 = 872.0;
/// The wall time of a track, right of the plot.
pub(super) const VALUE_LEFT: f64 = 884.0;

/// Average advance of a character as a fraction of the font size: good
/// enough to wrap and to see whether a label fits, in any sans-serif.
pub(super) const ADVANCE: f64 = 0.56;

/// Colours are classes, written out twice: some renderers know neither
/// custom properties nor `prefers-color-scheme`, and those get the light
/// ones. Hues are from Okabe and Ito's palette (Color Universal Design,
/// 2008), which stays apart for colour-blind readers.
pub(super) const CSS: &str = "
text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;fill:#1f2328}
.page{fill:#fff}
.h1{font-size:22px;font-weight:700}
.h2{font-size:15px;font-weight:600}
.name{font-size:12.5px}
.value{font-size:12.5px;font-weight:600}
.quiet{font-size:12px;fill:#59636e}
.advice{font-size:12px}
.lane{font-size:10px;fill:#59636e}
.in{font-size:10px;fill:#fff}
.on{font-size:10px}
.grid{stroke:#d1d9e0;stroke-width:1}
.bed{fill:#f3f5f7}
.serial{fill:#7d8590}
.thread{fill:#0072b2}
.process{fill:#d07d00}
.loop{fill:#008f68}
.waiting{fill:#c3ccd6}
.stalled{fill:#c8321e}
@media (prefers-color-scheme:dark){
text{fill:#e6edf3}
.page{fill:#0d1117}
.quiet,.lane{fill:#9198a1}
.in{fill:#0d1117}
.grid{stroke:#30363d}
.bed{fill:#161b22}
.serial{fill:#8b949e}
.thread{fill:#56b4e9}
.process{fill:#e69f00}
.loop{fill:#2fc997}
.waiting{fill:#4a525c}
.stalled{fill:#ff7b66}
}
";

/// The class of a span's bar.
pub(super) const fn class(kind: Kind) -> &'static str {
    kind.word()
}

/// Height from lane to lane, the bar's share of it, and whether there is
/// room for the lanes' names: many lanes are thin, and a track is never
/// taller than 110 pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pitch {
    pub(super) lane: f64,
    pub(super) bar: f64,
    pub(super) named: bool,
}

impl Pitch {
    pub(super) fn of(lanes: usize) -> Self {
        match lanes {
            0..=6 => Self { lane: 18.0, bar: 15.0, named: true },
            7..=12 => Self { lane: 7.0, bar: 5.5, named: false },
            _ => {
                let lane = (64.0 / lanes as f64).min(4.0);
                Self { lane, bar: lane * 0.78, named: false }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_track_is_never_very_tall() {
        for lanes in 0..10_000 {
            let pitch = Pitch::of(lanes);
            assert!(pitch.lane * lanes as f64 <= 110.0, "{lanes} lanes");
            assert!(pitch.bar > 0.0 && pitch.bar < pitch.lane);
        }
    }

    #[test]
    fn every_kind_has_both_its_colours() {
        for kind in Kind::ALL {
            assert_eq!(CSS.matches(&format!("\n.{}{{", class(kind))).count(), 2, "{kind:?}");
        }
    }
}
