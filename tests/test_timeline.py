import math
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait._binding import native

SVG = "{http://www.w3.org/2000/svg}"
KINDS = ["serial", "thread", "process", "loop", "waiting", "stalled"]
#: Lone surrogates are no text, and cannot be encoded.
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
TIMES = st.floats(0, 1e9)


def drawn(timeline):
    return ElementTree.fromstring(timeline.svg())


def titles(root):
    return [found.text for found in root.iter(f"{SVG}title")]


def one_span(label="label", kind="thread", start=0.25, end=0.5):
    timeline = native.Timeline("title")
    track = timeline.track(timeline.panel("panel"), "track", 0.0, 1.0)
    timeline.span(track, "lane", label, kind, start, end)
    return timeline


def test_an_empty_timeline_is_a_picture():
    root = drawn(native.Timeline("Nothing <yet>", "& so on"))
    assert root.tag == f"{SVG}svg"
    assert titles(root) == ["Nothing <yet>"]
    assert "Nothing was recorded." in [found.text for found in root.iter(f"{SVG}text")]


@given(TEXT, TEXT, TEXT, TEXT)
def test_any_text_gives_well_formed_xml(title, lane, label, outcome):
    timeline = native.Timeline(title, label)
    track = timeline.track(timeline.panel(lane, label, outcome), label, 0.0, 1.0, outcome)
    timeline.span(track, lane, label, "loop", 0.0, 1.0)
    drawn(timeline)


@given(st.lists(st.tuples(st.sampled_from(KINDS), TIMES, TIMES), max_size=60), st.integers(1, 30))
def test_any_times_give_bars_within_the_picture(spans, lanes):
    timeline = native.Timeline("title")
    track = timeline.track(timeline.panel("panel"), "track", 0.0, 0.0)
    for number, (kind, *times) in enumerate(spans):
        timeline.span(track, f"lane {number % lanes}", "label", kind, *sorted(times))
    root = drawn(timeline)
    width, height = float(root.get("width")), float(root.get("height"))
    bars = [found for found in root.iter(f"{SVG}rect") if found.find(f"{SVG}title") is not None]
    assert bool(bars) == bool(spans)
    for bar in bars:
        x, y, w, h = (float(bar.get(name)) for name in ("x", "y", "width", "height"))
        assert all(map(math.isfinite, (x, y, w, h)))
        assert 0 <= x <= x + w <= width
        assert 0 <= y <= y + h <= height


def test_a_bar_tells_what_it_is():
    assert "a & b, lane: 250 ms, from 250 ms to 500 ms" in titles(drawn(one_span("a & b")))


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_its_colour(kind):
    text = one_span(kind=kind).svg()
    assert f'<rect class="{kind}"' in text
    assert f"\n.{kind}{{fill:#" in text


def test_the_picture_is_self_contained():
    text = one_span().svg()
    for forbidden in ("<script", "href", "url(", "@import", "<image", "<foreignObject"):
        assert forbidden not in text
    # The namespace is the one address in it.
    assert text.count("http") == 1
    assert "prefers-color-scheme:dark" in text


def test_a_million_dots_are_no_million_bars():
    timeline = native.Timeline("title")
    track = timeline.track(timeline.panel("panel"), "track", 0.0, 1.0)
    for number in range(20_000):
        timeline.span(track, "lane", "dot", "loop", number / 20_000, (number + 0.5) / 20_000)
    assert len(timeline.svg()) < 200_000


def test_unknown_places_are_index_errors():
    timeline = native.Timeline("title")
    with pytest.raises(IndexError, match="no panel 0"):
        timeline.track(0, "track", 0.0, 1.0)
    with pytest.raises(IndexError, match="no track 7"):
        timeline.span(7, "lane", "label", "loop", 0.0, 1.0)


@pytest.mark.parametrize("time", [math.nan, math.inf, -1.0])
def test_what_is_no_time_is_a_value_error(time):
    with pytest.raises(ValueError, match="not a time in seconds"):
        one_span(start=time)


def test_what_runs_backwards_is_a_value_error():
    with pytest.raises(ValueError, match='"label" ends before it starts'):
        one_span(start=2.0, end=1.0)


def test_an_unknown_kind_is_a_value_error():
    with pytest.raises(ValueError, match='"green" is not a kind of span'):
        one_span(kind="green")
