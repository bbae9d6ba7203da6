"""The Train tab's form without a browser: every setting has a field, and what a field says is what is trained."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from narrator.knobs import knob
from narrator.records import NarratorError
from trainer.config import Lora, TrainingConfig, load_config, parse_config
from trainer.tab import data_sources, fields, form, places, starting, starts, upload_limit, widgets

PRESETS = sorted(starting.PRESETS.glob("*.yaml"))
ROWS = dict.fromkeys(fields.lists(), 0)
DATA = {"data": [{"path": "a.jsonl", "split": "train"}], "dev": [{"path": "a.jsonl", "split": "dev"}]}
CAPTIONS = ["A red square.", "A green square.", "A blue square.", "A red card.", "A green card.", "A blue card."]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page served to this machine alone, with folders of its own."""
    for name in ("NARRATOR_TRAINING", "SPACE_ID", "GRADIO_SERVER_NAME", "NARRATOR_MANAGE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("RUNS", "DATA", "HISTORY"):
        monkeypatch.setenv(f"NARRATOR_{name}", str(tmp_path / name.lower()))
    return tmp_path


@pytest.fixture
def one_more(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A setting that nobody has told the form of."""
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Longer(TrainingConfig):
        patience_s: float = knob(3.5, unit="seconds", low=1, high=60, says="How long it waits for you.")

    cached = (fields.fields, fields.lists, fields.groups)
    monkeypatch.setattr(fields, "TrainingConfig", Longer)
    for each in cached:
        each.cache_clear()
    yield
    for each in cached:
        each.cache_clear()


def pack(folder: Path, names: list[str], *, table: list[dict[str, Any]] | None = None) -> Path:
    """A zip of small pictures, each with a .txt beside it, or with rows of JSON lines."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "mine.zip", "w") as packed:
        for number, name in enumerate(names):
            Image.new("RGB", (40 + number, 32), (200 - 20 * number, 40, 30 * number)).save(folder / name)
            packed.write(folder / name, name)
            if table is None:
                packed.writestr(f"{Path(name).stem}.txt", CAPTIONS[number] + "\n")
        if table is not None:
            packed.writestr("captions.jsonl", "".join(json.dumps(row) + "\n" for row in table))
    return folder / "mine.zip"


def test_every_setting_has_a_control_with_its_words() -> None:
    import gradio as gr

    with gr.Blocks():
        shown = form.Form(fresh=dict)
        shown.state = gr.State(None)
        form.first_controls(shown)
        form.further_controls(shown)
    assert set(shown.controls) == set(fields.fields())
    for kind in (TrainingConfig, Lora, *fields.lists().values()):
        assert len(fields.fields_of(kind)) == len(dataclasses.fields(kind))
    rate = shown.controls["stages.learning_rate"]
    assert rate.label == "Learning rate (per step)" and "Peak step size" in rate.info and "1e-08 to 0.1" in rate.info
    assert "2,147,483,647" in shown.controls["seed"].info
    assert [value for _, value in shown.controls["recipe"].choices] == list(fields.fields()["recipe"].knob.choices)
    assert all(field.knob.says for field in fields.fields().values()), "each setting says what it means"


def test_a_new_knob_appears_by_itself(one_more: None) -> None:
    import gradio as gr

    with gr.Blocks():
        made = form.control(fields.fields()["patience_s"])
    assert made.label == "Patience s (seconds)" and made.info == "How long it waits for you. 1 to 60."
    assert "patience_s" in dict(form._sections())["Run"]


@pytest.mark.parametrize("preset", PRESETS, ids=[path.stem for path in PRESETS])
def test_a_preset_goes_through_the_form_unchanged(preset: Path, tmp_path: Path) -> None:
    config = load_config(preset)
    draft = fields.draft_of(config)
    for row in range(len(config.stages)):
        rows = ROWS | {"stages": row}
        assert fields.parse(fields.take(draft, rows, fields.show(draft, rows))) == config
    (tmp_path / "again.yaml").write_text(fields.to_yaml(draft), encoding="utf-8")
    assert load_config(tmp_path / "again.yaml") == config
    assert starting.start_from(f"preset:{preset.stem}") == draft and starting.summary(draft).endswith(".")


def test_what_is_typed_is_what_is_trained() -> None:
    draft = starting.start_from(starting.DEFAULT)
    shown = fields.show(draft, ROWS) | {"stages.epochs": 3, "seed": 7, "eval_limit": 20, "stages.batch_size": 4.0,
                                        "data.split": "", "data.limit": 12}
    config = fields.parse(fields.take(draft, ROWS, shown))
    assert (config.stages[0].epochs, config.seed, config.eval_limit, config.stages[0].batch_size) == (3.0, 7, 20, 4)
    assert config.data[0].split is None and config.data[0].limit == 12
    assert config.base == "checkpoints/photo-captioner" and config.recipe == "encoder_decoder"


def test_adapters_are_a_group_that_can_be_left_out() -> None:
    draft = starting.start_from("preset:blip-base-lora")
    shown = fields.show(draft, ROWS)
    assert shown["lora"] is True and shown["lora.targets"] == "query,key,value"
    assert fields.parse(fields.take(draft, ROWS, shown | {"lora.r": 4})).lora == dataclasses.replace(
        fields.parse(draft).lora or Lora(), r=4)
    without = fields.take(draft, ROWS, shown | {"lora": False})
    assert fields.parse(without).lora is None
    assert fields.parse(fields.take(without, ROWS, fields.show(without, ROWS) | {"lora": True})).lora == Lora()


BAD = [("stages.epochs", None, "'epochs' must be a number"), ("stages.epochs", -1, "'epochs' must be between 0 and"),
       ("seed", 1.5, "'seed' must be a whole number"), ("name", "My Captioner", "lower-case words"),
       ("recipe", "none", "'recipe' must be one of"), ("stages.name", "", "has no 'name'"),
       ("data.path", "", "has no 'path'"), ("stages.warmup", 2, "'warmup' must be between 0 and 1")]


@pytest.mark.parametrize(("key", "value", "says"), BAD, ids=[f"{row[0]}-{row[1]}" for row in BAD])
def test_a_bad_value_is_answered_in_a_sentence(key: str, value: Any, says: str) -> None:
    draft = starting.start_from(starting.DEFAULT)
    taken = fields.take(draft, ROWS, fields.show(draft, ROWS) | {key: value})
    with pytest.raises(NarratorError) as refused:
        fields.parse(taken)
    assert str(refused.value).startswith("The form") and says in str(refused.value)
    assert fields.show(taken, ROWS)[key] == value  # nothing is lost


def test_settings_of_another_recipe_are_left_out_and_hidden() -> None:
    draft = starting.start_from("preset:digit-reader")
    turned = fields.take(draft, ROWS, fields.show(draft, ROWS) | {"recipe": "hub_vlm", "base": "a/b"})
    assert fields.parse(turned).recipe == "hub_vlm" and "clusters" not in fields.settings(turned)
    assert not fields.fields()["clusters"].serves("hub_vlm") and fields.fields()["clusters"].serves("image_gpt")
    assert fields.fields()["lora.r"].serves("hub_vlm") and not fields.fields()["lora.r"].serves("image_gpt")


def test_stages_can_be_added_shown_and_removed(own: Path) -> None:
    state = starts.add(starts.first_state(starting.DEFAULT), "stages")
    assert state["rows"]["stages"] == 1 and fields.row_names(state["draft"], "stages") == ["1. tune", "2. stage-1"]
    state = state | {"draft": fields.take(state["draft"], state["rows"], {"stages.epochs": 2})}
    assert [stage.epochs for stage in fields.parse(state["draft"]).stages] == [10.0, 2.0]
    state = starts.take_out(starts.turn_to(state, "stages", 0), "stages")
    assert fields.row_names(state["draft"], "stages") == ["1. stage-1"] and state["rows"]["stages"] == 0
    empty = starts.take_out(starts.take_out(state, "stages"), "stages")
    with pytest.raises(NarratorError, match="'stages' is empty"):
        fields.parse(fields.take(empty["draft"], empty["rows"], fields.show(empty["draft"], empty["rows"])))


PLACES = [({"data": [{"path": "../secret"}]}, "not below the data folder"),
          ({"dev": [{"path": "/etc/passwd"}]}, "not below the data folder"),
          ({"data": [{"path": "hub:../x/y"}]}, "not below the data folder"),
          ({"data": [{"path": "link/a.jsonl"}]}, "not below the data folder"),
          ({"base": "/etc"}, "neither checkpoints/ID"), ({"base": "checkpoints/../../etc"}, "neither checkpoints/ID"),
          ({"encoder": "../x"}, "neither checkpoints/ID"), ({"decoder": "https://x.example"}, "neither checkpoints/ID")]


@pytest.mark.parametrize(("changes", "says"), PLACES, ids=[str(row[0]) for row in PLACES])
def test_a_visitor_names_no_file_outside(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    fine = {"name": "x", "stages": [{"name": "s"}], **DATA}
    starting.check_places(parse_config(fine | {"base": "checkpoints/photo-captioner"}, "t"), root)
    starting.check_places(parse_config(fine | {"base": "gpt-2", "data": [{"path": "hub:owner/set"}]}, "t"), root)
    with pytest.raises(NarratorError, match=says):
        starting.check_places(parse_config(fine | changes, "t"), root)


def test_yaml_is_loaded_or_refused_and_nothing_is_lost(own: Path, tmp_path: Path) -> None:
    state = starts.first_state(starting.DEFAULT)
    text, line = starts.as_text(state)
    assert line.startswith("python -m trainer start my-captioner.yaml --data-root ") and text.startswith(f"# {line}\n")
    again = starts.load_settings(state, text.replace("my-captioner", "my-other"))
    assert again["draft"] == state["draft"] | {"name": "my-other"}
    for bad, says in (("name: [", "cannot be read as YAML"), ("nam: x", "Did you mean 'name'?"), ("", "no settings")):
        with pytest.raises(NarratorError) as refused:
            starts.load_settings(state, bad)
        said = str(refused.value)
        assert says in said and said.startswith("The YAML") and "/tmp" not in said
    (tmp_path / "mine.yaml").write_text(text)
    assert starts.uploaded_settings(state, tmp_path / "mine.yaml")["draft"] == state["draft"]


def test_an_upload_is_split_by_picture_and_can_be_started_from(own: Path) -> None:
    archive = pack(own / "given", [f"p{number}.png" for number in range(6)])
    found = asyncio.run(data_sources.from_upload([str(archive)]))
    state = starts.with_source(starts.first_state(starting.DEFAULT), found)
    config = starts.checked(state)
    rows = [json.loads(line) for line in (found.root / config.data[0].path).read_text().splitlines()]
    assert {row["split"] for row in rows} == {"train", "dev"} and len(rows) == 6 and "captions" in found.says
    assert config.data[0].split == "train" and config.dev[0].split == "dev" and config.text == []
    assert found.root == own / "data" and not list((found.root / "uploads").rglob("given"))
    kept = starts.choose_start(state, "preset:photo-captioner")
    assert kept["draft"]["data"] == state["draft"]["data"] and kept["draft"]["text"] == []


def test_an_upload_with_splits_of_its_own_keeps_them(own: Path) -> None:
    table: list[dict[str, Any]] = [{"image": f"p{number}.png", "captions": [CAPTIONS[number]],
                                    "split": "val" if number > 3 else "train"} for number in range(6)]
    archive = pack(own / "given", [row["image"] for row in table], table=table)
    found = asyncio.run(data_sources.from_upload([str(archive)]))
    assert [row["split"] for row in (*found.data, *found.dev)] == ["train", "val"] and "4 rows" in found.says
    starts.checked(starts.with_source(starts.first_state(starting.DEFAULT), found))


def test_what_cannot_be_learned_from_is_told_and_leaves_nothing(own: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.zip").write_bytes(b"no zip")
    for given, says in (([], "nothing to learn from"), ([str(tmp_path / "notes.zip")], "no zip archive")):
        with pytest.raises(NarratorError, match=says):
            asyncio.run(data_sources.from_upload(given))
    assert not list((own / "data").rglob("*.zip")) and not list((own / "data" / "uploads").iterdir())
    with pytest.raises(NarratorError, match="Upload a zip"):
        starts.checked(starts.first_state(starting.DEFAULT))
    with pytest.raises(NarratorError, match="No correction"):
        data_sources.from_corrections()
    for name, train, dev, says in (("no name", "train", "dev", "owner/name"), ("a/b", "train", "train", "two splits"),
                                   ("../a", "train", "dev", "owner/name")):
        with pytest.raises(NarratorError, match=says):
            data_sources.from_hub(name, train, dev, 10)
    hub = data_sources.from_hub("owner/pictures", "train", "test", 50)
    assert starts.checked(starts.with_source(starts.first_state(starting.DEFAULT), hub)).data[0].limit == 50


def test_corrections_are_copied_as_they_are(own: Path) -> None:
    from narrator.corrections import corrections_of

    for number in range(4):
        picture = Image.effect_noise((32 + number, 32), 60).convert("RGB")
        corrections_of().keep(picture, before="a dog", after=f"A cat {number}.", variant="photo-captioner")
    state = starts.with_source(starts.first_state(starting.DEFAULT), data_sources.from_corrections())
    config = starts.checked(state)
    text = (Path(state["root"]) / config.data[0].path).read_text()
    assert text.count('"train"') + text.count('"dev"') == 4 and {row.split for row in config.dev} == {"dev"}
    corrections_of().clear()
    assert (Path(state["root"]) / config.data[0].path).is_file()


def test_where_training_is_on_and_what_is_lost(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert places.training_is_on() and places.notice() == "" and upload_limit() == {"max_file_size": "1gb"}
    monkeypatch.setenv("SPACE_ID", "a/b")
    assert not places.training_is_on() and upload_limit() == {}
    monkeypatch.setenv("NARRATOR_TRAINING", "on")
    assert places.training_is_on() and "no storage that lasts" in places.notice() and "Everyone" in places.notice()
    monkeypatch.delenv("SPACE_ID")
    monkeypatch.setenv("NARRATOR_TRAINING", "off")
    assert not places.training_is_on()
    with pytest.raises(NarratorError, match="turned off"):
        starts.start(starts.first_state(starting.DEFAULT))


@pytest.mark.parametrize("payload", [{"path": "/etc/passwd"}, {"path": "http://127.0.0.1:9/a.zip"}])
def test_only_uploaded_files_are_taken(payload: dict[str, str], tmp_path: Path,
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    import gradio as gr

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    with gr.Blocks():
        area, button = widgets.upload_area(label="x"), widgets.upload_button("x")
    (tmp_path / "a.zip").write_bytes(b"x")
    assert area.preprocess([{"path": str(tmp_path / "a.zip")}]) == [str(tmp_path / "a.zip")]
    for part in (area, button):
        with pytest.raises(gr.Error):
            part.preprocess([payload])
    with pytest.raises(gr.Error, match="Web addresses"):
        asyncio.run(area.async_move_resource_to_block_cache("http://127.0.0.1:9/a.zip"))
