"""LLaVA-Instruct: [{"id", "image", "conversations": [{"from": "human", "value"}, {"from": "gpt", "value"}, ...]}].

The layout is that of https://huggingface.co/datasets/liuhaotian/LLaVA-Instruct-150K. Each answer is a row of its own,
and its prompt holds the turns before it: see `dialogue`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from narrator.readers.rows import BadRow, Row, show

IMAGE = "<image>"  # where the original's prompt has the picture; here the family puts it in
ANSWERS = 64  # of one conversation: prompts grow with every turn, and longer ones are no longer about a picture


def dialogue(turns: Sequence[tuple[str, str]], question: str) -> str:
    """A question after earlier turns, in the plain form that a model here is trained on and asked in.

    turns: (question, answer) from the first on. Without any the question stands alone; with them it is
    "Question: Q1 Answer: A1 Question: Q2".
    """
    if not turns:
        return question
    return " ".join([f"Question: {asked} Answer: {answer}" for asked, answer in turns] + [f"Question: {question}"])


def is_llava(data: Any) -> bool:
    """Whether the loaded JSON has this layout: a list in which an entry has conversations."""
    return isinstance(data, list) and any(isinstance(entry, dict) and "conversations" in entry for entry in data)


def read(path: Path, data: list[Any]) -> Iterator[Row | BadRow]:
    """A Row for each answer of the loaded `data`, in its order; a BadRow for each entry, or rest of one, of no use."""
    for number, entry in enumerate(data, start=1):
        where = f"{path}, entry {number}"
        try:
            yield from _answers(entry, where)
        except BadRow as bad:
            yield bad


def _answers(entry: Any, where: str) -> Iterator[Row]:
    """The rows before the first turn that cannot be used, which raises BadRow."""
    if not isinstance(entry, dict):
        raise BadRow(where, f"must be a JSON object, not {show(entry)}")
    conversation = entry.get("conversations")
    if not isinstance(conversation, list) or not conversation:
        raise BadRow(where, "needs 'conversations', a list of turns")
    turns: list[tuple[str, str]] = []
    for number in range(1, len(conversation), 2):
        here = f"{where}, turn {number + 1}"
        question = _said(conversation[number - 1], "human", f"{where}, turn {number}").replace(IMAGE, " ")
        question = " ".join(question.split())
        if not question:
            raise BadRow(f"{where}, turn {number}", "asks nothing")
        if entry.get("image") is None and IMAGE in conversation[number - 1]["value"]:
            raise BadRow(where, f"speaks of {IMAGE} and names no picture in 'image'")
        answer = _said(conversation[number], "gpt", here)
        if len(turns) == ANSWERS:
            raise BadRow(here, f"is after the {ANSWERS} answers that one conversation may have")
        yield Row(where=here, image=entry.get("image"), texts=[answer], split=entry.get("split"),
                  prompt=dialogue(turns, question))
        turns.append((question, " ".join(answer.split())))
    if len(conversation) % 2:
        raise BadRow(f"{where}, turn {len(conversation)}", "has no answer after it")


def _said(turn: Any, who: str, where: str) -> str:
    """What a turn says, when it is the turn of `who`."""
    if not isinstance(turn, dict) or not isinstance(turn.get("value"), str):
        raise BadRow(where, "needs 'from' and a text 'value'")
    if turn.get("from") != who:
        raise BadRow(where, f"must be from {who!r}, not from {show(turn.get('from'))}; human and gpt take turns")
    value: str = turn["value"]
    if not value.strip():
        raise BadRow(where, "is empty")
    return value
