"""The gallery: what is in it, what cannot get into it, and that a long one is never held."""

import dataclasses
import gc
import re
import weakref
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from batching import save_pictures
from PIL import Image

from narrator.batch import BatchPlan, Row
from narrator.batch.gallery import PAGE, files_folder, write

EVIL = '"><script>alert(1)</script>\u202e{title}\n\ud800'


def row(position: int, file: Path, **more: object) -> Row:
    values = {"position": position, "path": f"trip/{position:05d}.png", "file": str(file), "sha256": f"{position:064x}",
              "width": 64, "height": 48, "variant": "v", "text": "The image shows a dog.", "alt": "A dog.",
              "long": "A dog on grass.", "confidence": 0.5, **more}
    return Row(**values)  # type: ignore[arg-type]


class Seen(HTMLParser):
    """Tags with their attributes, in order, and the words."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pictures(tmp_path_factory.mktemp("pictures"), [200])[0]


def made(folder: Path, rows: list[Row]) -> tuple[Path, Seen]:
    out = folder / "all of #1 & more.html"
    write(rows, out, BatchPlan(variant="photo <b>captioner</b>", sources=("x",), out=out, format="html"))
    return out, Seen(out.read_text(encoding="utf-8"))


def test_a_picture_has_its_texts_its_sound_and_a_copy(tmp_path: Path, picture: Path) -> None:
    out, seen = made(tmp_path, [row(0, picture, audio="all of #1 & more-sounds/a b.wav"),
                                row(1, picture, sha256="0" * 64, duplicate_of="trip/00000.png", prompt="What?")])
    shown = seen.all("img")
    assert [one["alt"] for one in shown] == ["A dog."] * 2 and "A dog on grass." in seen.words
    for one in shown:
        copy = out.parent / unquote(str(one["src"]))
        with Image.open(copy) as small:
            assert small.format == "JPEG" and small.size == (64, 48) and not small.getexif()
    sound = seen.all("audio")[0]
    assert unquote(str(sound["src"])) == "all of #1 & more-sounds/a b.wav"
    assert sound["aria-label"] == "Spoken description of trip/00000.png" and "controls" in sound
    assert "The same picture as trip/00000.png." in seen.words and "What?" in seen.words
    assert len(seen.all("h1")) == 1 and len(seen.all("h2")) == 2 and len(seen.all("main")) == 1
    assert "nav" not in [tag for tag, _ in seen.tags]  # one page leads nowhere
    assert not any("://" in str(value) for _, values in seen.tags for value in values.values())  # nothing is fetched


def test_what_was_not_described_says_why_and_is_led_to(tmp_path: Path, picture: Path) -> None:
    gone = picture.with_name("gone.png")
    _, seen = made(tmp_path, [row(0, picture), row(1, gone, sha256=None, text="", alt="", long="", error="No picture."),
                              row(2, gone)])
    assert "Not described: No picture." in seen.words and "The picture is not where it was" in seen.words
    assert "3 pictures, described by photo <b>captioner</b>. 1 of them could not be described." in seen.words
    assert "Not described: 1" in seen.words
    places = {attributes.get("id") for _, attributes in seen.tags}
    assert {"#picture-2"} == {link["href"] for link in seen.all("a") if "picture-" in str(link["href"])}
    assert "picture-2" in places and len(seen.all("img")) == 1


def test_what_strangers_wrote_stays_text(tmp_path: Path, picture: Path) -> None:
    evil = row(0, picture, path=EVIL, alt=EVIL, long=EVIL, text=EVIL, prompt=EVIL, variant=EVIL, duplicate_of=EVIL,
               sha256="f" * 64)
    _, seen = made(tmp_path, [evil, row(1, picture, path=EVIL, error=EVIL)])
    assert not seen.all("script") and not seen.all("b")
    shown = '"><script>alert(1)</script>�{title} �'
    assert seen.all("img")[0]["alt"] == shown and seen.words.count(shown) >= 6
    assert "script-src 'none'" in str(seen.all("meta")[2]["content"])


class Many:
    """Rows that are made when they are asked for; `most` of them were alive at once."""

    def __init__(self, count: int, picture: Path) -> None:
        self.count, self.picture, self.most = count, picture, 0
        self.alive: weakref.WeakSet[Row] = weakref.WeakSet()

    def __iter__(self) -> Iterator[Row]:
        for position in range(self.count):
            one = row(position, self.picture, sha256="ab" * 32, error="Bad." if position % 300 == 299 else None)
            self.alive.add(one)
            self.most = max(self.most, len(self.alive))
            yield one
            del one


def test_pages_of_a_hundred_lead_to_each_other_and_rows_are_never_held(tmp_path: Path, picture: Path) -> None:
    rows, out = Many(2345, picture), tmp_path / "all.html"
    gc.disable()
    try:
        write(rows, out, BatchPlan(variant="v", sources=("x",), out=out, format="html"))
    finally:
        gc.enable()
    assert rows.most <= 2 * PAGE + 2
    pages = [out, *sorted(files_folder(out).glob("page-*.html"))]
    assert len(pages) == 24 and len(list((files_folder(out) / "pictures").rglob("*.jpg"))) == 1
    seen = [Seen(page.read_text(encoding="utf-8")) for page in pages]
    assert sum(len(one.all("article")) for one in seen) == 2345
    ids = [attributes["id"] for one in seen for attributes in one.all("li") if "id" in attributes]
    assert ids == [f"picture-{number}" for number in range(1, 2346)]
    for page, one in zip(pages, seen, strict=True):
        for attributes in [*one.all("a"), *one.all("img")]:
            target = str(attributes.get("href") or attributes.get("src"))
            file, _, place = target.partition("#")
            leads = (page.parent / file).resolve() if file else page
            assert leads.is_file(), target
            assert not place or f'id="{place}"' in leads.read_text(encoding="utf-8")
    assert len(seen[0].all("nav")) == 2 and seen[0].all("title") and "page 24 of 24" in seen[-1].words
    nexts = [link["href"] for link in seen[1].all("a") if link.get("rel") == "next"]
    assert nexts == ["page-00003.html"] * 2 or nexts == ["../all-files/page-00003.html"] * 2


def test_twice_is_the_same_and_a_smaller_one_leaves_no_pages(tmp_path: Path, picture: Path) -> None:
    def files() -> dict[str, bytes]:
        return {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*") if
                path.is_file()}

    many = [row(number, picture, sha256="cd" * 32) for number in range(PAGE + 1)]
    made(tmp_path, many)
    first = files()
    made(tmp_path, many)
    assert files() == first and any("page-00002" in name for name in first)
    made(tmp_path, many[:1])
    assert not any("page-" in name for name in files())
    _, seen = made(tmp_path, [])
    assert "There are no pictures." in seen.words and re.search("0 pictures", seen.words)


def test_a_failure_leaves_the_gallery_of_before(tmp_path: Path, picture: Path) -> None:
    out, _ = made(tmp_path, [row(0, picture)])
    before = out.read_bytes()

    class Broken(list[Row]):
        def __iter__(self) -> Iterator[Row]:
            yield dataclasses.replace(row(0, picture), long="Another text.")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        made(tmp_path, Broken())
    assert out.read_bytes() == before and not list(tmp_path.glob(".*.part"))
