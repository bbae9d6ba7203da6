"""Counts the questions that data gives, and what answers score without a look at the picture; prints the word lists.

python -m trainer.questions data/flickr8k shared/data/coco_sample --split dev
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from narrator.readers.gathering import read_examples
from narrator.records import NarratorError
from trainer.questions import KINDS, Asked, companions, questions
from trainer.questions.place import PLACES
from trainer.questions.things import (
    CLOTHES,
    COLOURED,
    COLOURED_CLOTHES,
    COLOURED_OBJECTS,
    COUNTED,
    CROWDS,
    PEOPLE,
    THINGS,
)
from trainer.questions.words import ALONE, COLOURS, NUMBERS, PATTERNED, WITH_OBJECT


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table or the lists; 2 after an error that a person can mend."""
    parser = argparse.ArgumentParser(prog="python -m trainer.questions", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", nargs="*", type=Path, help="files or folders of captions")
    parser.add_argument("--split", help="count this split alone; things seen together are learned from the split train")
    parser.add_argument("--words", action="store_true", help="print the word lists instead")
    options = parser.parse_args(arguments)
    try:
        print(word_lists() if options.words else counted(options.data, options.split))
    except NarratorError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def counted(data: Sequence[Path], split: str | None) -> str:
    """A row for each set and kind: how many, how many answers, the best constant answer, the best one for each noun."""
    if not data:
        raise NarratorError("Name at least one file or folder of captions.")
    seen = companions([example for path in data for example in read_examples(path, split="train" if split else None)])
    rows = ["| data | pictures | kind | questions | answers | majority answer | share | best by noun |",
            "|---|---|---|---|---|---|---|---|"]
    for path in data:
        examples = read_examples(path, split=split)
        asked = [question for example in examples for question in questions(example, seen)]
        rows += [row for kind in KINDS
                 if (row := _row(f"{path.name} {split or ''}", len(examples), kind, asked))]
    return "\n".join(rows)


def _row(name: str, pictures: int, kind: str, asked: Sequence[Asked]) -> str:
    of_kind = [question for question in asked if question.kind == kind]
    if not of_kind:
        return ""
    answer, votes = Counter(question.answer for question in of_kind).most_common(1)[0]
    nouns: dict[str, Counter[str]] = {}
    for question in of_kind:
        nouns.setdefault(question.about, Counter())[question.answer] += 1
    blind = sum(max(answers.values()) for answers in nouns.values())
    different = len({question.answer for question in of_kind})
    return (f"| {name.strip()} | {pictures:,} | {kind} | {len(of_kind):,} | {different} | {answer} | "
            f"{votes / len(of_kind):.1%} | {blind / len(of_kind):.1%} |")


def word_lists() -> str:
    """The lists that decide what is asked and answered, as docs/questions.md prints them."""
    parts = [f"**{title}**: {', '.join(sorted(words))}." for title, words in _lists()]
    parts.append("**Things asked for by presence** (other names; *no answer \"no\" beside*; ~~no answer beside~~):")
    parts += [f"- {name}: {_words(thing.names - {name})}; *{_words(thing.hints)}*; ~~{_words(thing.doubts)}~~"
              for name, thing in sorted(THINGS.items())]
    parts.append("**Places** (nouns; kin that do not contradict):")
    parts += [f"- {answer}: {_words(nouns)}; {_words(kin)}" for answer, (nouns, kin) in PLACES.items()]
    return "\n".join(parts)


def _lists() -> Iterable[tuple[str, Iterable[str]]]:
    yield "Colours", {f"{name} ({answer})" if name != answer else name for name, answer in COLOURS.items()}
    yield "Patterns that forbid a colour", PATTERNED
    yield "Numbers", {name for name in NUMBERS if not name.isdigit()}
    yield "People", PEOPLE
    yield "People of unknown number", CROWDS
    yield "Clothes", CLOTHES
    yield "Asked for their colour", COLOURED | COLOURED_CLOTHES | COLOURED_OBJECTS
    yield "Counted beside people", COUNTED
    yield "Activities that are an answer alone", ALONE
    yield "Activities that need what they are done to", WITH_OBJECT


def _words(words: Iterable[str]) -> str:
    return " ".join(sorted(words)) or "-"


if __name__ == "__main__":
    sys.exit(main())
