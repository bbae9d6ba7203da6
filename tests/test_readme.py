"""The README tells the truth: its marked commands run, the others exist, its tree and its links are real."""

import functools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import wave
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"(<!-- test -->\n)?^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARKED = [match[2] for match in BLOCK.finditer(README) if match[1]]
UNMARKED = [line for match in BLOCK.finditer(README) if not match[1] for line in match[2].splitlines()]
COMMAND = re.compile(r"python -m (narrator|trainer) ([a-z]+)(.*)")
KARPATHY = {"images": [{"filename": f"{split}.jpg", "split": split, "sentences": [{"raw": f"A {split} dog."}]}
                       for split in ("train", "restval", "val", "test")]}
COCO = {"images": [{"id": number, "file_name": f"{number:012}.jpg"} for number in range(2000)],
        "annotations": [{"image_id": number, "caption": f"Dog {number}."} for number in range(2000)]}


def name_of(block: str) -> str:
    """The narrator command of a block, or the file that it reads."""
    found = COMMAND.search(block) or re.search(r'open\("(\w+)', block)
    return found.group(2 if found.re is COMMAND else 1) if found else block[:20]


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like the project to a command, so that what commands write does not land in the project."""
    place = tmp_path_factory.mktemp("readme")
    for name in ("narrator", "trainer", "checkpoints", "benchmarks"):
        (place / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "assets", place / "assets")
    (place / "dataset_flickr8k.json").write_text(json.dumps(KARPATHY))
    (place / "captions_train2017.json").write_text(json.dumps(COCO))
    return place


def run(block: str, place: Path) -> subprocess.CompletedProcess[str]:
    """A block as a person would paste it into bash, with this environment's python first on the path."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(["bash", "-euo", "pipefail", "-c", block], cwd=place, env=os.environ | {"PATH": path},
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)


def results(printed: str) -> list[dict]:
    """The objects of a command's output: one JSON value, or one a line."""
    try:
        whole = json.loads(printed)
    except json.JSONDecodeError:
        return [json.loads(line) for line in printed.splitlines() if line.strip()]
    return whole if isinstance(whole, list) else [whole]


@pytest.mark.parametrize("block", MARKED, ids=[name_of(block) for block in MARKED])
def test_a_command_of_the_readme_runs(elsewhere: Path, block: str) -> None:
    done = run(block, elsewhere)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    if "--json" in block:
        rows = results(done.stdout)
        assert rows and not [row for row in rows if "error" in row]
    for name in re.findall(r"(?:--out|--speak) (\S+\.wav)", block):
        with wave.open(str(elsewhere / name)) as sound:
            assert sound.getnframes() / sound.getframerate() > 0.8  # seconds


def test_the_readme_was_swept() -> None:
    assert len(MARKED) >= 7 and {name_of(block) for block in MARKED} >= {
        "variants", "describe", "speak", "evaluate", "score", "dataset_flickr8k", "captions_train2017"}


def test_the_data_recipes_make_what_the_trainer_reads(elsewhere: Path) -> None:
    """The two conversions, on small files of the published formats, through the project's own reader."""
    from narrator.readers.gathering import read_examples

    for block in MARKED:
        if "json.load(open(" in block:
            assert run(block, elsewhere).returncode == 0
    for name in [f"flickr8k/images/{row['filename']}" for row in KARPATHY["images"]] + [
            f"coco_sample/images/{row['file_name']}" for row in COCO["images"]]:
        (elsewhere / "data" / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / "assets" / "icon-192.png", elsewhere / "data" / name)
    sizes = {(name, split): len(read_examples(elsewhere / "data" / name / "captions.jsonl", split=split, strict=True))
             for name in ("flickr8k", "coco_sample") for split in ("train", "dev")}
    assert sizes == {("flickr8k", "train"): 2, ("flickr8k", "dev"): 1,
                     ("coco_sample", "train"): 1816, ("coco_sample", "dev"): 152}
    texts = read_examples(elsewhere / "data" / "coco_captions" / "captions.jsonl", split=None, strict=True)
    assert [example.texts for example in texts[:2]] == [("Dog 1968.",), ("Dog 1969.",)] and len(texts) == 32


@functools.cache
def help_of(package: str, command: str) -> str:
    """What `python -m package command --help` prints."""
    done = subprocess.run([sys.executable, "-m", package, command, "--help"], cwd=ROOT, capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_other_command_exists() -> None:
    """Commands too long to run here: the subcommand, each flag and each file that is named is there."""
    found = [match.groups() for line in UNMARKED if (match := COMMAND.match(line))]
    for package, command, rest in found:
        words = shlex.split(rest)
        for flag in [word for word in words if word.startswith("--")]:
            assert flag in help_of(package, command), f"{package} {command} has no {flag}"
        assert all((ROOT / word).is_file() for word in words if word.endswith(".yaml")), rest
    assert {command for _, command, _ in found} >= {"run", "resume"}
    targets = re.findall(r"^make (\w+)$", "\n".join(UNMARKED), re.MULTILINE)
    assert targets == ["run", "test"]
    assert all(re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE) for target in targets)


def test_the_settings_of_the_training_commands_are_known() -> None:
    """Each `--set key=value` of the README is one that its preset takes."""
    from trainer.config import load_config

    lines = [line for line in UNMARKED if " run " in line and "--set" in line]
    for line in lines:
        words = shlex.split(line)
        preset = next(word for word in words if word.endswith(".yaml"))
        changes = [words[number + 1] for number, word in enumerate(words) if word == "--set"]
        assert changes and load_config(ROOT / preset, changes) != load_config(ROOT / preset)
    assert lines


def tree() -> dict[str, str]:
    """Path -> what the README says of it, from the tree: two spaces of indentation a level."""
    block = README.split("## The tree", 1)[1].split("```", 2)[1].strip("\n")
    said: dict[str, str] = {}
    parents: list[str] = []
    for line in block.splitlines():
        name, _, says = line.strip().partition(" ")
        depth = (len(line) - len(line.lstrip())) // 2
        parents[depth:] = [name]
        said["".join(parents)] = says.strip()
    return said


def test_every_path_of_the_tree_exists_and_says_something() -> None:
    said = tree()
    assert len(said) > 40
    missing = [path for path in said if not list(ROOT.glob(path.rstrip("/")))]
    assert not missing and not [path for path, says in said.items() if not says]


def test_every_source_file_has_its_line() -> None:
    """Sources of app, narrator and trainer; an __init__.py that holds only its docstring needs none."""
    files = [path for package in ("narrator", "trainer") for path in (ROOT / package).rglob("*")
             if path.suffix in {".py", ".yaml", ".js", ".css"} and path.name != "__init__.py"]
    names = {path.relative_to(ROOT).as_posix() for path in files} | {"app.py"}
    assert len(names) > 30
    assert names <= tree().keys(), f"no line in the tree of the README: {sorted(names - tree().keys())}"


def test_every_local_link_leads_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", README) if "://" not in link]
    assert len(links) >= 4 and not [link for link in links if not (ROOT / link.split("#")[0]).exists()]
