"""A request: what streams, what is filed, what ends it; and many pictures at once."""

import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from plumbing import Sayer, write_checkpoint

from narrator.engine import Engine
from narrator.narrate import (
    ALMOST_EMPTY,
    MAX_PROMPT,
    confidence,
    describe_many,
    narrate,
    tidy,
    uncertain_indices,
    uncertain_words,
    word_spans,
)
from narrator.pictures import Source, picture_sha256
from narrator.records import Narration, NarratorError, Piece
from narrator.settings import GenerationSettings


def photo(width: int = 64) -> Image.Image:
    return Image.linear_gradient("L").resize((width, 48)).convert("RGB")


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


PLAIN = Image.new("RGB", (64, 64), "green")


pytestmark = pytest.mark.usefixtures("sayer")


def is_free(engine: Engine) -> bool:
    """Whether somebody else gets the device within a moment."""
    stop = threading.Event()
    timer = threading.Timer(2.0, stop.set)
    timer.start()
    try:
        with engine.use("sayer", stop=stop):
            return True
    except NarratorError:
        return False
    finally:
        timer.cancel()


def test_text_streams_and_the_last_update_is_the_narration(engine: Engine) -> None:
    settings = GenerationSettings(num_beams=1)
    updates = list(narrate("sayer", photo(), settings=settings, engine=engine))
    assert [update.status for update in updates[:2]] == ["Loading The sayer, first use …", "Describing …"]
    assert [update.text for update in updates[2:-1]] == ["a", "a dog", "a dog ru", "a dog runs", "a dog runs on",
                                                         "a dog runs on grass"]
    assert all(update.narration is None for update in updates[:-1])
    done = updates[-1].narration
    assert done is not None and done.text == updates[-1].text == "A dog runs on grass."
    assert updates[-1].status == f"Described in {done.total_s:.1f} s."
    assert (done.variant_id, done.tokens, done.uncertain, done.uncertain_at) == ("sayer", 7, ("runs",), (2,))
    assert done.confidence == pytest.approx((0.9 + 0.8 + 0.2 + 0.9 + 0.95 + 0.7 + 0.99) / 7)
    assert done.image_sha256 == picture_sha256(photo())
    assert done.settings["num_beams"] == 1
    assert 0 < done.first_token_s <= done.total_s < 10
    assert done.created.endswith("+00:00") and len(done.id) == 32


def test_times_count_from_the_request(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, step_s=0.02)
    done = list(narrate("sayer", photo(), engine=Engine(tmp_path, device="cpu")))[-1].narration
    assert done is not None
    assert 0.02 <= done.first_token_s <= done.total_s - 0.1 and done.total_s >= 0.14


def test_times_end_with_the_last_token(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes after it, here a hash that takes long, is none of the model's time."""
    hashing: list[float] = []

    def slow_hash(picture: Image.Image) -> str:
        hashing.append(time.perf_counter())
        time.sleep(0.3)
        return picture_sha256(picture)

    monkeypatch.setattr("narrator.narrate.picture_sha256", slow_hash)
    for ask in (lambda: [list(narrate("sayer", photo(), engine=engine))[-1].narration],
                lambda: [list(narrate("sayer", PLAIN, engine=engine))[-1].narration],
                lambda: list(describe_many("sayer", [photo(), PLAIN, photo()], engine=engine))):
        hashing.clear()
        began = time.perf_counter()
        made = ask()
        assert len(made) == len(hashing) > 0
        for done, hashed in zip(made, hashing, strict=True):
            assert isinstance(done, Narration) and done.image_sha256 is not None
            assert done.first_token_s <= done.total_s <= hashed - began
        if len(made) == 3:
            assert isinstance(made[2], Narration) and made[2].total_s <= hashing[0] - began, "the batch's own time"


def test_closing_the_iterator_ends_within_a_step_and_frees_the_device(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, words=[[f" w{number}", 0.9] for number in range(500)], step_s=0.01)
    engine = Engine(tmp_path, device="cpu")
    settings = GenerationSettings(max_new_tokens=500)
    running = narrate("sayer", photo(), settings=settings, engine=engine)
    while next(running).text != "w0 w1 w2":
        pass
    assert not is_free(engine)
    running.close()
    steps = Sayer.steps
    assert Sayer.inside == 0 and is_free(engine)
    time.sleep(0.05)
    assert steps == Sayer.steps == 3


def test_the_next_one_waits_until_the_closed_one_has_ended(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, step_s=0.1)
    engine = Engine(tmp_path, device="cpu")
    running = narrate("sayer", photo(), engine=engine)
    while not next(running).text:
        pass
    waiting = threading.Thread(target=lambda: list(narrate("sayer", photo(), engine=engine)))
    waiting.start()
    time.sleep(0.1)
    running.close()
    waiting.join(30)
    assert Sayer.most_inside == 1


def test_stop_ends_within_a_step_and_files_nothing(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, words=[[f" w{number}", 0.9] for number in range(500)], step_s=0.01)
    engine, stop = Engine(tmp_path, device="cpu"), threading.Event()
    updates = []
    for update in narrate("sayer", photo(), settings=GenerationSettings(max_new_tokens=500), engine=engine, stop=stop):
        updates.append(update)
        if update.text == "w0 w1 w2":
            stop.set()
    assert Sayer.steps == 4
    assert (updates[-1].text, updates[-1].status, updates[-1].narration) == ("W0 w1 w2.", "Stopped.", None)
    assert is_free(engine)
    before = list(narrate("sayer", photo(), engine=engine, stop=stop))  # stopped before it began
    assert before[-1].status == "Stopped." and Sayer.steps == 4


def test_a_generation_without_text_so_far_can_be_stopped_too(tmp_path: Path) -> None:
    """Beam search has nothing to show before its end."""
    write_checkpoint(tmp_path, words=[["", None]] * 400 + [["the end", 0.5]], step_s=0.01)
    engine, stop = Engine(tmp_path, device="cpu"), threading.Event()
    timer = threading.Timer(0.2, stop.set)
    timer.start()
    updates = list(narrate("sayer", photo(), settings=GenerationSettings(max_new_tokens=500), engine=engine, stop=stop))
    assert updates[-1].status == "Stopped." and Sayer.steps < 100
    timer.join()


def test_an_almost_empty_picture_loads_no_model(engine: Engine) -> None:
    (update,) = narrate("sayer", PLAIN, engine=engine)
    done = update.narration
    assert done is not None and done.text == update.text == ALMOST_EMPTY
    assert (done.tokens, done.confidence, done.uncertain) == (0, None, ())
    assert engine.loaded() == [] == Sayer.alive


def test_what_a_variant_needs_is_asked_for(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, "sees")
    write_checkpoint(tmp_path, "goes-on", inputs={"image": False, "text": True})
    write_checkpoint(tmp_path, "asks", inputs={"image": True, "text": True}, default_prompt="What is it?")
    engine = Engine(tmp_path, device="cpu")
    table = [("sees", None, "", "describes a picture"), ("goes-on", photo(), "  ", "from a prompt"),
             ("goes-on", None, "x" * (MAX_PROMPT + 1), "shorten it"),
             ("sees", b"%PDF-1.4", "", "starts with %PDF"), ("seas", photo(), "", "Did you mean 'sees'")]
    for variant_id, image, prompt, expected in table:
        with pytest.raises(NarratorError, match=expected):
            list(narrate(variant_id, image, prompt, engine=engine))
    assert Sayer.alive == []
    for variant_id, image, prompt, kept in [("sees", photo(), "unused", ""), ("goes-on", None, " Once ", "Once"),
                                            ("asks", photo(), "", "What is it?"), ("asks", photo(), "Why?", "Why?"),
                                            ("asks", None, "Why?", "Why?")]:  # its family says what it needs
        done = list(narrate(variant_id, image, prompt, engine=engine))[-1].narration
        assert done is not None and done.prompt == kept
        assert (done.image_sha256 is None) == (image is None)


def test_many_pictures_come_in_order_and_a_bad_one_stops_nobody(engine: Engine) -> None:
    sources: list[Source | None] = [photo(60), b"%PDF", PLAIN, png(photo(61)), photo(62), Path("/no/such.jpg"),
                                     photo(63), None, photo(64)]
    results = list(describe_many("sayer", sources, engine=engine, batch_size=4))
    bad = "an error"
    assert [result.text if isinstance(result, Narration) else bad for result in results] == [
        "60 wide.", bad, ALMOST_EMPTY, "61 wide.", "62 wide.", bad, "63 wide.", bad, "64 wide."]
    assert all(isinstance(result, (Narration, NarratorError)) for result in results)
    assert Sayer.batches == [2, 2, 1]
    assert all(result.confidence == 0.5 for result in results if isinstance(result, Narration) and result.tokens)
    assert all(result.total_s >= result.first_token_s for result in results if isinstance(result, Narration))


def test_many_pictures_take_constant_memory(engine: Engine) -> None:
    """The reader is never more than a batch ahead, and is not run when nobody asks."""
    given = 0

    def endless() -> Iterator[Image.Image]:
        nonlocal given
        while True:
            given += 1
            yield photo(30 + given % 100)

    results = describe_many("sayer", endless(), engine=engine, batch_size=8)
    assert given == 0
    for number in range(1, 100):
        assert isinstance(next(results), Narration)
        assert given - number < 8
    results.close()
    assert is_free(engine)


def test_many_pictures_need_a_variant_that_loads(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(NarratorError, match="no variant 'other'"):
        next(describe_many("other", [photo()], engine=engine))
    (tmp_path / "sayer" / "config.json").unlink()
    with pytest.raises(NarratorError, match=r"config\.json is missing"):
        next(describe_many("sayer", [photo()], engine=engine))
    assert list(describe_many("sayer", [], engine=engine)) == []


@pytest.mark.parametrize(("text", "expected"), [
    ("", ""), ("   ", ""), ("dog", "Dog"), ("a dog", "A dog."), ("  a\n dog  runs . ", "A dog runs."),
    ("is it a dog ?", "Is it a dog?"), ("a dog , a cat", "A dog, a cat."), ("Already done.", "Already done."),
    ("wait …", "Wait …"), ('he says "no"', 'He says "no".'), ("éclairs on a plate", "Éclairs on a plate."),
    ("3 dogs", "3 dogs."), ("look !!!!!!", "Look!"), ("a dog.", "A dog."), ("42", "42"), ("costs 3 .5", "Costs 3 .5."),
])
def test_tidy(text: str, expected: str) -> None:
    assert tidy(text) == expected
    assert tidy(expected) == expected


def pieces(*rows: tuple[str, float | None]) -> list[Piece]:
    return [Piece(text=text, probability=probability) for text, probability in rows]


def test_uncertain_words_are_whole_words_in_order() -> None:
    assert uncertain_words(pieces(("a", 0.9), (" fris", 0.9), ("bee", 0.1), (" flies", 0.9))) == ("frisbee",)
    assert uncertain_words(pieces((" dog", 0.1), (" and", 0.9), (" dog", 0.2), (" .", 0.1))) == ("Dog", "dog")
    assert uncertain_words(pieces(("a man's", 0.2), (" t-shirt", 0.29), (" x", 0.3))) == ("A", "man's", "t-shirt")
    assert uncertain_words(pieces(("a dog", None), ("", 0.01))) == ()
    assert uncertain_words(pieces(("a dog", 0.5)), below=0.6) == ("A", "dog")


def test_the_occurrence_that_is_a_guess_is_known() -> None:
    """Of a word that comes twice, which one it is; the words are those of the tidied text."""
    said = pieces(("  a", 0.9), (" dog", 0.9), (" ,", 0.1), (" then\n", 0.9), (" a", 0.9), (" do", 0.9), ("g", 0.2))
    text = tidy("".join(piece.text for piece in said))
    assert text == "A dog, then a dog."
    assert (uncertain_words(said), uncertain_indices(said)) == (("dog",), (4,))
    spans = word_spans(text)
    assert [text[start:end] for start, end in spans] == ["A", "dog", "then", "a", "dog"]
    assert [spans[index] for index in uncertain_indices(said)] == [(14, 17)]
    assert uncertain_indices(said, below=0.95) == (0, 1, 2, 3, 4) and word_spans("") == []


def test_confidence_is_the_mean_over_tokens() -> None:
    rows = [*pieces(("a", 0.9), ("", None)), Piece(text="b c", probability=0.3, tokens=2)]
    assert confidence(rows) == pytest.approx((0.9 + 2 * 0.3) / 3)
    assert confidence([]) is None and confidence(pieces(("a", None))) is None


def test_a_picture_of_noise_is_almost_empty_too(engine: Engine) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    (result,) = describe_many("sayer", [Image.fromarray(noise)], engine=engine)
    assert isinstance(result, Narration) and result.text == ALMOST_EMPTY and result.tokens == 0


def test_real_weights_can_be_stopped_and_used_again(tiny_checkpoints: Path) -> None:
    """Beam search runs in a thread of its own, which must not outlive the request."""
    engine, stop = Engine(tiny_checkpoints, device="cpu"), threading.Event()
    settings = GenerationSettings(num_beams=3, max_new_tokens=50, no_repeat_ngram_size=0)
    running = narrate("tiny-captioner", photo(), settings=settings, engine=engine, stop=stop)
    assert [next(running).status for _ in range(2)][-1] == "Describing …"
    stop.set()
    last = list(running)[-1]
    assert last.status == "Stopped." and last.narration is None
    assert not [thread for thread in threading.enumerate() if thread.name == "beam-search"]
    done = list(narrate("tiny-captioner", photo(), settings=settings, engine=engine))[-1].narration
    assert done is not None and done.text
