"""Variants side by side: what is counted, what is saved and shared, and what is refused."""

import base64
import dataclasses
import json
import threading
import zlib
from pathlib import Path

import pytest
from command_line import narrator, sentence
from PIL import Image
from plumbing import Sayer, write_checkpoint
from tiny_captioner import save_tiny_captioner

from narrator.comparing import Comparison, Entrant, Result, again, compare, figures, only_here
from narrator.comparing.page import as_html
from narrator.comparing.records import changed_settings
from narrator.comparing.sharing import (
    MAX_LINK,
    as_json,
    as_text,
    exact,
    from_link,
    from_text,
    to_link,
    with_picture,
)
from narrator.engine import Engine
from narrator.pictures import picture_sha256
from narrator.records import NarratorError
from narrator.settings import GenerationSettings

CAT = Path(__file__).resolve().parents[1] / "assets" / "pictures" / "cat.jpg"
RED = [["a", 0.9], [" red", 0.8], [" dog", 0.8], [" <b>runs</b>", 0.7]]
SAMPLED = GenerationSettings(num_beams=1, temperature=1.5, max_new_tokens=12, no_repeat_ngram_size=0, seed=5)


@pytest.fixture
def two(sayer: None, tmp_path: Path) -> Engine:
    """ "one" says a dog runs on grass, "two" something else; "asked" takes a prompt and no picture."""
    write_checkpoint(tmp_path, "one")
    write_checkpoint(tmp_path, "two", words=RED)
    write_checkpoint(tmp_path, "asked", inputs={"image": False, "text": True})
    return Engine(tmp_path, device="cpu")


def finished(*arguments, **more) -> Comparison:
    return list(compare(*arguments, **more))[-1].comparison


def test_texts_come_in_turn_and_figures_after_them(two: Engine) -> None:
    entrants = [Entrant(variant="one"), Entrant(variant="two", settings=GenerationSettings(max_new_tokens=3))]
    seen = list(compare(entrants, CAT, references=["a  red dog", "A dog on the grass."], engine=two))
    assert [progress.at for progress in seen] == sorted([p.at for p in seen], key=lambda at: 2 if at is None else at)
    growing = [progress.comparison.results[0].text for progress in seen if progress.at == 0]
    assert "a" in growing and growing == sorted(growing, key=len) and growing[-1] == "A dog runs on grass."
    assert all(progress.comparison.results[1].state == "waiting" for progress in seen if progress.at == 0)
    last = seen[-1].comparison
    assert seen[-1].status == "2 descriptions are ready." and last.references == ("a red dog", "A dog on the grass.")
    one, other = last.results
    assert (one.text, other.text) == ("A dog runs on grass.", "A red dog.") and other.settings["max_new_tokens"] == 3
    assert (one.tokens, one.words, other.tokens, other.words) == (7, 5, 3, 3)
    assert one.adjective_density == 0 and other.adjective_density == pytest.approx(1 / 3)
    assert other.scores["bleu_1"] == pytest.approx(1) and other.scores["rouge_l"] > one.scores["rouge_l"] > 0
    assert 0 < one.first_token_s <= one.total_s and one.tokens_per_s == pytest.approx(7 / one.total_s)
    assert last.image_sha256 and last.picture is None
    names = [name for name, _ in figures(last.results)]
    assert names[:4] == ["Time to first word", "Time in all", "Tokens per second", "Length"] and "BLEU-4" in names
    assert Sayer.most_inside == 1


def test_words_that_no_other_text_has() -> None:
    assert only_here(["A brown dog.", "a dog RUNS", ""]) == [(1,), (2,), ()]
    assert only_here(["A dog", ""]) == [(), ()] and only_here(["x y", "Y x"]) == [(), ()]


def test_one_that_fails_says_why_and_the_others_go_on(two: Engine) -> None:
    seen = list(compare([Entrant(variant="asked"), Entrant(variant="one")], CAT, engine=two))
    failed, fine = seen[-1].comparison.results
    assert failed.state == "failed" and "write one first" in failed.error and fine.state == "done"
    assert seen[-1].status == "1 description is ready; 1 failed, and says why."
    none = list(compare([Entrant(variant="two"), Entrant(variant="one")], engine=two))[-1]
    assert none.status.startswith("None of the variants") and "give it one first" in none.comparison.results[0].error
    asked = finished([Entrant(variant="asked"), Entrant(variant="one")], CAT, "a red dog", engine=two)
    assert asked.results[0].prompt == "a red dog" and asked.results[1].prompt == ""


@pytest.mark.parametrize(("names", "image", "more", "words"), [
    (["one"], CAT, {}, "2 to 4 variants"), (["one"] * 5, CAT, {}, "2 to 4 variants"),
    (["one", "one"], CAT, {}, "twice with the same settings"), (["one", "nobody"], CAT, {}, "no variant 'nobody'"),
    (["one", "two"], b"%PDF-1.7", {}, "not a picture"), (["one", "two"], CAT, {"references": ["x"] * 21}, "20 at most"),
    (["one", "two"], CAT, {"prompt": "x" * 5000}, "shorten it")])
def test_refused_at_the_door(two: Engine, names: list[str], image, more: dict, words: str) -> None:
    with pytest.raises(NarratorError, match=words):
        list(compare([Entrant(variant=name) for name in names], image, engine=two, **more))
    assert Sayer.steps == 0


def test_stop_ends_it_within_a_step_and_keeps_what_is_there(sayer: None, tmp_path: Path) -> None:
    write_checkpoint(tmp_path, "one")
    write_checkpoint(tmp_path, "slow", words=[[" word", 0.9]] * 40, step_s=0.05)
    write_checkpoint(tmp_path, "last")
    stop, engine = threading.Event(), Engine(tmp_path, device="cpu")
    for progress in compare([Entrant(variant=name) for name in ("one", "slow", "last")], CAT, engine=engine, stop=stop):
        if progress.comparison.results[1].text:
            stop.set()
    assert [one.state for one in progress.comparison.results] == ["done", "stopped", "stopped"]
    assert progress.status.startswith("Stopped") and progress.comparison.results[1].text.startswith("Word")
    assert Sayer.steps < 20 and Sayer.inside == 0


def test_the_same_seed_gives_the_same_text_from_a_file_with_its_picture(tmp_path: Path) -> None:
    """Real code on random weights, sampled: another seed says something else."""
    save_tiny_captioner(tmp_path / "tiny")
    engine = Engine(tmp_path, device="cpu")
    other = dataclasses.replace(SAMPLED, seed=6)
    first = finished([Entrant(variant="tiny-captioner", settings=settings) for settings in (SAMPLED, other)], CAT,
                     engine=engine)
    assert first.results[0].text != first.results[1].text and first.results[0].memory_bytes > 1000
    read = from_text(as_text(with_picture(first, CAT)), "it")
    assert exact(read) and read.picture is not None
    assert dataclasses.replace(read, picture=None) == first
    once_more = finished(again(read), read.picture, read.prompt, engine=engine)
    assert [one.text for one in once_more.results] == [one.text for one in first.results]
    assert changed_settings(first.results[0]).endswith("temperature 1.5, no repeat ngram size 0, seed 5")


def sample() -> Comparison:
    settings = dataclasses.asdict(GenerationSettings())
    results = (Result(variant="one", title="One <i>", settings=settings, state="done", text="A <b> dog 犬."),
               Result(variant="two", title="Two", settings=settings, state="failed", error="No <u>."))
    return Comparison(created="2024-01-01T00:00:00+00:00", prompt="what <is> it", image_sha256="0" * 64,
                      references=("a",), results=results)


def test_a_link_holds_it_all_and_a_small_picture_if_wished() -> None:
    made = sample()
    assert from_link(to_link(made)) == made and len(to_link(made)) < 1200
    pictured = with_picture(made, CAT, small=True)
    read = from_link(to_link(pictured))
    assert read.picture is not None and not exact(read) and len(to_link(pictured)) < 60_000
    large = Image.new("RGB", (2000, 1500), "red")
    assert not exact(dataclasses.replace(with_picture(made, large), image_sha256=picture_sha256(large)))


def bomb() -> str:
    return base64.urlsafe_b64encode(zlib.compress(b" " * 60_000_000, 9)).decode()


@pytest.mark.parametrize("payload", ["", "x", "%%%", "A" * (MAX_LINK + 1), to_link(sample())[:-9], bomb()],
                         ids=["empty", "short", "signs", "long", "cut", "bomb"])
def test_damaged_links_are_refused_in_a_sentence(payload: str) -> None:
    with pytest.raises(NarratorError, match="damaged or cut short"):
        from_link(payload)


def changed(**values) -> str:
    told = as_json(sample())
    first = {**told["results"][0], **values.pop("first", {})}
    return json.dumps({**told, "results": [first, *told["results"][1:]], **values})


@pytest.mark.parametrize(("text", "words"), [
    ("{", "is not JSON"), ("[" * 100_000, "not data"), ("[]", "no saved comparison"), (b"\xff\xfe", "UTF-8"),
    (changed(results=[]), "2 to 4 results"), (changed(picture="/etc/passwd"), "addresses are not read"),
    (changed(picture="http://127.0.0.1/x.png"), "addresses are not read"),
    (changed(picture="data:image/png;base64,AAAA"), "not a picture"), (changed(image_sha256="../x"), "hexadecimal"),
    (changed(first={"settings": {"seed": -1}}), "seed"), (changed(first={"settings": {"sed": 1}}), "mean 'seed'"),
    (changed(first={"text": "x" * 20_001}), "'text' must be a text"), (changed(first={"tokens": -1}), "'tokens'"),
    (changed(first={"total_s": float("nan")}), "'total_s'"), (changed(first={"state": "odd"}), "'state'"),
    (changed(references="abc"), "'references'"), (changed(first={"scores": {"bleu_1": "high"}}), "'bleu_1'")])
def test_files_of_strangers_are_checked(text: str, words: str) -> None:
    with pytest.raises(NarratorError, match=words):
        from_text(text, "it")


def test_the_page_is_one_file_without_script_and_escapes_what_was_written() -> None:
    page = as_html(with_picture(sample(), CAT, small=True))
    assert "<script" not in page and "http" not in page and 'src="data:image/jpeg;base64,' in page
    assert "One &lt;i&gt;" in page and "what &lt;is&gt; it" in page and "No &lt;u&gt;." in page and "<b>" not in page
    assert all(part in page for part in ('lang="en"', "<h1>", '<th scope="col">1: One', '<th scope="row">Seed</th>'))


def test_the_command(sayer: None, tmp_path: Path) -> None:
    write_checkpoint(tmp_path, "one")
    write_checkpoint(tmp_path, "two", words=RED)

    def run(*arguments: object):
        return narrator("compare", *arguments, checkpoints=tmp_path)

    out = tmp_path / "it.json"
    both = ["--variant", "one", "--variant", "two:max_new_tokens=3,seed=4"]
    done = run(CAT, *both, "--reference", "a red dog", "--json", "--out", out, "--with-picture")
    told = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "") and [row["text"] for row in told["results"]][1] == "A red dog."
    assert told["results"][1]["settings"]["seed"] == 4 and told["results"][1]["scores"]["bleu_1"] == pytest.approx(1)
    assert json.loads(out.read_text())["picture"].startswith("data:image/png;base64,") and told["picture"] is None
    once_more = run("--again", out)
    assert once_more.returncode == 0 and "2: The two\n   A red dog.\n" in once_more.stdout
    assert run(CAT, *both, "--out", out.with_suffix(".html")).returncode == 0
    assert "A dog" in out.with_suffix(".html").read_text()
    failed = run(*both)
    assert failed.returncode == 1 and failed.stderr.count("give it one first") == 2
    for arguments, words in (((CAT, "--variant", "one"), "2 to 4"), ((CAT, *both, "--out", "x.txt"), ".html or .json"),
                             ((CAT, "--variant", "one", "--variant", "two:sed=1"), "Did you mean 'seed'"),
                             (("--again", CAT), "UTF-8"), (("--again", out, *both), "leave --variant out"),
                             (("--again", out, "--seed", 3), "leave the others out"),
                             ((CAT, *both, "--with-picture"), "name that with --out")):
        assert words in sentence(run(*arguments))
