"""The tables of bad_input.py through every door (API, command line, page), and a disk that is full.

Each gets one sentence, nothing is lost, and what comes next works. A real browser tries some in browser/.
"""

import asyncio
import contextlib
import dataclasses
import json
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from bad_input import CAT, FILES, MARK, NOT_UPLOADED, VARIANTS, Odd
from command_line import narrator, process, sentence
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from plumbing import write_checkpoint
from serving import Server, call, page_config, press, upload
from speaking import LONG, linux_only, workers

from narrator.families import FAMILIES
from narrator.settings import GenerationSettings
from narrator.ui import handlers

TINY = "tiny-captioner"
DEFAULTS = list(dataclasses.asdict(GenerationSettings()).values())
MARKUP = "<img src=x onerror=alert(1)>"
every_file = pytest.mark.parametrize("odd", FILES, ids=[odd.name for odd in FILES])
every_variant = pytest.mark.parametrize(("variant", "says"), VARIANTS.items(), ids=list(VARIANTS))


@pytest.fixture(scope="module")
def client(server: Server) -> Client:
    return Client(server.address, download_files=server.folder / "downloads", verbose=False)


@pytest.fixture
def checkpoints(server: Server, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The server's checkpoints, for this process too."""
    monkeypatch.setitem(FAMILIES, "sayer", "plumbing:Sayer")
    monkeypatch.setenv("NARRATOR_CHECKPOINTS", str(server.folder / "checkpoints"))
    return server.folder / "checkpoints"


def one_sentence(message: str, says: str) -> None:
    assert says in message and "Traceback" not in message
    assert "\n" not in message.strip() and message.strip().endswith((".", "?")), message


def views(source: Any) -> list[handlers.View]:
    async def collect() -> list[handlers.View]:
        return [view async for view in source]
    return asyncio.run(collect())


def ask(client: Client, picture: Path, variant: str = TINY) -> str:
    text = client.predict(handle_file(str(picture)), variant, "", {"max_new_tokens": 6}, api_name="/describe")["text"]
    assert isinstance(text, str) and text
    return text


def command(checkpoints: Path, variant: str, *more: object) -> Any:
    return narrator("describe", "--variant", variant, "--max-new-tokens", 6, *more, checkpoints=checkpoints)


def page_refuses(shown: list[handlers.View], says: str) -> None:
    """A problem in the status line, and nothing that was on the page is touched."""
    assert "Problem: " in (shown[-1].status or "") and says in unescape(shown[-1].status or "")
    assert all(view.text is None and view.sure is None and view.path is None for view in shown)
    assert shown[-1].doing == ""  # nothing to stop, nothing to speak


@every_file
def test_a_file_through_the_api(client: Client, odd: Odd, tmp_path: Path) -> None:
    path = odd.write(tmp_path)
    if odd.taken:
        assert odd.says in ask(client, path)
        return
    with pytest.raises(AppError) as refused:
        ask(client, path)
    one_sentence(str(refused.value), odd.says)
    ask(client, CAT)


@every_file
def test_a_file_through_the_command_line(checkpoints: Path, odd: Odd, tmp_path: Path) -> None:
    done = command(checkpoints, TINY, odd.write(tmp_path))
    if odd.taken:
        assert (done.returncode, done.stderr) == (0, "") and odd.says in done.stdout and done.stdout.strip()
    else:
        assert (done.returncode, done.stdout) == (1, "")
        one_sentence(done.stderr, odd.says)


@every_file
def test_a_file_through_the_page(checkpoints: Path, odd: Odd, tmp_path: Path) -> None:
    path = str(odd.write(tmp_path))
    given, line = handlers.check_picture(path)
    shown = views(handlers.describe(path, TINY, "", DEFAULTS))
    if odd.taken:
        assert "ready" in line and odd.says in (shown[-1].text or "") and shown[-1].text
    else:
        assert given is None and "Problem: " in line and odd.says in unescape(line)
        page_refuses(shown, odd.says)


def test_all_files_at_once_in_a_process(server: Server, tmp_path: Path) -> None:
    """The command line as a person runs it: the bad ones have their sentences, the others go on."""
    paths = [*(odd.write(tmp_path) for odd in FILES), tmp_path / "missing.jpg", CAT]
    done = process("describe", "--variant", TINY, "--max-new-tokens", 6, "--json", *paths,
                   checkpoints=server.folder / "checkpoints")
    assert (done.returncode, done.stderr) == (1, "")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["image"] for answer in answers] == [str(path) for path in paths]
    missing, good = answers[len(FILES):]
    for odd, answer in zip(FILES, answers, strict=False):
        assert ("text" in answer) is odd.taken and odd.says in (answer.get("text") or answer["error"])
    assert "There is no file" in missing["error"] and good["text"]


@every_variant
def test_a_variant_through_the_api(client: Client, variant: str, says: str) -> None:
    with pytest.raises(AppError) as refused:
        ask(client, CAT, variant)
    one_sentence(str(refused.value), says)
    ask(client, CAT)


@every_variant
def test_a_variant_through_the_command_line(checkpoints: Path, variant: str, says: str) -> None:
    one_sentence(sentence(command(checkpoints, variant, CAT)), says)


@every_variant
def test_a_variant_through_the_page(checkpoints: Path, variant: str, says: str) -> None:
    page_refuses(views(handlers.describe(str(CAT), variant, "", DEFAULTS)), says)


def test_markup_in_the_words_is_words_everywhere(client: Client, checkpoints: Path) -> None:
    assert MARKUP in ask(client, CAT, "with-markup")
    assert MARKUP in command(checkpoints, "with-markup", CAT).stdout
    last = views(handlers.describe(str(CAT), "with-markup", "", DEFAULTS))[-1]
    assert MARKUP in (last.text or "")  # a text field shows it as it is
    for html in (last.status, last.sure):
        assert html and MARKUP in unescape(html) and "<img" not in html and "<b>" not in html


@pytest.mark.parametrize(("picture", "says"), [row[1:] for row in NOT_UPLOADED], ids=[row[0] for row in NOT_UPLOADED])
def test_a_picture_that_was_not_uploaded_is_refused(server: Server, client: Client, picture: Any, says: str) -> None:
    link = server.folder / "uploads" / "link.jpg"
    if not link.is_symlink():
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(CAT)
    if isinstance(picture, dict) and str(picture.get("path", "")).startswith("UPLOADS/"):
        picture = {"path": str(link.parent) + picture["path"].removeprefix("UPLOADS")}
    event, data = call(server.address, "describe", picture, TINY)
    assert event == "error" and "root:" not in json.dumps(data)
    if says:
        one_sentence(data["error"], says)
    ask(client, CAT)


def takers(address: str) -> tuple[int, dict[int, Any], list[dict[str, Any]]]:
    """(the picture's id, each component's value, the page's private events that take a picture)."""
    config = page_config(address)
    picture = next(row["id"] for row in config["components"] if row["props"].get("elem_id") == "picture")
    values = {row["id"]: row["props"].get("value") for row in config["components"]}
    found = [row for row in config["dependencies"] if picture in row["inputs"] and row["backend_fn"]]
    assert len(found) >= 2
    return picture, values, found


@pytest.mark.parametrize("mark", [{}, {"meta": MARK}], ids=["bare", "marked"])
@pytest.mark.parametrize("path", ["/etc/passwd", "http://127.0.0.1:9/cat.jpg", str(CAT)])
def test_the_pages_private_handlers_refuse_them_too(address: str, path: str, mark: dict) -> None:
    """Private events can still be called by their number; each that takes a picture is tried."""
    picture, values, events = takers(address)
    for event in events:
        data = [{"path": path, **mark} if each == picture else values[each] for each in event["inputs"]]
        done = press(address, event, data)
        assert done["success"] is False and "root:" not in json.dumps(done)


def test_what_nobody_foresaw_is_logged_once(server: Server, client: Client) -> None:
    picture, values, events = takers(server.address)
    describing = max(events, key=lambda event: len(event["inputs"]))
    given = {picture: {"path": upload(server.address, "cat.jpg", CAT.read_bytes()), "meta": MARK}}
    data = [given.get(each, values[each]) for each in describing["inputs"]]
    data[describing["inputs"].index(picture) + 1] = "unforeseen"
    before = (server.folder / "log.txt").read_text().count("Traceback")
    assert press(server.address, describing, data)["success"] is False
    log = (server.folder / "log.txt").read_text()
    assert log.count("Traceback") == before + 1 and log.rstrip().splitlines()[-1].startswith("TypeError")
    ask(client, CAT)


@contextlib.contextmanager
def full_disk(pid: int = 0) -> Iterator[None]:
    """While it lasts, that process (0: this one) can write no file beyond 300 kB: 7 s of speech; LONG takes 30."""
    import resource

    limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (300_000, limits[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


@linux_only
def test_a_full_disk_through_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    with full_disk():
        page_refuses(views(handlers.speak(LONG, None, 1.0, 50)), "could not be saved")
    assert list((tmp_path / "sounds").iterdir()) == [] and not workers()
    assert views(handlers.speak(LONG, None, 1.0, 50))[-1].path


@linux_only
def test_a_full_disk_through_the_api(server: Server) -> None:
    sounds = server.folder / "uploads" / "sounds"
    assert call(server.address, "speak", "A dog runs.")[0] == "complete"
    before = sorted(sounds.iterdir())
    with full_disk(server.pid):
        event, answer = call(server.address, "speak", LONG)
    assert event == "error"
    one_sentence(answer["error"], "could not be saved")
    assert sorted(sounds.iterdir()) == before
    assert call(server.address, "speak", LONG)[0] == "complete"


@linux_only
def test_a_full_disk_through_the_command_line(checkpoints: Path, tmp_path: Path) -> None:
    """The description is printed all the same, and yesterday's sound is still there."""
    write_checkpoint(tmp_path, "talker", words=[[LONG, 0.9]])
    old = tmp_path / "out.wav"
    old.write_bytes(b"the speech of yesterday")
    with full_disk():
        done = command(tmp_path, "talker", "--speak", old, CAT)
    assert done.returncode == 1 and done.stdout.startswith("The small boat")
    one_sentence(done.stderr, "could not be saved")
    assert old.read_bytes() == b"the speech of yesterday"
    assert command(tmp_path, "talker", "--speak", old, CAT).returncode == 0 and old.stat().st_size > 300_000
