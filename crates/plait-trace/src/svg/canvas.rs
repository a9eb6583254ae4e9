//! The elements that the picture is made of.

use std::fmt::Arguments;

use super::style::CSS;
use crate::Timeline;
use crate::text::escape;

/// A document under way: elements in painting order.
#[derive(Debug, Default)]
pub(super) struct Canvas {
    body: String,
}

/// A coordinate in hundredths of a pixel: no viewer shows more.
fn px(value: f64) -> f64 {
    let rounded = (value * 100.0).round() / 100.0;
    // Zero has one sign here.
    rounded + 0.0
}

/// A rectangle.
#[derive(Debug, Clone, Copy)]
pub(super) struct Area {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Canvas {
    fn put(&mut self, element: Arguments<'_>) {
        self.body.push_str(&element.to_string());
        self.body.push('\n');
    }

    pub(super) fn text(&mut self, class: &str, x: f64, y: f64, text: &str) {
        self.anchored("start", class, x, y, text);
    }

    pub(super) fn text_ending(&mut self, class: &str, x: f64, y: f64, text: &str) {
        self.anchored("end", class, x, y, text);
    }

    pub(super) fn text_centred(&mut self, class: &str, x: f64, y: f64, text: &str) {
        self.anchored("middle", class, x, y, text);
    }

    fn anchored(&mut self, anchor: &str, class: &str, x: f64, y: f64, text: &str) {
        let (x, y, text) = (px(x), px(y), escape(text));
        self.put(format_args!(
            "<text class=\"{class}\" x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{text}</text>"
        ));
    }

    pub(super) fn vertical(&mut self, x: f64, top: f64, bottom: f64) {
        let (x, top, bottom) = (px(x), px(top), px(bottom));
        self.put(format_args!("<path class=\"grid\" d=\"M{x} {top}V{bottom}\"/>"));
    }

    pub(super) fn swatch(&mut self, class: &str, x: f64, y: f64) {
        let (x, y) = (px(x), px(y));
        self.put(format_args!(
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"12\" height=\"12\" rx=\"2\"/>"
        ));
    }

    pub(super) fn bed(&mut self, area: Area) {
        let Area { x, y, width, height } = area;
        self.put(format_args!(
            "<rect class=\"bed\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"3\"/>",
            px(x),
            px(y),
            px(width),
            px(height)
        ));
    }

    /// A bar with a tooltip, its corners rounded where it is big enough.
    pub(super) fn bar(&mut self, class: &str, area: Area, tooltip: &str) {
        let Area { x, y, width, height } = area;
        let round = if width >= 6.0 && height >= 6.0 { " rx=\"2\"" } else { "" };
        self.put(format_args!(
            "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"{round}><title>{}</title></rect>",
            px(x),
            px(y),
            px(width),
            px(height),
            escape(tooltip)
        ));
    }

    /// The document.
    pub(super) fn finish(self, timeline: &Timeline, width: f64, height: f64) -> String {
        let (title, subtitle) = (escape(&timeline.title), escape(&timeline.subtitle));
        let (width, height) = (px(width), px(height));
        let body = self.body;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" role=\"img\" aria-labelledby=\"title description\">\n\
             <title id=\"title\">{title}</title>\n<desc id=\"description\">{subtitle}</desc>\n\
             <style>{CSS}</style>\n\
             <rect class=\"page\" width=\"{width}\" height=\"{height}\" rx=\"8\"/>\n\
             {body}</svg>\n"
        )
    }
}
