"""What a report measures beyond likeness: words found, adjectives, objects, reading ease, pairs, CLIPScore."""

import doctest
import importlib
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from narrator.evaluation.clip import BEFORE, WEIGHT, clip_scores, find_clip
from narrator.metrics import java
from narrator.metrics.grounding import adjectives_found, words_found
from narrator.metrics.objects import GENERAL, OBJECTS, hallucinated, objects, word_list
from narrator.metrics.paired import Shares, differences, verdict
from narrator.metrics.readability import reading_ease
from narrator.metrics.rouge import rouge_2
from narrator.metrics.scores import caption_scores, per_picture
from narrator.metrics.text import vocabulary
from narrator.records import NarratorError, Score


@pytest.mark.parametrize("name", ["grounding", "objects", "readability", "rouge", "agreement"])
def test_examples_of_the_docstrings_hold(name: str) -> None:
    found = doctest.testmod(importlib.import_module(f"narrator.metrics.{name}"))
    assert found.attempted > 0 and found.failed == 0


def test_words_and_adjectives_are_found_by_their_stems_and_the_prompt_does_not_count() -> None:
    references = ["Two dogs are running over wet grass .", "A brown dog ."]
    assert words_found("A dog runs in the wet grass.", references) == (4, 4)
    assert words_found("A cat is sleeping.", references) == (0, 2)
    assert words_found("", references) == (0, 0)
    assert adjectives_found("A brown dog on dry grass", references) == (1, 2)
    assert adjectives_found("Brown dogs: a red cat", references, "brown dogs") == (0, 1)


def test_objects_that_no_reference_bears_out() -> None:
    for text, references, expected in (
            ("A boy swings a bat.", ["A child hits a ball with a bat."], ([], 2)),
            ("A dog and two cats", ["Animals play."], ([], 2)),  # "animals" may be any
            ("A man on a bike", ["Someone rides a motorcycle."], ([], 2)),
            ("A man eats a hot dog", ["A man eats."], (["hot dog"], 2)),
            ("A teddy bear", ["A bear in the forest."], (["teddy bear"], 1)),
            ("The glasses are on the table", ["Wine glasses on a table."], ([], 2)),
            ("A surfboard on a wave", ["A man surfing.", "A surfer."], ([], 1)),
            ("Grass and sky", ["A field."], ([], 0))):
        assert hallucinated(text, references) == expected, text
    assert [word for word, _ in objects("They are skiing past a bench")] == ["bench"]  # verbs and pronouns are none
    assert all(classes <= set(OBJECTS) for classes in GENERAL.values())
    assert len(OBJECTS) >= 80 and all(f"| {name} |" in word_list() for name in OBJECTS)


def test_reading_ease_and_bigrams() -> None:
    assert reading_ease("...") is None
    easy, hard = reading_ease("A dog runs. A cat sits."), reading_ease("Unidentified participants demonstrate agility.")
    assert easy is not None and hard is not None and easy > 100 > 0 > hard
    assert rouge_2("a b c", ["x y", "a b d e"]) == pytest.approx(2 / 5)
    assert rouge_2("", ["a b"]) == rouge_2("a", ["a"]) == 0


def test_the_vocabulary_has_a_jackknife_interval() -> None:
    texts = ["a dog runs", "a cat runs", "a dog sits", "the man"]
    found = vocabulary(texts)
    without = np.array([len({word for other in texts if other != text for word in other.split()}) for text in texts])
    spread = 1.96 * math.sqrt(3 * float(np.mean((without - without.mean()) ** 2)))
    assert [found.value, found.low, found.high] == pytest.approx([7, 7 - spread, 7 + spread])


def shares(references: dict[int, list[str]], texts: dict[int, str], missing: list[float]) -> Shares:
    ones = np.ones(len(texts))
    return Shares(parts=per_picture(references, texts), sums={"hallucination_s": (np.array(missing), ones)})


def test_pairs_of_variants() -> None:
    rng = np.random.default_rng(0)
    words = ["dog", "cat", "man", "boy", "car", "bench", "ball", "tree", "house", "street"]
    references = {n: [" ".join(rng.choice(words, 7)) for _ in range(3)] for n in range(60)}
    good = {n: texts[0] for n, texts in references.items()}
    poor = {n: " ".join(texts[0].split()[:4] + ["zebra"] * 3) for n, texts in references.items()}
    first = shares(references, good, [0.0] * 60)
    second = shares(references, poor, [1.0] * 40 + [0.0] * 20)
    found = differences(first, second)
    expected = {name: caption_scores(references, poor)[name].value - caption_scores(references, good)[name].value
                for name in caption_scores(references, good)}
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value) and found[name].high < 0, name
        assert verdict(found[name], True) == "worse"
    assert verdict(found["hallucination_s"], False) == "worse"
    assert found["hallucination_s"].value == pytest.approx(2 / 3)
    back = differences(second, first)
    assert {verdict(back[name], name != "hallucination_s") for name in back} == {"better"}
    equal = differences(first, first)
    assert {verdict(score, True) for score in equal.values()} == {"cannot tell"}
    assert differences(first, second) == found  # the same seed
    little = {**poor, **{n: good[n] for n in range(1, 60)}}  # one text of sixty differs
    assert verdict(differences(first, shares(references, little, [0.0] * 60))["cider_d"], True) == "cannot tell"
    half = np.arange(30)
    assert differences(first.of(half), second.of(half))["hallucination_s"].value == 1
    with pytest.raises(NarratorError, match="no row"):
        differences(first.of(np.array([], dtype=int)), second.of(np.array([], dtype=int)))
    assert verdict(Score(value=0.1, low=0.0, high=0.2), True) == "cannot tell"


def test_what_needs_java_is_said_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert set(java.missing()) == {"meteor", "spice"} and "Java" in java.missing()["meteor"]
    with pytest.raises(NarratorError, match="could not be computed"):
        java.meteor({0: ["a dog"]}, {0: "a dog"})


def test_meteor_is_that_of_java() -> None:
    if shutil.which("java") is None:
        pytest.skip("needs Java")
    found = java.meteor({0: ["A dog runs."], 1: ["A man ||| sits.", "!"], 2: ["A cat."]},
                        {0: "A dog runs.", 1: "The man is sitting.", 2: "?!"})
    assert found[0] == 1.0 and 0 < found[1] < 1 and found[2] == 0.0


def test_clip_score_is_that_of_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from tiny_models import _clip_pictures, small, vision, word_tokenizer
    from transformers import CLIPConfig, CLIPModel

    monkeypatch.setenv("NARRATOR_CLIP", str(tmp_path / "clip"))
    assert find_clip() is None
    tokenizer, look = word_tokenizer(), _clip_pictures()
    torch.manual_seed(1)
    text = {**small(), "vocab_size": len(tokenizer), "max_position_embeddings": 12, "pad_token_id": 0,
            "bos_token_id": 1, "eos_token_id": 2}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision(), projection_dim=8)).eval()
    for part in (model, tokenizer, look):
        part.save_pretrained(tmp_path / "clip")
    clip = find_clip()
    assert clip is not None
    pictures = []
    for number in range(3):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (40, 32), (80 * number, 20, 200 - 60 * number)).save(path)
        pictures.append(path)
    texts = ["a dog", "the red cat sits", "a dog " * 30]  # the last is cut
    found = clip_scores(clip, pictures, texts)
    for path, said, score in zip(pictures, texts, found, strict=True):
        with torch.inference_mode():
            words = tokenizer([BEFORE + said], return_tensors="pt", truncation=True, max_length=12)
            told = model(input_ids=words["input_ids"], attention_mask=words["attention_mask"],
                         pixel_values=look(images=Image.open(path), return_tensors="pt")["pixel_values"])
        cosine = torch.nn.functional.cosine_similarity(told.image_embeds, told.text_embeds).item()
        assert score == pytest.approx(WEIGHT * max(cosine, 0), abs=1e-5)
    (tmp_path / "clip" / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(NarratorError, match="cannot be loaded"):
        clip_scores(clip, pictures, texts)
