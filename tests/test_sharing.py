"""Exporting and pushing: what leaves this machine loads elsewhere, says the same, and its card has what was measured.

The hub is a small one of our own on 127.0.0.1; the library that speaks to it is the real one.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import socket
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import narrator, sentence
from hub_uploads import KEY, OWNER
from peft import LoraConfig, PeftModel, get_peft_model
from plumbing import write_checkpoint
from small_hub import REPO, Repository, SmallHub, far, weights
from tiny_families import save_causal
from transformers import AutoModelForCausalLM, AutoTokenizer

from narrator import catalog
from narrator.adapters import add_adapter
from narrator.catalog import find_variant, read_variant
from narrator.families.causal_lm import CausalLM, load_model
from narrator.hub import pull
from narrator.hub.cards import CARD, card_of, measured, merged_card
from narrator.hub.exporting import export_variant
from narrator.hub.pushing import push_variant, token
from narrator.hub.tasks import Tasks
from narrator.records import NarratorError, Variant
from narrator.settings import GenerationSettings

GREEDY = GenerationSettings(num_beams=1, max_new_tokens=8, no_repeat_ngram_size=0)
SCORES = {"birds/captions.jsonl": {"cider_d": {"value": 0.5286, "low": 0.4964, "high": 0.565},
                                   "bleu_4": {"value": 0.219, "low": 0.2042, "high": 0.2333}}}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base and an adapter of it. Copy, do not change."""
    home = tmp_path_factory.mktemp("made")
    save_causal(home / "teller", "gpt2")
    lora = LoraConfig(r=2, target_modules=["c_attn"], init_lora_weights=False, task_type="CAUSAL_LM",
                      fan_in_fan_out=True)
    get_peft_model(load_model(home / "teller", "cpu"), lora).save_pretrained(home / "loud", save_embedding_layers=False)
    return home


@pytest.fixture
def own(small: SmallHub, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalog of "teller", measured and with a card, and "far" of the hub; the key that may write to anna's."""
    folder = tmp_path / "checkpoints"
    shutil.copytree(made / "teller", folder / "teller")
    (folder / "teller" / "metrics.json").write_text(json.dumps({"scores": SCORES}))
    (folder / "teller" / CARD).write_text("---\nlicense: mit\ntags: [small]\n---\n\n# Teller\n\nTells tales.\n")
    values = {name: value for name, value in dataclasses.asdict(far()).items() if value is not None}
    (tmp_path / "shipped.yaml").write_text(yaml.safe_dump({"bundled": [], "variants": [values]}))
    monkeypatch.setattr(catalog, "SHIPPED", tmp_path / "shipped.yaml")
    monkeypatch.setattr(catalog, "CHECKPOINTS", tmp_path / "none")
    monkeypatch.setenv("NARRATOR_CHECKPOINTS", str(folder))
    monkeypatch.setenv("HF_TOKEN", KEY)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    return folder


def said(variant: Variant) -> list[str]:
    family = CausalLM(variant, "cpu")
    return ["".join(piece.text for piece in family.stream(None, prompt, GREEDY)) for prompt in ("a dog", "the red cat")]


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(NarratorError) as refused:
        act()
    assert len(str(refused.value).splitlines()) == 1 and KEY not in str(refused.value)
    return str(refused.value)


def header(card: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(card.split("---")[1])
    return found


INDEX = [{"name": "teller", "results": [{
    "task": {"type": "text-generation"}, "dataset": {"name": "birds/captions.jsonl", "type": "birds"},
    "metrics": [{"type": "cider_d", "value": 0.5286}, {"type": "bleu_4", "value": 0.219}]}]}]


def test_what_is_pushed_can_be_pulled_and_says_the_same(own: Path, small: SmallHub, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    address = push_variant("teller", "anna/teller", report=lambda done, total: told.append((done, total)))
    assert address == f"{small.address}/anna/teller"
    repository = small.repositories["anna/teller"]
    assert not repository.private and {CARD, "variant.yaml", "config.json", "model.safetensors", "tokenizer.json",
                                       "metrics.json"} <= set(repository.files)
    lengths = sum(len(content) for name, content in repository.files.items() if name not in (CARD, "variant.yaml"))
    assert told[0][0] == 0 and told[-1] == (lengths, lengths) and [one for one, _ in told] == sorted(
        one for one, _ in told)
    card = repository.files[CARD].decode()
    assert "Tells tales." in card and header(card) == {
        "license": "mit", "pipeline_tag": "text-generation", "library_name": "transformers", "tags": ["small"],
        "model-index": INDEX}

    pulled = far(id="pulled", source="anna/teller", family="causal_lm")
    folder = pull(pulled)
    assert said(dataclasses.replace(pulled, source=str(folder))) == said(find_variant("teller"))
    assert measured(folder)["birds/captions.jsonl"]["cider_d"] == SCORES["birds/captions.jsonl"]["cider_d"]
    (folder / "metrics.json").unlink()
    assert measured(folder) == {"birds/captions.jsonl": {"cider_d": {"value": 0.5286}, "bleu_4": {"value": 0.219}}}

    sent = len(small.asked)
    assert push_variant("teller", "anna/teller") == address  # a second time: a commit on the same repository
    assert [row[1] for row in small.asked[sent:] if row[1].endswith("/commit/main")]


def test_private_means_private(own: Path, small: SmallHub) -> None:
    push_variant("teller", "anna/mine", private=True)
    assert small.repositories["anna/mine"].private
    small.repositories["anna/open"] = Repository(files={})
    assert "is there already, and public" in refusal(lambda: push_variant("teller", "anna/open", private=True))
    assert small.repositories["anna/open"].files == {}


def test_an_adapter_on_a_base_of_this_machine_goes_merged(own: Path, made: Path, small: SmallHub) -> None:
    add_adapter(made / "loud", "teller", name="loud")
    push_variant("loud", "anna/loud")
    repository = small.repositories["anna/loud"]
    assert "adapter_config.json" not in repository.files and "Adapter: loud" in repository.files[CARD].decode()
    folder = pull(far(source="anna/loud", family="causal_lm"))
    pulled = dataclasses.replace(find_variant("teller"), source=str(folder))
    assert said(pulled) == said(find_variant("loud")) != said(find_variant("teller"))


def test_an_adapter_on_a_base_of_the_hub_stays_one(own: Path, made: Path, small: SmallHub, tmp_path: Path) -> None:
    from small_hub import repository

    small.repositories["owner/teller"] = repository(made / "teller")
    values = {name: value for name, value in dataclasses.asdict(
        far(source="owner/teller", family="causal_lm")).items() if value is not None}
    catalog.SHIPPED.write_text(yaml.safe_dump({"bundled": [], "variants": [values]}))
    assert "is not on this machine: download owner/teller" in refusal(
        lambda: add_adapter(made / "loud", "far", name="loud"))
    pull(find_variant("far"))
    added = add_adapter(made / "loud", "far", name="loud")
    assert added.source == "owner/teller"
    out = export_variant("loud", tmp_path / "out")
    assert not (out / "model.safetensors").exists() and read_variant(out / "variant.yaml").source == "owner/teller"
    assert header((out / CARD).read_text())["base_model"] == "owner/teller"
    assert header((out / CARD).read_text())["library_name"] == "peft"
    assert str(made) not in "".join(path.read_text() for path in out.iterdir() if path.suffix != ".safetensors")
    base = AutoModelForCausalLM.from_pretrained(made / "teller")
    assert PeftModel.from_pretrained(base, out).peft_config["default"].base_model_name_or_path == "owner/teller"
    assert "is on the Hub already, as owner/teller" in refusal(lambda: push_variant("far", "anna/far"))
    from narrator.hub import local_folder, remove

    assert remove("loud") > 0 and local_folder(find_variant("far")) is not None  # the base stays


@pytest.mark.parametrize("name", ["out", "out.zip"])
def test_an_export_loads_in_transformers_and_in_another_narrator(own: Path, tmp_path: Path, name: str,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    there = tmp_path / "there"
    there.mkdir()
    done = narrator("export", "teller", "--out", there / name, checkpoints=own)
    assert done.returncode == 0 and "Exported: " in done.stdout and "(100%)" in done.stderr, done
    if name.endswith(".zip"):
        with zipfile.ZipFile(there / name) as archive:
            assert archive.testzip() is None
            archive.extractall(there)
    else:
        (there / "out").rename(there / "teller")
    expected = said(find_variant("teller"))
    monkeypatch.setenv("NARRATOR_CHECKPOINTS", str(there))
    variant = find_variant("teller")
    assert variant.source == str(there / "teller") and said(variant) == expected
    model = AutoModelForCausalLM.from_pretrained(there / "teller")
    assert model.num_parameters() == variant.parameters and len(AutoTokenizer.from_pretrained(there / "teller")) > 10
    assert header((there / "teller" / CARD).read_text())["model-index"] == INDEX
    assert not [path for path in there.iterdir() if path.name.startswith(".")]


def test_an_export_that_cannot_be(own: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    assert "is there already" in refusal(lambda: export_variant("teller", tmp_path / "there"))
    assert "is not on this machine" in refusal(lambda: export_variant("far", tmp_path / "x"))
    assert "cannot be written" in refusal(lambda: export_variant("teller", tmp_path / "none" / "x.zip"))
    write_checkpoint(own, "served", family="remote", source="http://127.0.0.1:1/v1#m")
    assert "runs on a server" in refusal(lambda: export_variant("served", tmp_path / "x"))
    (own / "teller" / "model.safetensors").write_bytes(weights(256)[:-5])
    assert "are cut short" in refusal(lambda: export_variant("teller", tmp_path / "x"))
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith((".", "x"))) == []


def test_pushes_that_are_refused(own: Path, small: SmallHub, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("", "teller", "../x/y", "https://x.org/a/b", "a/b/c", "anna/.x"):
        assert "is no name of a repository" in refusal(lambda name=name: push_variant("teller", name))  # type: ignore[misc]
    assert "does not let this key write to other/teller" in refusal(lambda: push_variant("teller", "other/teller"))
    small.repositories["other/teller"] = Repository(files={})
    assert "does not let this key write" in refusal(lambda: push_variant("teller", "other/teller"))
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "does not let this key write" in refusal(lambda: push_variant("teller", "anna/teller"))
    monkeypatch.setenv("HF_TOKEN", KEY)
    (own / "teller" / CARD).write_text("---\nlicense: NOT\n---\n")
    assert "does not take the header of its card" in refusal(lambda: push_variant("teller", "anna/teller"))
    (own / "teller" / CARD).write_text("---\n[unclosed\n---\n")
    assert "not valid YAML" in refusal(lambda: push_variant("teller", "anna/teller"))
    assert all(not repository.files for repository in small.repositories.values())


def test_a_push_needs_a_key_of_the_environment(own: Path, small: SmallHub, tmp_path: Path,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that lies in a file is not taken."""
    from huggingface_hub import constants

    (tmp_path / "token").write_text(KEY)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("HF_TOKEN")
    assert token() == "" and "set it as HF_TOKEN" in sentence(narrator("push", "teller", "--to", "anna/x",
                                                                       checkpoints=own))
    assert small.asked == []
    monkeypatch.setenv("HF_TOKEN", KEY)
    done = narrator("push", "teller", "--to", "anna/x", "--private", checkpoints=own)
    assert done.stdout == f"Pushed: {small.address}/anna/x\n" and KEY not in done.stdout + done.stderr
    assert small.repositories["anna/x"].private


@pytest.mark.parametrize("silent", [True, False], ids=["silent", "refused"])
def test_a_hub_that_is_not_there_is_told_within_three_seconds(own: Path, monkeypatch: pytest.MonkeyPatch,
                                                              silent: bool) -> None:
    from huggingface_hub import constants

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if silent:
            listener.listen()
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{listener.getsockname()[1]}")
        started = time.monotonic()
        assert "Tiny teller cannot be pushed: the hub" in refusal(lambda: push_variant("teller", "anna/teller"))
        assert time.monotonic() - started < 3


def test_cards(own: Path, tmp_path: Path) -> None:
    teller = find_variant("teller")
    (own / "teller" / CARD).unlink()
    plain = card_of(teller, own / "teller")
    assert header(plain)["license"] == "apache-2.0" and "# Tiny teller" in plain
    odd = dataclasses.replace(teller, license="qwen-research (non-commercial)")
    assert header(card_of(odd, tmp_path)) == {
        "license": "other", "license_name": "qwen-research (non-commercial)", "pipeline_tag": "text-generation",
        "library_name": "transformers"}
    for damaged in ('{"scores": 5}', "{", '{"scores": {"x": {"y": {"value": "high"}}}}', "[]"):
        (own / "teller" / "metrics.json").write_text(damaged)
        assert measured(own / "teller") == {} and "model-index" not in card_of(teller, own / "teller")
    for strange in ("---\nmodel-index: 5\n---\n", "---\nmodel-index: [{results: [{metrics: [{type: a, value: x}]}, 3]}]"
                    "\n---\n", "---\n- 1\n---\n", "---\n{{{\n---\n", "no header"):
        (own / "teller" / CARD).write_text(strange)
        assert measured(own / "teller") == {}
    assert "Not measured." in merged_card(dataclasses.replace(teller, adapter=str(tmp_path)), teller)


def ended(tasks: Tasks) -> Any:
    end = time.monotonic() + 120
    while (task := tasks.latest()) is None or task.state == "running":
        assert time.monotonic() < end
        time.sleep(0.02)
    return task


def test_in_the_background_one_at_a_time_with_progress_and_cancel(own: Path, small: SmallHub, tmp_path: Path) -> None:
    tasks = Tasks()
    assert tasks.latest() is None and not tasks.cancel()
    small.hold.clear()
    (tmp_path / "left").write_text("x")
    request = {"variant": "teller", "repo": f"{OWNER}/teller", "private": False}
    tasks.start("push", "Push of Teller", request, (tmp_path / "left",))
    assert "is under way" in refusal(lambda: tasks.start("push", "Push", request))
    end = time.monotonic() + 120
    while not (tasks.latest() or tasks).total:  # type: ignore[union-attr]
        assert time.monotonic() < end and tasks.latest().state == "running", tasks.latest()  # type: ignore[union-attr]
        time.sleep(0.02)
    before = threading.active_count()
    assert tasks.cancel()
    stopped = ended(tasks)
    assert stopped.state == "stopped" and not (tmp_path / "left").exists()
    assert small.repositories[f"{OWNER}/teller"].files == {} and before > 1
    small.hold.set()
    tasks.start("push", "Push of Teller", request)
    done = ended(tasks)
    assert (done.state, done.made, done.number) == ("done", f"{small.address}/anna/teller", 2)
    assert CARD in small.repositories["anna/teller"].files
    tasks.start("export", "Export of Far", {"variant": REPO, "out": str(tmp_path / "x.zip")})
    assert ended(tasks).state == "failed" and "There is no variant" in ended(tasks).says
