"""What the page hands over of the Train form, and what of it is believed."""

import json

import pytest

from trainer.tab import fields, form, starting

ROWS = {"stages": 0, "data": 0, "dev": 0, "text": 0}


def test_the_page_hands_the_form_over_whole_or_is_refused() -> None:
    import gradio as gr

    made = form.Form(fresh=lambda: {"draft": starting.start_from(starting.DEFAULT), "rows": ROWS})
    made.state, made.held, made.shown = "state", "held", "shown"
    made.controls, made.picks = dict.fromkeys(("seed", "name"), None), dict.fromkeys(("stages", "data"), None)
    read = made.read({"state": made.fresh(), "held": '[7, "mine", "1", null, "0"]'})
    assert (read["draft"]["seed"], read["draft"]["name"]) == (7, "mine")
    empty = made.read({"state": None, "held": '[null, "", "", null, "0"]'})  # pressed before the form was filled
    assert empty["draft"] == starting.start_from(starting.DEFAULT)
    given = {"state": None, "held": '[7, "mine", "1", {"a": "b"}, "0"]'}
    assert (made.picked(given, "stages"), made.picked(given, "data")) == (1, 0)
    for held in (None, "", "{}", "[7]", '["a"', "[" * 100_000, '"four"', "[1, 2, 3, 4]"):
        with pytest.raises(gr.Error, match="did not come whole"):
            made.read({"state": None, "held": held})


def test_what_stood_in_the_form_before_it_was_filled_is_not_taken_for_another_row() -> None:
    """A second choice that follows before the first is answered hands over what the first had filled in."""
    draft = starting.start_from("preset:photo-captioner")
    made = form.Form(fresh=lambda: {"draft": draft, "rows": ROWS})
    made.state, made.held, made.shown = "state", "held", "shown"
    made.controls, made.picks = {"stages.name": form.control(fields.fields()["stages.name"])}, {"stages": None}
    names = [stage["name"] for stage in draft["stages"]]
    state, *_, shown = made.filled({"draft": draft, "rows": ROWS | {"stages": 1}})
    late = made.read({"state": state, "held": json.dumps([names[0], "2", "0"])})
    assert [stage["name"] for stage in late["draft"]["stages"]] == names
    typed = made.read({"state": state, "held": json.dumps(["mine", "1", shown])})
    assert [stage["name"] for stage in typed["draft"]["stages"]] == [names[0], "mine", *names[2:]]
