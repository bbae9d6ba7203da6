"""What the Hub may do wrong: nothing of it is loaded, and one sentence says what to do."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest
from small_hub import BIG, REPO, Repository, SmallHub, far, files, partials, weights

from narrator.hub import is_hub_id, local_folder, pull, resolve
from narrator.hub.cache import storage
from narrator.records import NarratorError, Variant


def refusal(variant: Variant) -> str:
    """What a refused download says; of the variant nothing is here then."""
    with pytest.raises(NarratorError) as refused:
        pull(variant)
    assert local_folder(variant) is None
    assert len(str(refused.value).splitlines()) == 1
    return str(refused.value)


def test_a_connection_that_stays_broken_is_told(small: SmallHub) -> None:
    small.repositories[REPO] = Repository(files(BIG), break_after=[2**20, *[0] * 6])
    assert "the connection broke" in refusal(far())
    assert partials()[0].stat().st_size == 2**20


LIES: dict[str, tuple[dict[str, Any], str]] = {
    "no safetensors": ({"files": {"config.json": b"{}", "pytorch_model.bin": b"x"}}, "no weights as safetensors"),
    "no config": ({"files": {"model.safetensors": weights(256)}}, "no config.json"),
    "gated": ({"gated": True}, "agreed to its terms"),
    "a listing that lies": ({"listed": {"model.safetensors": 999}, "headed": {"model.safetensors": 2000}},
                            "promised 999 bytes of model.safetensors and sends 2,000"),
    "less than promised": ({"sent": {"model.safetensors": 1000}}, "and sends 1,000"),
    "more than promised": ({"endless": {"model.safetensors"}}, "was not taken"),
    "other bytes": ({"hashes": {"model.safetensors": "0" * 64}}, "its hash is wrong"),
    "a hash that is a path": ({"hashes": {"model.safetensors": "../../../evil"}}, "is no hub"),
    "too large": ({"listed": {"model.safetensors": 10**16}}, "of free disk and there are"),
}


@pytest.mark.parametrize("name", LIES)
def test_what_cannot_be_taken_is_one_sentence_and_leaves_nothing(name: str, small: SmallHub) -> None:
    trouble, expected = LIES[name]
    small.repositories[REPO] = Repository(**{"files": files(), **trouble})
    assert expected in refusal(far())
    assert partials() == [] and not list(storage(REPO).glob("snapshots/*/*.safetensors"))
    if name in ("no safetensors", "no config", "gated", "a listing that lies", "a hash that is a path", "too large"):
        assert not [row for row in small.asked if row[0] == "GET" and "/resolve/" in row[1]]  # not one byte was fetched


def test_more_than_the_catalog_says_is_not_fetched(small: SmallHub) -> None:
    small.repositories[REPO] = Repository(files(BIG))
    said = refusal(far(parameters=1000, dtype="float16"))
    assert "holds 6 MB of weights, and the catalog says 2 kB" in said
    assert small.fetched("model.safetensors") == []


def test_unknown_names(small: SmallHub) -> None:
    small.repositories[REPO] = Repository(files())
    assert "the hub knows no owner/other" in refusal(far(source="owner/other"))
    assert "has no revision 'v9'" in refusal(far(revision="v9"))
    with pytest.raises(NarratorError, match="is not a model of the Hub"):
        pull(far(source="/etc"))
    with pytest.raises(NarratorError, match="neither a folder nor a model of the Hub"):
        resolve(far(source="https://example.com/x"))
    odd = ["/etc", "..", "../etc", "a/../b", "a/b/c", "name", "https://x.org/a", "a--b/c", ".a/b", "a/.b", "a/b c", ""]
    assert [name for name in odd if is_hub_id(name)] == [] and is_hub_id(REPO)


def test_damaged_weights_are_not_here(small: SmallHub) -> None:
    """The hash is right, yet the file is no safetensors: the repository's own fault."""
    small.repositories[REPO] = Repository({"config.json": b"{}", "model.safetensors": b"not weights at all"})
    assert "weights model.safetensors are damaged" in refusal(far())


@pytest.mark.parametrize("silent", [True, False], ids=["silent", "refused"])
def test_a_hub_that_is_not_there_is_told_within_three_seconds(small: SmallHub, silent: bool,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if silent:
            listener.listen()  # takes connections and never answers
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{listener.getsockname()[1]}")
        started = time.monotonic()
        assert "does not answer" in refusal(far())
        assert time.monotonic() - started < 3
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in refusal(far())
