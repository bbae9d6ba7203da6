"""The Models tab without a browser: what it says of each model, what may be done with it, and by whom."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from plumbing import Sayer, write_checkpoint
from small_hub import BIG, REPO, Repository, SmallHub, far, files, listed_as, use_hub

from narrator import catalog
from narrator.adding import add_repository
from narrator.engine import Engine
from narrator.hub import Downloads, local_folder
from narrator.ui import build_page, models_view
from narrator.ui import models_handlers as handlers
from narrator.ui import models_tab as tab


@pytest.fixture
def small(served: SmallHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sayer: None) -> Iterator[SmallHub]:
    """A catalog of "ours" (bundled), "mine" (trained here), "broken", and "far" of the hub; this machine alone."""
    use_hub(served, tmp_path / "cache", monkeypatch)
    served.repositories[REPO] = Repository(files())
    listed_as(far(license="mit", provenance="Made <elsewhere>."), tmp_path, monkeypatch)
    own = tmp_path / "own"
    monkeypatch.setattr(catalog, "CHECKPOINTS", own)
    for name in ("ours", "mine", "broken"):
        write_checkpoint(own, name)
    (own / "broken" / "model-00002-of-00002.safetensors").unlink()
    for name in ("NARRATOR_MANAGE", "SPACE_ID", "GRADIO_SERVER_NAME"):
        monkeypatch.delenv(name, raising=False)
    downloads = Downloads()
    monkeypatch.setattr(handlers, "shared_downloads", lambda: downloads)
    monkeypatch.setattr(tab, "shared_downloads", lambda: downloads)
    engine = Engine()
    monkeypatch.setattr(handlers, "shared_engine", lambda: engine)
    yield served
    engine.close()


def lines(source: AsyncIterator[str]) -> list[str]:
    async def collect() -> list[str]:
        return [line async for line in source]
    return asyncio.run(collect())


def place(variant_id: str) -> tuple[str, set[str]]:
    found = handlers.entry(variant_id)
    assert found is not None
    return found.place, handlers.actions(found)


def test_what_there_is_and_what_can_be_done(small: SmallHub) -> None:
    assert [one.variant.id for one in handlers.entries()] == ["ours", "broken", "mine", "far"]
    assert place("ours") == ("here", {"load"})
    assert place("mine") == ("here", {"load", "remove"})
    assert place("broken") == ("damaged", {"remove"})
    assert place("far") == ("away", {"pull"})
    assert handlers.entry("none") is None and handlers.entry(None) is None and handlers.actions(None) == set()


def test_download_load_unload_remove(small: SmallHub) -> None:
    assert "Downloading The far" in handlers.pull("far") and "already" in handlers.pull("far")
    ended = wait_for_end()
    assert "The far is here now" in ended and "done" in ended
    assert place("far") == ("here", {"load", "remove"})
    assert "is here already" in handlers.pull("far")

    busy, done = lines(handlers.load("mine"))
    assert "Loading The mine" in busy and "is loaded" in done and Sayer.alive == ["mine"]
    assert place("mine") == ("loaded", {"unload", "remove"})
    assert "is unloaded" in lines(handlers.unload("mine"))[-1] and Sayer.alive == []
    assert "was not loaded" in lines(handlers.unload("mine"))[-1]

    lines(handlers.load("mine"))
    assert "2 kB" in handlers.question("mine") and "deleted for good" in handlers.question("mine")
    assert "downloaded again" in handlers.question("far")
    for name in ("mine", "far"):
        assert "free again" in lines(handlers.remove_now(name))[-1]
    assert Sayer.alive == [] and handlers.entry("mine") is None and place("far")[0] == "away"
    assert "comes with this project" in lines(handlers.remove_now("ours"))[-1]
    assert "There is no variant" in lines(handlers.remove_now("../own/ours"))[-1]


def wait_for_end() -> str:
    """The status line once the download of "far" has ended."""
    end = time.monotonic() + 60
    while (line := handlers.ended(["far"])) is None:
        assert time.monotonic() < end
        time.sleep(0.02)
    return line


def test_an_entry_of_ones_own_leaves_the_list(small: SmallHub) -> None:
    small.repositories["someone/own"] = Repository(files())
    add_repository("someone/own")
    assert place("own") == ("away", {"pull", "remove"}) and place("far") == ("away", {"pull"})
    assert "leaves the list, too: add someone/own again" in handlers.question("own")
    assert "is removed" in lines(handlers.remove_now("own"))[-1] and handlers.entry("own") is None


def test_a_download_shows_how_far_it_is_and_can_be_cancelled(small: SmallHub) -> None:
    small.repositories[REPO] = Repository(files(BIG), pace_s=0.05)
    assert "nothing to cancel" in handlers.cancel("far")
    handlers.pull("far")
    assert place("far")[1] == {"cancel"} and "Asking the hub" in models_view.bar(handlers.entry("far"))
    end = time.monotonic() + 60
    while " of 6 MB (" not in (shown := models_view.bar(handlers.entry("far"))):
        assert time.monotonic() < end
        time.sleep(0.02)
    assert 'aria-label="Download of The far"' in shown and "Downloading" in models_view.overview(handlers.entries())
    assert "Stopping" in handlers.cancel("far")
    assert "is kept" in wait_for_end() and place("far") == ("away", {"pull", "remove"})
    assert models_view.bar(handlers.entry("far")) == ""


def test_a_failed_download_is_told(small: SmallHub) -> None:
    small.repositories[REPO].gated = True
    handlers.pull("far")
    assert "agreed to its terms" in (ended := wait_for_end()) and "Problem" in ended


@pytest.mark.parametrize("wanted", ["../etc/passwd", "owner/captioner", "http://127.0.0.1:1/x", "", None])
def test_only_names_of_the_catalog_are_taken(small: SmallHub, wanted: Any) -> None:
    for act in (handlers.pull, handlers.cancel):
        assert "There is no variant" in act(wanted)
    for slow in (handlers.load, handlers.unload, handlers.remove_now):
        assert "There is no variant" in lines(slow(wanted))[-1]
    assert small.asked == []


WHO = [({}, True), ({"NARRATOR_MANAGE": "0"}, False), ({"SPACE_ID": "a/b"}, False),
       ({"SPACE_ID": "a/b", "NARRATOR_MANAGE": "1"}, True), ({"GRADIO_SERVER_NAME": "0.0.0.0"}, False),
       ({"GRADIO_SERVER_NAME": "::1"}, True), ({"GRADIO_SERVER_NAME": "localhost"}, True),
       ({"GRADIO_SERVER_NAME": "0.0.0.0", "NARRATOR_MANAGE": "1"}, True), ({"NARRATOR_MANAGE": "perhaps"}, False)]


@pytest.mark.parametrize(("environment", "allowed"), WHO)
def test_who_may_manage(small: SmallHub, environment: dict[str, str], allowed: bool,
                        monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert handlers.may_manage() is allowed


def ids(page: Any) -> set[str]:
    return {getattr(block, "elem_id", None) or "" for block in page.blocks.values()}


def test_visitors_of_a_shared_page_manage_nothing(small: SmallHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by a button nor, as every event can be called from outside, past it."""
    managing = {"models-pull", "models-cancel", "models-unload", "models-remove", "models-yes"}
    assert managing <= ids(build_page())
    monkeypatch.setenv("SPACE_ID", "somebody/space")
    page = build_page()
    assert not managing & ids(page) and {"models-load", "models-choice"} <= ids(page)
    assert any("cannot be downloaded, unloaded or removed here" in str(getattr(block, "value", ""))
               for block in page.blocks.values())
    lines(handlers.load("mine"))
    for said in (handlers.pull("far"), handlers.cancel("far"), lines(handlers.unload("mine"))[-1],
                 lines(handlers.remove_now("mine"))[-1]):
        assert "cannot be downloaded, unloaded or removed here" in said
    assert handlers.shared_engine().loaded() == ["mine"] and small.asked == [] and local_folder(far()) is None


def test_everything_that_is_written_is_escaped_and_named(small: SmallHub, tmp_path: Path) -> None:
    found = handlers.entry("far")
    html = models_view.details(found)
    assert "Made &lt;elsewhere&gt;." in html and "mit" in html and "owner/captioner" in html
    write_checkpoint(tmp_path / "own", "evil", title="<img src=x>", license="<b>free")
    both = models_view.details(handlers.entry("evil")) + models_view.overview(handlers.entries())
    assert "<img" not in both and "<b>" not in both and "&lt;img src=x&gt;" in both
    assert "no model with this name" in models_view.details(None)


def test_it_says_who_takes_several_pictures(small: SmallHub, tmp_path: Path) -> None:
    inputs = {"image": True, "text": True}
    write_checkpoint(tmp_path / "own", "one", inputs=inputs)
    write_checkpoint(tmp_path / "own", "many", inputs=inputs, several=True)
    for name, takes in (("one", "Picture and text"), ("many", "Pictures and text")):
        assert f"<dd>{takes}</dd>" in models_view.details(handlers.entry(name))


def test_scores_are_shown_where_they_were_measured(small: SmallHub, tmp_path: Path) -> None:
    metrics = tmp_path / "own" / "mine" / "metrics.json"
    assert "Measured on" not in models_view.details(handlers.entry("mine"))
    score = {"value": 0.5286, "low": 0.4964, "high": 0.565}
    scores = dict.fromkeys(("cider_d", "top_5", "majority_colour", "top_"), score)
    metrics.write_text(json.dumps({"scores": {"birds.jsonl": scores, "none": {}}}))
    html = models_view.details(handlers.entry("mine"))
    assert "Measured on birds.jsonl" in html and "CIDEr-D" in html and "Top-5 accuracy" in html
    assert "Commonest answer, colour" in html and ">Top <" in html
    assert "0.529" in html and "0.496 to 0.565" in html and "none" not in html
    for damaged in ("{", "[]", '{"scores": {"x": {"y": 5}}}', '{"scores": 5}'):
        metrics.write_text(damaged)
        assert "Measured on" not in models_view.details(handlers.entry("mine"))


def test_memory_is_told_before_anything_is_loaded_or_fetched(small: SmallHub) -> None:
    found = handlers.entry("mine")
    assert found is not None and found.memory == (2000, 4800) and models_view.memory(found) == "2 to 5 kB"
    gpt2 = far(parameters=124_439_808, dtype="float32")
    entry = handlers._entry(gpt2, [], [])
    assert models_view.memory(entry) == "498 to 597 MB"
    assert models_view.parameters(gpt2.parameters) == "124.4 M" and models_view.parameters(3_085_938_688) == "3.1 B"
    unknown = handlers.entry("far")
    assert unknown is not None and models_view.memory(unknown) == "unknown"


def test_scores_of_a_card_are_told_as_claims(small: SmallHub) -> None:
    card = ("---\nmodel-index:\n- results:\n  - dataset: {name: <b>birds}\n    metrics:\n"
            "    - {type: cider_d, value: 1.25}\n    - {type: wer, value: low}\n---\n# Far\n")
    small.repositories[REPO].files["README.md"] = card.encode()
    assert "By its card" not in models_view.details(handlers.entry("far"))
    handlers.pull("far")
    wait_for_end()
    html = models_view.details(handlers.entry("far"))
    assert "By its card, on &lt;b&gt;birds" in html and "1.250" in html and "interval" not in html and "low" not in html
