"""Charts that the page draws itself: round ticks, values where they belong, words that say the same."""

import re
from pathlib import Path

import pytest

from narrator.records import Score
from narrator.ui import charts
from narrator.ui.thumbnails import thumbnail


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.31, 0.48), (2.0, 2.0), (0.0, 0.0), (-3.0, 8e3), (1e-5, 3e-5)])
def test_ticks_are_round_and_hold_the_curve(low: float, high: float) -> None:
    found = charts.ticks(low, high)
    assert 2 <= len(found) <= 7 and found == sorted(found)
    assert found[0] <= low + 1e-9 and found[-1] >= high - 1e-9


def test_numbers_and_times_are_for_people() -> None:
    shown = [charts.number(value) for value in (0, 0.4501, 8.712, 1234.5, 1e-9)]
    assert shown == ["0", "0.45", "8.71", "1,234", "1.00e-09"]
    assert [charts.duration(seconds) for seconds in (None, 0, 89, 3600, 7890)] == [
        "not known yet", "about 1 s", "about 89 s", "about 1 h 0 min", "about 2 h 12 min"]


def test_a_curve_is_drawn_where_its_points_are() -> None:
    drawn = charts.curve(charts.Curve(
        name="sure", title="Sure <or not>", points=[(0.5, 0.25), (1.0, 1.0)], xs=["0 %", "100 %"], right=1.0,
        ys=[0, 0.5, 1], axis="confidence", words="It rises.", dots=[0, 1], diagonal=True))
    assert 'd="M500.0 300.0L1000.0 0.0"' in drawn and drawn.count('class="dot"') == 2 and 'class="ideal"' in drawn
    assert "Sure &lt;or not&gt;" in drawn and 'aria-describedby="sure-words"' in drawn
    assert drawn.count('class="grid"') == 3 and '<figcaption id="sure-words">It rises.</figcaption>' in drawn


def test_bars_begin_at_zero_and_show_their_intervals() -> None:
    rows = [("one", Score(value=0.5, low=0.4, high=0.6), "0.5"), ("two", Score(value=-0.5, low=-1.0, high=0.0), "-0.5")]
    drawn = charts.bars(charts.Bars(name="b", title="B", rows=rows, words="One is ahead."))
    found = [tuple(map(float, pair)) for pair in re.findall(r'class="bar" d="M([\d.]+) 10H([\d.]+)"', drawn)]
    (zero, up), (again, down) = found
    assert zero == again and up - zero == pytest.approx(zero - down, abs=0.2) and up <= charts.WIDE
    lows = re.findall(r'class="whisker" d="M([\d.]+) 10H([\d.]+)', drawn)
    assert float(lows[1][0]) == 0.0 and float(lows[1][1]) == zero
    assert 'role="img"' in drawn and "One is ahead." in drawn


def test_bars_of_nothing_but_zeros_are_drawn() -> None:
    nothing = [("one", Score(value=0.0, low=0.0, high=0.0), "0")]
    assert 'd="M0.0 10H0.0"' in charts.bars(charts.Bars(name="b", title="B", rows=nothing, words="None."))


def test_a_picture_that_cannot_be_opened_has_no_thumbnail(root: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"not a picture")
    assert thumbnail(tmp_path / "bad.jpg", "x") == thumbnail(tmp_path / "gone.jpg", "x") == ""
    shown = thumbnail(root / "assets" / "pictures" / "cat.jpg", 'A "cat"')
    assert shown.startswith('<img src="data:image/jpeg;base64,') and 'alt="A &quot;cat&quot;"' in shown
