"""What a variant can be asked to do where that is a choice and no free text. Imports no torch: the page asks."""

from __future__ import annotations

import dataclasses

from narrator.records import Variant


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mode:
    """One of the things that a family does. prompt: how it is asked for; image: whether it looks at a picture."""

    prompt: str
    title: str
    image: bool = True

    @property
    def id(self) -> str:
        """`generate 7` -> `generate-7`, as the command line calls it."""
        return self.prompt.replace(" ", "-")


_DIGITS = (Mode(prompt="classify", title="Read the digit"),
           Mode(prompt="continue", title="Draw the lower half anew"),
           Mode(prompt="next", title="Tell what comes after the upper half"),
           *(Mode(prompt=f"generate {digit}", title=f"Draw a {digit}", image=False) for digit in range(10)))
MODES: dict[str, tuple[Mode, ...]] = {"image_gpt": _DIGITS}  # by family, the usual one first


def modes_of(variant: Variant | None) -> tuple[Mode, ...]:
    """The modes of a variant, () where it takes free text or none."""
    return MODES.get(variant.family, ()) if variant is not None else ()


def find_mode(variant: Variant | None, prompt: str) -> Mode | None:
    """The mode that a prompt asks for, None where it is none: the family says what is wrong with it."""
    asked = " ".join(prompt.lower().split())
    return next((mode for mode in modes_of(variant) if asked in (mode.prompt, mode.id)), None)
