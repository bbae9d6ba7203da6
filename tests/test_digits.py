"""The reader of pictures that show a class: what it finds and what it refuses."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from narrator.readers.digits import read_digits
from narrator.records import NarratorError

BAD_ARRAYS: list[tuple[str, dict[str, Any], str]] = [
    ("no labels", {"images": np.zeros((2, 8, 8), np.uint8)}, "lacks 'images' or 'labels'"),
    ("colour", {"images": np.zeros((2, 8, 8, 3), np.uint8), "labels": np.zeros(2, int)}, "must be square grey"),
    ("floats", {"images": np.zeros((2, 8, 8)), "labels": np.zeros(2, int)}, "must be square grey"),
    ("none", {"images": np.zeros((0, 8, 8), np.uint8), "labels": np.zeros(0, int)}, "must be square grey"),
    ("fewer labels", {"images": np.zeros((2, 8, 8), np.uint8), "labels": np.zeros(1, int)}, "one whole number"),
    ("label 10", {"images": np.zeros((2, 8, 8), np.uint8), "labels": np.array([0, 10])}, "between 0 and 9"),
    ("pickled", {"images": np.array([{}, {}]), "labels": np.zeros(2, int)}, "cannot be read as .npz"),
]


@pytest.mark.parametrize(("arrays", "reason"), [case[1:] for case in BAD_ARRAYS], ids=[case[0] for case in BAD_ARRAYS])
def test_bad_arrays(tmp_path: Path, arrays: dict[str, Any], reason: str) -> None:
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(NarratorError, match=reason):
        read_digits(tmp_path / "bad.npz")


def test_damaged_files_and_folders_of_classes(tmp_path: Path) -> None:
    np.savez(tmp_path / "whole.npz", images=np.zeros((2, 8, 8), np.uint8), labels=np.array([3, 9]))
    assert [example.label for example in read_digits(tmp_path, "whole")] == [3, 9]
    whole = (tmp_path / "whole.npz").read_bytes()
    for content in (b"", b"PK\x03\x04", b"no archive", whole[:len(whole) // 2]):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(NarratorError, match=r"bad.npz cannot be read as .npz"):
            read_digits(tmp_path / "bad.npz")
    with pytest.raises(NarratorError, match="holds no pictures in folders named 0 to 9"):
        read_digits(tmp_path)
    for label in ("2", "7"):
        (tmp_path / "train" / label).mkdir(parents=True)
        Image.new("L", (20, 30), 80).save(tmp_path / "train" / label / "one.png")
    assert [example.label for example in read_digits(tmp_path, "train")] == [2, 7]
    (tmp_path / "train" / "7" / "two.png").write_bytes(b"\x89PNG")
    with pytest.raises(NarratorError, match=r"two.png: This PNG file is damaged"):
        read_digits(tmp_path, "train")


@pytest.mark.data
def test_the_digits_are_all_there(data_root: Path) -> None:
    train, dev = (read_digits(data_root / "digits", split) for split in ("train", "dev"))
    assert (len(train), len(dev)) == (8000, 1000)
    assert {example.label for example in dev} == set(range(10))
