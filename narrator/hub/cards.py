"""Model cards as the Hub reads them: a header with `model-index`, written from the measured report, and Markdown.

https://huggingface.co/docs/hub/model-cards; the report is the metrics.json that the trainer leaves beside the weights.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from narrator.files import write_whole
from narrator.records import NarratorError, Variant

CARD, REPORT = "README.md", "metrics.json"
TASKS = {"causal_lm": "text-generation", "encoder_decoder": "image-to-text", "hub_vlm": "image-text-to-text",
         "image_gpt": "image-classification", "projector_lm": "visual-question-answering"}
Measured = dict[str, dict[str, dict[str, float]]]  # data set -> metric -> value and, where they are known, low and high
_LICENSE = re.compile(r"[a-z0-9.-]+")
_MOST_BYTES = 2**20


def measured(folder: Path) -> Measured:
    """The scores of a checkpoint's report, else of its card's `model-index`, which knows no intervals; {} where neither
    can be read."""
    return _report(folder) or indexed(_header(_read(folder / CARD))[0])


def card_of(variant: Variant, folder: Path) -> str:
    """The card to share with a variant: its own words, and a header that says what the report says.

    Raises NarratorError where its card has a header that cannot be read.
    """
    header, body = _header(_read(folder / CARD), strict=f"{folder / CARD}")
    fresh = {**_license(variant.license), "pipeline_tag": TASKS.get(variant.family), "library_name": "transformers"}
    if variant.adapter is not None:  # what PEFT writes there by itself are paths of the machine that trained it
        header |= {"base_model": variant.source, "library_name": "peft"}
        header["tags"] = [tag for tag in _list(header.get("tags")) if not str(tag).startswith("base_model:")]
    header = {**{name: value for name, value in fresh.items() if value}, **header}
    report = _report(folder)
    if report:
        header["model-index"] = model_index(variant, report)
    return _written(header, body.strip() or f"# {variant.title}\n\n{variant.provenance}")


def license_of(folder: Path) -> str:
    """The licence that a folder's card names; "" where it names none."""
    header = _header(_read(folder / CARD))[0]
    said = header.get("license_name") if header.get("license") == "other" else header.get("license")
    return str(said or "")[:80]


def merged_card(variant: Variant, made: Variant) -> str:
    """The card of an adapter that was merged: of what, and what was measured before. It has no `model-index`, as the
    merged weights, which are rounded, have not been measured themselves."""
    folder = Path(variant.adapter or ".")
    header: dict[str, Any] = {**_license(variant.license), "pipeline_tag": TASKS.get(variant.family),
                              "library_name": "transformers", "tags": ["merged-adapter"]}
    if not Path(variant.source).is_absolute():
        header["base_model"] = variant.source
    base = Path(variant.source).name if Path(variant.source).is_absolute() else variant.source
    revision = f" (revision {variant.revision})" if variant.revision else ""
    lines = [f"# {made.title}", "", made.provenance, "", "## What was merged", "",
             f"- Base: {base}{revision}", f"- Adapter: {variant.id}, {_rank(folder)}",
             "- Weights: W + (alpha / r) B A, rounded to bfloat16; it needs neither PEFT nor the base.", "",
             "## Scores", ""]
    before = measured(folder)
    if before:
        lines += ["The merged weights have not been measured. Base and adapter had these before:", "",
                  "| data | score | value | 95 % interval |", "| --- | --- | --- | --- |", *_rows(before), ""]
    else:
        lines += ["Not measured.", ""]
    lines += ["```console", f"python -m narrator evaluate --variant {made.id} --data FILE.jsonl", "```"]
    return _written(header, "\n".join(lines))


def model_index(variant: Variant, report: Measured) -> list[dict[str, Any]]:
    """The Hub's `model-index` (https://github.com/huggingface/hub-docs/blob/main/modelcard.md)."""
    task = TASKS.get(variant.family, "other")
    return [{"name": variant.id, "results": [
        {"task": {"type": task}, "dataset": {"name": data, "type": data.split("/")[0]},
         "metrics": [{"type": name, "value": score["value"]} for name, score in scores.items()]}
        for data, scores in report.items()]}]


def indexed(header: Mapping[str, Any]) -> Measured:
    """The figures of a `model-index`; whatever in it is of another form is left out."""
    found: Measured = {}
    for model in _list(header.get("model-index")):
        for result in _list(_dict(model).get("results")):
            data = _dict(_dict(result).get("dataset"))
            name = str(data.get("name") or data.get("type") or "unknown data")
            for metric in map(_dict, _list(_dict(result).get("metrics"))):
                value = metric.get("value")
                if isinstance(value, (int, float)) and not isinstance(value, bool):
                    found.setdefault(name, {})[str(metric.get("type") or metric.get("name"))] = {"value": float(value)}
    return found


def keep_measured(folder: Path, data: str, scores: Mapping[str, Mapping[str, float]]) -> None:
    """Put the scores on a data set into a checkpoint's report, in place of earlier ones on it; all else in it stays.
    Raises NarratorError where the report is damaged or cannot be written."""
    path = folder / REPORT
    try:
        values = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        values["scores"] = {**values.get("scores", {}), data: dict(scores)}
        write_whole(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise NarratorError(f"{path} is damaged: restore it, or delete it, then try again.") from None
    except OSError as error:
        raise NarratorError(f"{path} cannot be written ({error.strerror}). Check its permissions.") from None


def _report(folder: Path) -> Measured:
    try:
        sets = json.loads(_read(folder / REPORT) or "{}").get("scores", {})
        return {str(data): {str(name): {key: float(score[key]) for key in ("value", "low", "high")}
                            for name, score in scores.items()} for data, scores in sets.items() if scores}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST_BYTES:
            return ""
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _header(text: str, strict: str = "") -> tuple[dict[str, Any], str]:
    """(header, body) of a card. strict: the name by which a header that cannot be read is refused; "" takes it for
    none."""
    from huggingface_hub.repocard import REGEX_YAML_BLOCK

    found = REGEX_YAML_BLOCK.search(text)
    if found is None:
        return {}, text
    try:
        header = yaml.safe_load(found.group(2)) or {}
    except (yaml.YAMLError, RecursionError):
        header = None
    if not isinstance(header, dict):
        if strict:
            raise NarratorError(f"{strict} has a header that is not valid YAML: correct it, then try again.")
        header = {}
    return header, text[found.end():]


def _written(header: Mapping[str, Any], body: str) -> str:
    kept = {name: value for name, value in header.items() if value}
    return f"---\n{yaml.safe_dump(kept, sort_keys=False, allow_unicode=True).strip()}\n---\n\n{body.strip()}\n"


def _license(said: str) -> dict[str, str]:
    """The Hub takes short names only; any other terms are told under `license_name`."""
    if not said:
        return {}
    short = said.lower()
    return {"license": short} if _LICENSE.fullmatch(short) else {"license": "other", "license_name": said}


def _rank(adapter: Path) -> str:
    try:
        settings = _dict(json.loads(_read(adapter / "adapter_config.json")))
    except ValueError:
        settings = {}
    return f"LoRA of rank {settings.get('r', 'unknown')}, alpha {settings.get('lora_alpha', 'unknown')}"


def _rows(report: Measured) -> list[str]:
    return [f"| {data} | {name} | {score['value']:.3f} | "
            + (f"{score['low']:.3f} to {score['high']:.3f} |" if "low" in score else "unknown |")
            for data, scores in report.items() for name, score in scores.items()]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
