"""The recipe of prompted language models: labels by hand, leaks, curriculum, adapters, and a run from start to end."""

import json
import math
import random

import pytest
import torch
from prompted import PRESET, STAGE, learn, prompted_data, prompted_tokenizer, recipe_of, silent  # noqa: F401
from transformers import GPT2Config, GPT2LMHeadModel

from narrator.families.causal_lm import CausalLM
from narrator.metrics.text import adjectives
from narrator.records import Example, Inputs, NarratorError, Variant
from narrator.settings import GenerationSettings
from trainer.config import parse_config
from trainer.events import EventLog, read_events
from trainer.recipes import curriculum
from trainer.recipes.lora import trainable
from trainer.recipes.pairs import PROMPTS, Answers, ask, collate, encode, held_out_pairs, kept, neat
from trainer.recipes.teacher import IGNORED
from trainer.scenes import Scene


def test_labels_by_hand(tokenizer) -> None:
    ids, start = encode(tokenizer, "a cat", "A dog.", 48)
    asked = [tokenizer.bos_token_id, *tokenizer("a cat\n", add_special_tokens=False)["input_ids"]]
    said = [*tokenizer("A dog.", add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    assert ids == asked + said and start == len(asked)
    batch = collate([{"ids": ids, "start": start}, {"ids": ids[:-2], "start": start}], tokenizer.pad_token_id)
    assert batch["labels"][0].tolist() == [IGNORED] * start + said
    assert batch["labels"][1].tolist() == [IGNORED] * start + said[:-2] + [IGNORED] * 2
    assert batch["attention_mask"][1].tolist() == [1] * (len(ids) - 2) + [0, 0]
    assert batch["input_ids"][1, -2:].tolist() == [tokenizer.pad_token_id] * 2


def test_where_the_end_is_the_padding_the_end_is_still_learned() -> None:
    batch = collate([{"ids": [5, 6, 7, 2], "start": 2}, {"ids": [5, 2], "start": 1}], pad=2)
    assert batch["labels"].tolist() == [[IGNORED, IGNORED, 7, 2], [IGNORED, 2, IGNORED, IGNORED]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]


def test_what_is_cut_has_no_end(tokenizer) -> None:
    whole, start = encode(tokenizer, "a cat", "A brown dog on the grass.", 48)
    cut, same = encode(tokenizer, "a cat", "A brown dog on the grass.", len(whole) - 1)
    assert (cut, same) == (whole[:-1], start) and cut[-1] != tokenizer.eos_token_id
    long, at = encode(tokenizer, "a cat " * 100, "A dog.", 16)
    assert len(long) <= 16 and at == 8


def test_the_loss_is_that_of_the_answer_and_of_everything(tokenizer) -> None:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(tokenizer), n_positions=48, n_embd=16, n_layer=1, n_head=2)
    model = GPT2LMHeadModel(config).eval()
    example = Example(image=None, prompt="a cat", texts=("A dog.", "another"))
    ids, start = encode(tokenizer, example.prompt, "A dog.", 48)
    row = torch.tensor([ids + [tokenizer.pad_token_id] * (48 - len(ids))])
    mask = torch.tensor([[1] * len(ids) + [0] * (48 - len(ids))])
    theirs = model(input_ids=row, attention_mask=mask, labels=row).loss  # as who takes the padded row as labels
    answer = torch.tensor([[IGNORED] * start + ids[start:] + [IGNORED] * (48 - len(ids))])
    alone = model(input_ids=row, attention_mask=mask, labels=answer).loss
    family = CausalLM.around(model, tokenizer)
    (found,) = family.answer_losses([(example.prompt, example.texts[0])], 48)
    assert found[0] / found[1] == pytest.approx(float(alone.detach()), rel=1e-5)
    assert found[2] / found[3] == pytest.approx(float(theirs.detach()), rel=1e-5)
    assert found[1] == len(ids) - start
    (short,) = family.answer_losses([(example.prompt, example.texts[0])])  # without the padding that some count
    assert short.tolist() == pytest.approx([found[0], found[1], 0, 0], rel=1e-5)


def test_a_phrase_of_one_caption_asks_for_another() -> None:
    scene = Scene(key="k", texts=("A brown dog on the grass.", "the horse stands"))
    asked = {ask(scene, 1, random) for _ in range(200)}
    assert asked == {prompt.format(phrase) for prompt in PROMPTS for phrase in ("a brown dog", "the grass")}
    assert ask(Scene(key="k", texts=("One.",), prompt="Mine"), 0, random) == "Mine"
    assert ask(Scene(key="k", texts=("Running quickly away from", "x")), 1, random)  # no phrase: its first words
    assert neat("two dogs play .") == "Two dogs play."
    assert neat("A MAN 'S HAT") == "A man's hat."
    assert neat("he said , \" hi ! \"").endswith("!")


def test_dev_prompts_stay_the_same_and_references_exclude_the_asked(data, tmp_path) -> None:
    first = recipe_of(data, tmp_path / "a").read_dev(parse_config(PRESET, "t").dev[0], strict=False)
    again = recipe_of(data, tmp_path / "b").read_dev(parse_config(PRESET, "t").dev[0], strict=False)
    assert first == again and len(first) > 2
    assert all(len(example.texts) == 2 and example.prompt for example in first)
    assert held_out_pairs([Scene(key="k", texts=("Only one.",))]) == []


def test_a_set_named_on_both_sides_is_split_by_scene_and_a_leak_refused(data, tmp_path) -> None:
    recipe = recipe_of(data, tmp_path / "run")
    learned = {scene.key for _, rows in recipe.learned for scene in rows}
    held = {scene.key for rows in recipe.held.values() for scene in rows}
    assert len(learned) + len(held) == 24 and not learned & held and held

    rows = [{"scene": "market", "prompt": f"Describe this image: market {number}", "caption": "Busy."}
            for number in range(4)]
    for name, part in (("train", rows[:3]), ("dev", rows[3:])):  # the templates of one scene, split by row
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    with pytest.raises(NarratorError, match="The scene 'market' is both learned from and held out"):
        recipe_of(tmp_path, tmp_path / "leak", data=[{"path": "train.jsonl"}], dev=[{"path": "dev.jsonl"}])
    with pytest.raises(NarratorError, match="held_out"):
        recipe_of(data, tmp_path / "none", held_out=0.0)


def test_only_what_it_knows_is_taken(data, tmp_path) -> None:
    for changes, said in (({"stages": [{**STAGE, "objective": "caption"}]}, "objective"),
                          ({"lora": {"r": 4}}, "base"), ({"base": "no/such"}, "hf download no/such"),
                          ({"base": "checkpoints/none-such"}, "no variant")):
        with pytest.raises(NarratorError, match=said):
            recipe_of(data, tmp_path / "run", **changes)
    with pytest.raises(NarratorError, match="unknown setting 'alfa'"):
        parse_config({**PRESET, "lora": {"alfa": 1}}, "test")
    with pytest.raises(NarratorError, match="'lora' must be a group"):
        parse_config({**PRESET, "lora": 16}, "test")


def test_only_the_most_vivid_captions_are_answers(data, tmp_path, tokenizer) -> None:
    scenes = [Scene(key="a", texts=("A large brown dog runs on wet grass", "A dog runs on the grass outside", "dog")),
              Scene(key="b", texts=("Two people sit on a very old red bench", "People who sit on a bench", "wet"))]
    assert Answers(scenes, tokenizer, 48, vivid=0.34).items == [(0, 0), (1, 0)]
    assert len(Answers(scenes, tokenizer, 48).items) == 6
    assert all(adjectives(scenes[row].texts[text])[0] >= 2 for row, text in
               Answers(scenes, tokenizer, 48, vivid=0.34).items)


def test_a_caption_that_is_asked_for_faithfully_holds_the_words_of_its_prompt(tokenizer) -> None:
    scenes = [Scene(key="a", texts=("A brown dog runs on the grass .", "a big dog is on grass", "An animal outside")),
              Scene(key="b", texts=("what I wrote",), prompt="of a boat")]
    faithful = Answers(scenes, tokenizer, 48, faithful=True)
    assert faithful.items == [(0, 0), (0, 1), (1, 0)]  # nothing that others say stands in "An animal outside"
    assert kept(scenes[0], 0) == ["grass"] and set(kept(scenes[0], 1)) == {"the grass"}
    draw = random.Random(1)
    asked = [ask(scenes[0], 1, draw, faithful=True) for _ in range(200)]
    assert set(asked) == {prompt.format("the grass") for prompt in PROMPTS}
    assert ask(scenes[1], 0, draw, faithful=True) == "of a boat"

    longer = Scene(key="c", texts=("Two brown dogs by a river", "Two brown dogs swim in a river"))
    drawn = [ask(longer, 1, draw, faithful=True) for _ in range(400)]
    assert 0.6 < sum("brown" in prompt for prompt in drawn) / 400 < 0.8  # 9 parts of 13


def test_the_curriculum_draws_weak_types_more_often(tokenizer, tmp_path) -> None:
    found = curriculum.weights({"animals": [2.0] * 10, "urban": [4.0] * 10, "sport": [9.0] * 2}, strength=2.0)
    assert found == {"animals": 0.4444, "urban": 1.7778}  # 4/9 and 16/9: the mean is 3; two of a type say nothing
    assert curriculum.weights({}, 1.0) == curriculum.weights({"animals": [0.0] * 9}, 1.0) == {}

    scenes = [Scene(key="a", texts=("a dog", "a cat")), Scene(key="b", texts=("a street", "a bus"))]
    data = Answers(scenes, tokenizer, 48)
    data.weigh({"urban": 3.0})
    random.seed(0)
    urban = ("street", "bus")
    drawn = [tokenizer.decode(data[0]["ids"]) for _ in range(400)]
    assert 0.68 < sum(any(word in text for word in urban) for text in drawn) / 400 < 0.82

    (tmp_path / "run").mkdir()
    assert curriculum.noted(tmp_path / "run", 100) == {}
    with EventLog(tmp_path / "run" / "events.jsonl") as log:  # as the loop holds it meanwhile
        log.append("evaluation", step=0)  # before the first step
        for step, weight in ((5, 1.5), (10, 2.5)):
            curriculum.note(tmp_path / "run", {"urban": weight}, {"urban": [2.0, 4.0]})
            log.append("evaluation", step=step)
        curriculum.note(tmp_path / "run", {"urban": 9.0}, {"urban": [2.0]})  # killed before the evaluation was told
    assert [curriculum.noted(tmp_path / "run", step) for step in (0, 4, 5, 9, 10, 99)] == [
        {}, {}, {"urban": 1.5}, {"urban": 1.5}, {"urban": 2.5}, {"urban": 2.5}]
    events = read_events(tmp_path / "run" / "events.jsonl")[0]
    assert [event["event"] for event in events][1:4] == ["curriculum", "evaluation", "curriculum"]
    assert events[1]["losses"] == {"urban": 3.0}


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """(recipe, model, losses, its folder once saved, the variant) after 150 steps from random weights."""
    home = tmp_path_factory.mktemp("trained")
    recipe = recipe_of(data, home / "run", curriculum=1.0)
    torch.manual_seed(0)
    model = recipe.prepare()[0]
    told = learn(recipe, model, 150)
    variant = recipe.save(model, home / "tiny-prompt")
    return recipe, model, told, home / "tiny-prompt", variant


def test_it_learns_and_says_the_same_once_saved_and_loaded(trained, data) -> None:
    recipe, model, told, folder, variant = trained
    assert sum(told[-5:]) < 0.4 * sum(told[:5])
    assert variant == Variant(id="tiny-prompt", title="tiny-prompt", family="causal_lm", source=".",
                              inputs=Inputs(image=False, text=True), default_prompt=variant.default_prompt,
                              parameters=sum(part.numel() for part in model.parameters()), dtype="bfloat16")
    family = recipe.saved(folder, variant, torch.device("cpu"))
    assert family.tokenizer.chat_template == recipe.tokenizer.chat_template
    rounded = CausalLM.around(model.bfloat16().float().eval(), recipe.tokenizer)  # as it is written
    dev = recipe.read_dev(recipe.config.dev[0], strict=False)
    settings = GenerationSettings(num_beams=1)
    prompts = [example.prompt for example in dev]
    said = [["".join(piece.text for piece in pieces) for pieces in one.batch([None] * len(dev), prompts, settings)]
            for one in (family, rounded)]
    assert said[0] == said[1] and all(text.endswith(".") for text in said[0])


def test_it_is_judged_on_what_it_never_saw(trained) -> None:
    recipe, model, *_ = trained
    dev = {"set/rows.jsonl": recipe.read_dev(recipe.config.dev[0], strict=False)}
    scores = recipe.evaluate(model, dev, beams=1, intervals=True, tell=silent)
    found = scores["set/rows.jsonl"]
    assert {"loss_answer", "loss_everything", "perplexity", "distinct_1", "distinct_2", "repetition", "words",
            "adjective_density", "cider_d", "bleu_4", "rouge_l"} <= set(found)
    assert all(score.low <= score.value <= score.high for score in found.values())
    assert found["perplexity"].value == pytest.approx(math.exp(found["loss_answer"].value))
    assert found["loss_answer"].value < 3 < math.log(300)
    assert recipe.overall(scores, dev) == pytest.approx(-found["loss_answer"].value)
    assert not read_events(recipe.folder / "events.jsonl")[0]  # a report is no curriculum


def test_an_evaluation_while_it_learns_sets_the_curriculum(trained) -> None:
    recipe, model, *_ = trained
    dev = {"set/rows.jsonl": recipe.read_dev(recipe.config.dev[0], strict=False) * 3}
    stage = recipe.config.stages[0]
    answers = recipe.dataset(stage, model, silent)
    model.train()
    recipe.evaluate(model, dev, beams=1, intervals=False, tell=silent)
    assert model.training and answers.shares is not None
    told = read_events(recipe.folder / "events.jsonl")[0][-1]
    assert told["event"] == "curriculum" and set(told["losses"]) <= {"animals", "nature", "urban"}
    with EventLog(recipe.folder / "events.jsonl") as log:
        log.append("evaluation", step=7)  # as the loop tells it
    for step, weighed in ((6, False), (7, True)):  # resumed before it, and there
        answers = recipe.dataset(stage, model, silent)
        recipe.go_on(step)
        assert (answers.shares is not None) == weighed
    recipe.forget()
    assert recipe.answers is None


def test_an_adapter_is_saved_alone_and_on_its_base_again(trained, data, tmp_path) -> None:
    *_, base, _ = trained
    for file in base.iterdir():  # a base below the data root
        (tmp_path / "root" / "tiny-prompt").mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / "tiny-prompt" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "root" / "set").mkdir()
    (tmp_path / "root" / "set" / "rows.jsonl").write_bytes((data / "set" / "rows.jsonl").read_bytes())
    recipe = recipe_of(tmp_path / "root", tmp_path / "run", base="tiny-prompt", name="tiny-vivid", vivid=0.5,
                       lora={"r": 4, "alpha": 8, "dropout": 0.0, "targets": "c_attn"})
    torch.manual_seed(1)
    model = recipe.prepare()[0]
    learning, total = trainable(model)
    assert learning == 4 * (32 + 96) and total == learning + trainable(recipe._start())[1]
    before = {name: part.clone() for name, part in model.named_parameters() if not part.requires_grad}
    learn(recipe, model, 30)
    assert all(torch.equal(part, dict(model.named_parameters())[name]) for name, part in before.items())

    folder = tmp_path / "root" / "tiny-vivid"
    variant = recipe.save(model, folder)
    assert (variant.source, variant.adapter) == ("../tiny-prompt", ".")
    assert not list(folder.glob("model*")) and (folder / "adapter_model.safetensors").stat().st_size < 8_000
    assert str(tmp_path) not in "".join(path.read_text() for path in folder.glob("*.json"))
    settings, prompts = GenerationSettings(num_beams=1), ["a white cat", "Generate a caption: the street"]
    family = recipe.saved(folder, variant, torch.device("cpu"))
    with torch.no_grad():
        for part in model.parameters():
            if part.requires_grad:
                part.copy_(part.bfloat16())
    around = CausalLM.around(model.eval(), recipe.tokenizer)
    said = [["".join(piece.text for piece in one.stream(None, prompt, settings)) for prompt in prompts]
            for one in (family, around)]
    assert said[0] == said[1]

    model.save_pretrained(tmp_path / "best", save_embedding_layers=False)  # as a stage leaves it
    again = recipe.load(tmp_path / "best")
    assert trainable(again) == (learning, total)
