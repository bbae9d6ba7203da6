"""Data sets of the Hub: streamed from a small one on 127.0.0.1 through the real library, and kept."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_data_hub import SmallDataHub, parquet, picture_bytes, use_data_hub
from small_hub import Repository

from narrator.readers.gathering import read_examples
from narrator.records import NarratorError
from trainer import hub_data
from trainer.config import Data
from trainer.data import located

SET = "owner/pictures"


@pytest.fixture(scope="module")
def small() -> Iterator[SmallDataHub]:
    running = SmallDataHub()
    with running:
        yield running


@pytest.fixture(autouse=True)
def hub(small: SmallDataHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallDataHub:
    use_data_hub(small, tmp_path / "cache", monkeypatch)
    return small


def rows(count: int, first: int = 0, **more: Any) -> list[dict[str, Any]]:
    return [{"image": {"bytes": picture_bytes(number), "path": None}, "captions": [f"one of {number}", "two"], **more}
            for number in range(first, first + count)]


def fetched(path: str = f"hub:{SET}", **changes: Any) -> tuple[list[Any], list[str]]:
    """(examples, what was reported)."""
    told: list[str] = []
    source = Data(path=path, **changes)
    place = located(source, Path("unused"), told.append)
    return read_examples(place, split=source.split, report=told.append, look=True), told


def serve(small: SmallDataHub, **files: bytes) -> None:
    small.repositories[SET] = Repository(files={name.replace("__", "/") + ".parquet": content
                                                for name, content in files.items()})


def test_rows_are_streamed_kept_and_read_again_without_a_network(hub: SmallDataHub, monkeypatch: pytest.MonkeyPatch
                                                                 ) -> None:
    serve(hub, data__train=parquet(rows(12)), data__validation=parquet(rows(3, 100)))
    examples, told = fetched(split="train", limit=5)
    assert [example.texts for example in examples] == [(f"one of {number}", "two") for number in range(5)]
    assert [example.image.suffix for example in examples] == [".jpeg"] * 5
    assert examples[3].image.read_bytes() == picture_bytes(3) and any("5 rows, 0 left out" in line for line in told)
    asked = len(hub.asked)
    assert len(fetched(split="train", limit=3)[0]) == 5  # the caller cuts
    assert len(hub.asked) == asked
    assert len(fetched(split="train", limit=100)[0]) == 12 and len(hub.asked) > asked
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert len(fetched(split="train", limit=1000)[0]) == 12  # that is all that there is
    with pytest.raises(NarratorError, match="HF_HUB_OFFLINE is set"):
        fetched(split="validation")


def test_columns_and_splits_are_found_or_named(hub: SmallDataHub) -> None:
    two = [{"photo": {"bytes": picture_bytes(1), "path": None}, "mask": {"bytes": picture_bytes(2), "path": None},
            "caption": "one", "title": "other"}]
    serve(hub, data__test=parquet(two, ("photo", "mask")))
    with pytest.raises(NarratorError, match=r"several columns of pictures: photo, mask\. Name one as 'image_column'"):
        fetched()
    assert fetched(image_column="photo")[0][0].texts == ("one",)  # the only split, the likeliest column
    assert fetched(image_column="mask", text_column="title")[0][0].texts == ("other",)
    with pytest.raises(NarratorError, match=r"no column 'words' of captions; it has caption, title"):
        fetched(image_column="photo", text_column="words")
    with pytest.raises(NarratorError, match="has no split 'train'; it has test"):
        fetched(split="train", image_column="photo")


def test_captions_without_pictures_and_files_beside(hub: SmallDataHub) -> None:
    lines = b'{"text": "one", "n": 1}\n{"text": "two", "n": 2}\n'
    hub.repositories[SET] = Repository(files={"data/train.jsonl": lines})
    assert [(example.image, example.texts) for example in fetched()[0]] == [(None, ("one",)), (None, ("two",))]
    hub.repositories["owner/folder"] = Repository(files={
        "train/a.jpg": picture_bytes(7), "train/b.jpg": picture_bytes(8),
        "train/metadata.jsonl": b'{"file_name": "a.jpg", "text": "one"}\n{"file_name": "b.jpg", "text": "two"}\n'})
    examples, _ = fetched("hub:owner/folder")
    assert [(example.image.read_bytes(), example.texts) for example in examples] == [
        (picture_bytes(7), ("one",)), (picture_bytes(8), ("two",))]


def test_pictures_that_cannot_be_used_are_left_out(hub: SmallDataHub) -> None:
    bad = [{"image": {"bytes": b"%PDF-1.4", "path": None}, "captions": ["x"]},
           {"image": {"bytes": None, "path": "http://127.0.0.1:1/a.jpg"}, "captions": ["y"]}]
    serve(hub, data__train=parquet([*bad, *rows(1)]))
    examples, told = fetched()
    assert len(examples) == 1
    assert "row 1: This file is not a picture (it starts with %PDF)" in told[0] and "addresses elsewhere" in told[1]
    hub.repositories["owner/bad"] = Repository(files={"data/train.parquet": parquet(bad)})
    with pytest.raises(NarratorError, match=r"No row of owner/bad can be used \(2 have no readable picture\)"):
        fetched("hub:owner/bad")


REFUSED = [("hub:pictures", "names no data set"), ("hub:../x/y", "names no data set"), ("hub:a/b/c/d", "names no data"),
           ("hub:owner/none", "knows no data set"), ("hub:owner/gated", "agreed to its terms"),
           ("hub:owner/script", "cannot be read"), ("hub:owner/numbers", "no column of texts"),
           ("hub:owner/nothing", "cannot be read")]


@pytest.mark.parametrize(("path", "words"), REFUSED)
def test_what_cannot_be_had_is_told_in_a_sentence(hub: SmallDataHub, tmp_path: Path, path: str, words: str) -> None:
    hub.repositories["owner/gated"] = Repository(files={"train.parquet": b""}, gated=True)
    hub.repositories["owner/script"] = Repository(files={"script.py": b"raise SystemExit('never run')"})
    hub.repositories["owner/numbers"] = Repository(files={"train.csv": b"a,b\n1,2\n"})
    hub.repositories["owner/nothing"] = Repository(files={"README.md": b"# Empty\n"})
    with pytest.raises(NarratorError, match=words) as raised:
        fetched(path)
    assert "\n" not in str(raised.value)
    assert not list((tmp_path / "cache" / "narrator").glob("*/*.part"))


def test_an_unreachable_hub_is_told_within_three_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets  # noqa: F401  (its import is not what is timed)

    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    began = time.monotonic()
    with pytest.raises(NarratorError, match="does not answer"):
        fetched()
    assert time.monotonic() - began < 3


def test_a_stream_can_be_ended_and_leaves_nothing(hub: SmallDataHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                  ) -> None:
    serve(hub, data__train=parquet(rows(12)))
    monkeypatch.setattr(hub_data, "TELL_S", 0.0)

    def stop(message: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        located(Data(path=f"hub:{SET}"), tmp_path, stop)
    left = [path.name for path in (tmp_path / "cache" / "narrator").rglob("*") if path.is_file()]
    assert all(name.endswith(".lock") for name in left), left
    kept = fetched()[0][0].image.parent.parent / "kept.json"
    assert json.loads(kept.read_text())["rows"] == 12
