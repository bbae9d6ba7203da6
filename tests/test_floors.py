"""Who may import whom: app -> trainer -> narrator, and the floors inside each. Read from the sources, and run once."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# A module belongs to the longest prefix that fits it. It may import its own floor and those below, never above.
FLOORS = {
    "narrator": 0, "narrator.records": 0, "narrator.knobs": 0, "narrator.settings": 0, "narrator.pictures": 0,
    "narrator.turns": 0, "narrator.rows": 0, "narrator.files": 0, "narrator.wording": 0,
    "narrator.catalog": 1, "narrator.held_out": 1, "narrator.families": 1, "narrator.metrics": 1, "narrator.weights": 1,
    "narrator.processes": 1,
    "narrator.launched": 1, "narrator.keeping": 1, "narrator.readers": 1, "narrator.scene_types": 1,
    "narrator.engine": 2, "narrator.hub": 2, "narrator.adapters": 2, "narrator.adding": 2,
    "narrator.corrections": 2,
    "narrator.unpacking": 2, "narrator.archives": 2, "narrator.history": 2, "narrator.votes": 2,
    "narrator.speech": 2, "narrator.video": 2,
    "narrator.narrate": 3, "narrator.evaluate": 3,
    "narrator.batch": 4, "narrator.comparing": 4, "narrator.evaluation": 4,
    "narrator.uploads": 4, "narrator.api": 4, "narrator.ui": 4, "narrator.commands": 4, "narrator.__main__": 4,
    "trainer": 10, "trainer.config": 10, "trainer.events": 10, "trainer.together": 10, "trainer.hub_data": 10,
    "trainer.signals": 10, "trainer.changes": 10,
    "trainer.data": 11, "trainer.scenes": 11, "trainer.questions": 11, "trainer.jobs": 11, "trainer.failures": 11,
    "trainer.launch": 11,
    "trainer.card": 12, "trainer.evaluation": 12, "trainer.recipes": 12, "trainer.run": 12, "trainer.claims": 12,
    "trainer.queue": 12, "trainer.checkpoints": 12, "trainer.held_out": 12, "trainer.prepare": 12,
    "trainer.samples": 12, "trainer.before": 12, "trainer.draws": 12,
    "trainer.stages": 13, "trainer.watch": 13, "trainer.worker": 13, "trainer.archives": 13, "trainer.preflight": 13,
    "trainer.publishing": 13, "trainer.loop": 14, "trainer.doctor": 14, "trainer.tab": 15,
    "trainer.commands": 15, "trainer.__main__": 16,
    "app": 20,
}
# Narrower than the floors: of the trainer, these may import nothing else.
ONLY = {
    "trainer.tab": {"trainer.jobs", "trainer.queue", "trainer.events", "trainer.config", "trainer.archives",
                    "trainer.launch"},
    "trainer.jobs": {"trainer.events", "trainer.config", "narrator.processes"},
}
# Loading these takes seconds: only the rooms that compute with them may do so when imported ...
HEAVY = {"torch", "torchvision", "transformers", "peft", "accelerate", "datasets", "safetensors"}
MAY_BE_HEAVY = ("narrator.families", "trainer.recipes", "trainer.loop", "trainer.stages",
                "trainer.evaluation", "trainer.samples", "trainer.watch", "trainer.draws")
# ... and these never do, not even inside a function: they must answer while a training holds the machine.
NEVER_HEAVY = ("app", "trainer.tab", "trainer.jobs", "trainer.events", "trainer.config", "narrator.readers",
               "narrator.processes", "trainer.claims", "trainer.queue", "trainer.worker", "narrator.ui",
               "narrator.records", "narrator.knobs", "narrator.settings")
PACKAGES = ("narrator", "trainer")


def sources(root: Path) -> dict[str, Path]:
    """Module name -> file, for app.py and everything below the two packages."""
    found = {"app": root / "app.py"} if (root / "app.py").exists() else {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def prefix_of(module: str, prefixes: Iterator[str] | tuple[str, ...] | dict | set) -> str | None:
    """The longest of `prefixes` that is `module` or a package around it."""
    fitting = [prefix for prefix in prefixes if module == prefix or module.startswith(prefix + ".")]
    return max(fitting, key=len, default=None)


def floor_of(module: str) -> int | None:
    """None for a module that has no floor yet: the bare packages stand for their __init__ alone."""
    prefix = prefix_of(module, FLOORS)
    return None if prefix is None or (prefix in PACKAGES and module != prefix) else FLOORS[prefix]


def imports(path: Path, modules: set[str]) -> Iterator[tuple[int, str, bool]]:
    """(line, imported module, whether importing the file runs it); relative imports come as '.name'."""
    def walk(node: ast.AST, at_import: bool) -> Iterator[tuple[int, str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((child.lineno, alias.name, at_import) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = "." * child.level + (child.module or "")
                for alias in child.names:  # `from narrator import engine` imports narrator.engine
                    whole = f"{base}.{alias.name}"
                    yield child.lineno, whole if whole in modules else base, at_import
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                yield from (row for other in child.orelse for row in walk(other, at_import))
            else:
                inside = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
                yield from walk(child, at_import and not inside)
    yield from walk(ast.parse(path.read_text(encoding="utf-8"), str(path)), True)


def faults_of(module: str, line: int, target: str, at_import: bool) -> Iterator[str]:
    where, floor = f"{module}:{line}", floor_of(module)
    if target.startswith("."):
        yield f"{where}: relative import of {target}"
        return
    if target.split(".")[0] in HEAVY:
        if prefix_of(module, NEVER_HEAVY):
            yield f"{where}: imports {target}, which this room never does"
        elif at_import and not prefix_of(module, MAY_BE_HEAVY):
            yield f"{where}: imports {target} when it is imported itself; move it into the function that needs it"
    if target.split(".")[0] not in (*PACKAGES, "app"):
        return
    height = floor_of(target)
    if height is None or (floor is not None and height > floor):
        yield f"{where}: imports {target}, which stands above it or has no floor"
    only = prefix_of(module, ONLY)
    if only and target.startswith("trainer.") and not prefix_of(target, ONLY[only] | {only}):
        yield f"{where}: imports {target}; it may import of the trainer only {', '.join(sorted(ONLY[only]))}"


def sweep(root: Path) -> tuple[int, list[str]]:
    """(number of files read, every fault found)."""
    found = sources(root)
    faults = [f"{module}: has no floor; give it one in tests/test_floors.py"
              for module in found if floor_of(module) is None]
    for module, path in found.items():
        for line, target, at_import in imports(path, set(found)):
            faults += faults_of(module, line, target, at_import)
    return len(found), faults


def test_no_import_climbs(root: Path) -> None:
    swept, faults = sweep(root)
    assert not faults, "\n".join(faults)
    on_disk = sum(1 for package in PACKAGES for _ in (root / package).rglob("*.py")) + 1
    assert swept == on_disk >= 20, f"read {swept} of {on_disk} files"


SOUND = {
    "app.py": "import trainer.tab",
    "trainer/tab.py": "from trainer import jobs",
    "trainer/jobs.py": "import json",
    "trainer/loop.py": "import torch\nfrom narrator import records",
    "narrator/records.py": "",
    "narrator/engine.py": "",
    "narrator/narrate.py": "def run():\n    import torch\n    from narrator import engine",
    "narrator/ui/page.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch",
}
PLANTED = [
    ("narrator/engine.py", "import trainer.config", "stands above"),
    ("narrator/engine.py", "from narrator import narrate", "stands above"),
    ("narrator/metrics/bleu.py", "def score():\n    from narrator.ui.page import build", "stands above"),
    ("narrator/families/tiny.py", "from narrator.engine import Engine", "stands above"),
    ("narrator/history.py", "from .records import Narration", "relative import"),
    ("narrator/speech/loud.py", "import app", "stands above"),
    ("narrator/engine.py", "import torch", "move it into the function"),
    ("narrator/catalog.py", "class A:\n    from transformers import GPT2Model", "move it into the function"),
    ("narrator/ui/page.py", "def press():\n    import torch", "never does"),
    ("trainer/jobs.py", "def start():\n    from torch import nn", "never does"),
    ("trainer/jobs.py", "from trainer.loop import train", "stands above"),
    ("trainer/tab.py", "from trainer import loop", "may import of the trainer only"),
    ("narrator/novel.py", "import json", "has no floor"),
]


@pytest.mark.parametrize(("file", "line", "expected"), PLANTED, ids=[f"{row[0]}-{row[2]}" for row in PLANTED])
def test_a_planted_climb_is_found(tmp_path: Path, file: str, line: str, expected: str) -> None:
    """Each line alone in a small tree that is otherwise sound."""
    for name, text in SOUND.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert sweep(tmp_path) == (len(SOUND), [])
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(line)
    _, faults = sweep(tmp_path)
    assert faults and any(expected in fault for fault in faults), faults


@pytest.mark.parametrize("module", ["app", "narrator.api", "narrator.__main__", "trainer.jobs", "trainer.__main__"])
def test_importing_it_loads_no_torch(root: Path, module: str) -> None:
    """The sources may be right and a library still bring torch along: ask a fresh interpreter."""
    script = f"import sys, {module}; print(sorted({{'torch', 'transformers'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == "[]"
