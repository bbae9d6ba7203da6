"""The house rules that a machine can hold: sizes, lengths, scripts, nothing of anyone's own machine."""

import ast
import importlib
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

LARGEST_BYTES = 10 * 1024 * 1024  # a Space refuses a larger file that is not in LFS
FILE_LINES, FUNCTION_LINES, PARAMETERS = 300, 40, 6
# What is longer, and why. "file" or "file:function" -> reason.
LONGER = {
    "narrator/knobs.py:knob": "what a setting declares, all by keyword but its default",
    "narrator/records.py:synthesize": "the protocol of the next",
    "narrator/speech/pyttsx3_engine.py:synthesize": "the page's controls, as the protocol has them, and a way to stop",
    "narrator/evaluate.py:evaluate": "what a person may ask of an evaluation, keyword-only after the first two",
}
# A path below the folders of one person or one machine, in the manner of Unix and of Windows.
OWN_PATH = re.compile(r"(?<![\w.:/-])/(?:root|home|Users|work|mnt|media)/[a-z]\w*|\b[A-Z]:\\\\?Users\\", re.IGNORECASE)


def files_of(root: Path) -> list[Path]:
    """What git tracks, and what it would track: new files count before their commit."""
    if shutil.which("git") is None or not (root / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            cwd=root, capture_output=True, text=True, check=True).stdout
    return [root / name for name in listed.split("\0") if name and (root / name).is_file()]


def text_of(path: Path) -> str | None:
    """None for a file that is not text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def test_no_file_over_ten_megabytes(root: Path) -> None:
    files = files_of(root)
    large = {str(path.relative_to(root)): path.stat().st_size for path in files if path.stat().st_size >= LARGEST_BYTES}
    assert len(files) > 30 and not large


def test_weights_are_safetensors_within_their_budget(root: Path) -> None:
    """At most 25 MB each, 100 MB together; nothing that unpickles code."""
    files = files_of(root)
    pickles = [path.name for path in files if path.suffix in {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"}]
    shards = [path for path in files if path.suffix == ".safetensors"]
    assert not pickles
    sizes: Counter[str] = Counter()
    for path in shards:
        sizes[path.parent.name] += path.stat().st_size
    assert sizes and sum(sizes.values()) <= 100_000_000
    assert not {name: size for name, size in sizes.items() if size > 25_000_000}


def lengths(path: Path) -> Iterator[tuple[str, int, int]]:
    """(name, lines, parameters) of the functions in a file; self and cls are not counted."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            every = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            yield node.name, lines, len([name for name in every if name not in ("self", "cls")])


def too_long(path: Path, name: str) -> Iterator[str]:
    """Every breach, as "file: 341 lines" or "file:function: 7 parameters"; LONGER is not looked at here."""
    lines = len(path.read_text(encoding="utf-8").splitlines())
    if lines >= FILE_LINES:
        yield f"{name}: {lines} lines"
    for function, lines, parameters in lengths(path):
        if lines >= FUNCTION_LINES:
            yield f"{name}:{function}: {lines} lines"
        if parameters > PARAMETERS and not name.startswith("tests/"):
            yield f"{name}:{function}: {parameters} parameters"


def test_files_and_functions_stay_short(root: Path) -> None:
    code = [path for path in files_of(root) if path.suffix == ".py"]
    faults = [fault for path in code for fault in too_long(path, path.relative_to(root).as_posix())
              if fault.rpartition(":")[0] not in LONGER]
    assert len(code) > 20 and not faults, "\n".join(faults)


def test_a_long_function_is_found(tmp_path: Path) -> None:
    path = tmp_path / "long.py"
    path.write_text("def f(a, b, c, d, e, f, g):\n" + "    a = b\n" * 40 + "\n" * 300)
    assert list(too_long(path, "long.py")) == ["long.py: 341 lines", "long.py:f: 41 lines", "long.py:f: 7 parameters"]


def test_every_exception_to_the_lengths_is_still_needed(root: Path) -> None:
    breaches = {fault.rpartition(":")[0] for name in {entry.partition(":")[0] for entry in LONGER}
                for fault in too_long(root / name, name)}
    assert LONGER.keys() <= breaches, f"short enough, take out: {LONGER.keys() - breaches}"


@pytest.mark.parametrize("text", ["see /" + "home/ada/photos", "cd /" + "root/x", "C:\\" + "Users\\ada"])
def test_a_path_of_a_machine_is_found(text: str) -> None:
    assert OWN_PATH.search(text)


def test_no_path_of_anyones_machine(root: Path) -> None:
    faults = []
    for path in files_of(root):
        for number, line in enumerate((text_of(path) or "").splitlines(), 1):
            if OWN_PATH.search(line):
                faults.append(f"{path.relative_to(root)}:{number}: {line.strip()[:100]}")
    assert not faults, "\n".join(faults)


def test_requirements_are_pinned_exactly(root: Path) -> None:
    lines = [line.split("#")[0].strip() for name in ("requirements.txt", "requirements-dev.txt")
             for line in (root / name).read_text().splitlines()]
    needs = [line for line in lines if line and line != "-r requirements.txt"]
    assert len(needs) > 20 and not [line for line in needs if not re.match(r"[\w.\[\]-]+==[\w.]+(;|$)", line)]


def imported_at_top(path: Path) -> set[str]:
    """The packages that a file imports when it is imported."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def test_every_import_is_required(root: Path) -> None:
    """Comes from Python, this project, requirements.txt, or what gradio and transformers cannot be without."""
    required = re.findall(r"^([\w.-]+)==", (root / "requirements.txt").read_text(), re.MULTILINE)
    required += ["fastapi", "starlette", "gradio-client", "pandas", "huggingface-hub", "tokenizers", "tqdm"]
    allowed = {name.lower().replace("_", "-") for name in required}
    owners = {top: {name.lower().replace("_", "-") for name in names}
              for top, names in packages_distributions().items()}
    own = {"app", "narrator", "trainer"} | set(sys.stdlib_module_names)
    files = [root / "app.py", *(root / "narrator").rglob("*.py"), *(root / "trainer").rglob("*.py")]
    foreign = [f"{path.name} imports {top}" for path in files for top in imported_at_top(path) - own
               if not allowed & owners.get(top, set())]
    assert len(files) > 20 and not foreign


@pytest.mark.parametrize("script", ["narrator", "trainer"])
def test_the_console_scripts_point_at_a_function(root: Path, script: str) -> None:
    target = tomllib.loads((root / "pyproject.toml").read_text())["project"]["scripts"][script]
    module, name = target.split(":")
    main: Callable = getattr(importlib.import_module(module), name)
    assert callable(main)


def test_packages_txt_holds_bare_names(root: Path) -> None:
    """A Space hands every word of the file to apt: a comment would be taken for packages."""
    words = (root / "packages.txt").read_text().split()
    assert words and all(re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", word) for word in words)
    assert not {"ffmpeg", "default-jre", "openjdk-17-jre"} & set(words)


def test_ci_runs_what_a_person_runs(root: Path) -> None:
    assert (root / ".ci" / "run").read_text().rstrip().endswith("make test")
