//! Text in a picture: escaped, wrapped, and times as people read them.

use std::borrow::Cow;
use std::time::Duration;

/// `text` as XML content or attribute value. What XML cannot hold at all
/// (control characters, non-characters) becomes U+FFFD.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    fn plain(character: char) -> bool {
        !matches!(character, '&' | '<' | '>' | '"' | '\'' | '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}')
    }
    if text.chars().all(plain) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\t' | '\n' | '\r' => escaped.push(' '),
            other if plain(other) => escaped.push(other),
            _ => escaped.push('\u{fffd}'),
        }
    }
    Cow::Owned(escaped)
}

/// `text` in lines of at most `width` characters, broken at blanks; a longer
/// word has a line of its own.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// `text` cut to `width` characters, the cut marked.
pub(crate) fn shorten(text: &str, width: usize) -> Cow<'_, str> {
    if text.chars().count() <= width {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().take(width.saturating_sub(1)).chain(['…']).collect())
}

/// A duration to three significant digits, in the unit that suits it.
#[must_use]
pub fn human(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let (value, unit) = match seconds {
        // The borders lie where rounding reaches the next unit.
        s if s >= 0.9995 => (s, "s"),
        s if s >= 0.999_5e-3 => (s * 1e3, "ms"),
        s if s >= 0.999_5e-6 => (s * 1e6, "µs"),
        s => return format!("{:.0} ns", s * 1e9),
    };
    let decimals = match value {
        v if v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_what_xml_reserves_and_forbids() {
        assert_eq!(escape("plain Straße"), "plain Straße");
        assert_eq!(escape("<a href=\"x\">&'"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;");
        assert_eq!(escape("a\0b\nc\u{ffff}"), "a\u{fffd}b c\u{fffd}");
    }

    #[test]
    fn times_have_three_digits_and_their_unit() {
        let cases = [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (12_345, "12.3 µs"),
            (999_499, "999 µs"),
            (999_600, "1.00 ms"),
            (123_456_789, "123 ms"),
            (1_234_000_000, "1.23 s"),
            (9_999_000_000, "10.0 s"),
            (3_600_000_000_000, "3600 s"),
        ];
        for (nanos, expected) in cases {
            assert_eq!(human(Duration::from_nanos(nanos)), expected, "{nanos} ns");
        }
    }

    #[test]
    fn a_long_word_has_its_own_line() {
        assert_eq!(wrap("a bcdefgh i j", 3), ["a", "bcdefgh", "i j"]);
        assert!(wrap("  ", 3).is_empty());
    }

    #[test]
    fn a_cut_is_marked() {
        assert_eq!(shorten("abc", 3), "abc");
        assert_eq!(shorten("äbcd", 3), "äb…");
    }

    proptest! {
        #[test]
        fn nothing_reserved_survives(text in any::<String>()) {
            let escaped = escape(&text);
            prop_assert!(!escaped.contains(['<', '>', '"', '\'']));
            for (at, _) in escaped.match_indices('&') {
                let rest = &escaped[at..];
                prop_assert!(["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"].iter().any(|e| rest.starts_with(e)));
            }
            prop_assert!(escaped.chars().all(|c| c >= ' '));
        }

        #[test]
        fn wrapping_loses_no_word(text in "[a-z ]{0,80}", width in 1usize..20) {
            let lines = wrap(&text, width);
            let again: Vec<_> = lines.iter().flat_map(|line| line.split(' ')).collect();
            prop_assert_eq!(again, text.split_whitespace().collect::<Vec<_>>());
            prop_assert!(lines.iter().all(|line| line.len() <= width || !line.contains(' ')));
        }
    }
}
