"""What the documentation says can be done: its Python runs, its commands parse, its links lead somewhere."""

from __future__ import annotations

import functools
import re
import shlex
import subprocess
from importlib import import_module
from pathlib import Path

import pytest

from snn_cace.cli import VERBS, find_verb, main
from snn_cace.commands import SHORT, make_parser, parameters, with_full_names
from snn_cace.config import Experiment, carried_slots, read_config

ROOT = Path(__file__).resolve().parents[1]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
GUIDES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
PAGES = [*GUIDES, *sorted((ROOT / "results").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
EXAMPLE = {"N": "1", "C": "0.5"}
"""What stands in a command for a number."""


def page_id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    return [text for found, text in BLOCK.findall(page.read_text(encoding="utf-8")) if found == language]


def slug(heading: str) -> str:
    """The anchor of a heading, as the site and code hosts make it."""
    return re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", heading).lower()).strip().replace(" ", "-")


def commands(text: str) -> list[list[str]]:
    """The words behind `snn-cace` on every line of a shell block."""
    lines = text.replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if re.match("snn-cace [^-]", line)]


@functools.cache
def parser_of(verb: str):
    """The parser of a verb, and the names of its function's parameters."""
    module, _, name = VERBS[verb][0].partition(":")
    function = getattr(import_module(f"snn_cace.commands.{module}"), name)
    return make_parser(verb, function), {parameter.name for parameter in parameters(function)}


@pytest.mark.parametrize("page", [page for page in TUTORIALS if blocks(page, "python")], ids=page_id)
def test_the_python_of_a_tutorial_runs(page: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    names: dict[str, object] = {}
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), names)


def test_the_neuron_of_its_guide_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    module, use = blocks(ROOT / "docs" / "how-to" / "neuron.md", "python")
    (config,) = blocks(ROOT / "docs" / "how-to" / "neuron.md", "yaml")
    (tmp_path / "resonator.py").write_text(module)
    (tmp_path / "resonator.yaml").write_text(config)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.syspath_prepend(tmp_path)
    exec(compile(use, "neuron.md", "exec"), {})
    assert capsys.readouterr().out.splitlines() == re.findall(r"# (\[.*\])", use)
    model = read_config(tmp_path / "resonator.yaml", Experiment).model
    neuron = model.spiking.neuron
    assert (neuron.omega, neuron.decay, neuron.cost(steps=4).macs) == (1.5, 0.9, 4)
    assert carried_slots(model, leaky=False) == ["temporal_encoder"]  # whose memory no control has


def write_videos(directory: Path) -> None:
    """Three videos of each of four classes, with their annotations."""
    media = pytest.importorskip("media")
    directory.mkdir(parents=True)
    names = [f"video-{number}" for number in range(12)]
    for name in names:
        media.write_video(directory / f"{name}.mp4")
    lines = [f"class {number % 4}&{name}&good&3&6\n" for number, name in enumerate(names)]
    (directory / "Annotations.txt").write_text("".join(lines))


@pytest.mark.usefixtures("undrawn")
@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in TUTORIALS if blocks(page, "sh")], ids=page_id)
def test_the_commands_of_a_tutorial_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """In this process, where PyTorch is imported, and in a directory with the repository's configs; but for the
    installation, the last study, and other seeds than one. Videos of a square and a tone stand in for games, which take
    minutes.
    """
    for name in ("configs", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    script = "\n".join(blocks(page, "sh")).replace("seeds: [0, 1]", "seeds: [0]")
    script = re.sub(r"^(make|source|python examples|.*runs/mine/full).*$", "", script, flags=re.MULTILINE)
    if page.stem == "ave":
        script = script.replace("snn-cace compare", "snn-cace compare --seeds 0")
        write_videos(tmp_path / "data" / "few-videos")
    monkeypatch.chdir(tmp_path)
    for part in re.split(r"^(snn-cace .*\n?)", script.replace("\\\n", " "), flags=re.MULTILINE):
        if part.startswith("snn-cace "):
            assert main(shlex.split(part)[1:]) == 0, part
        else:
            subprocess.run(["bash", "-ec", part], check=True)


@pytest.mark.parametrize("page", [page for page in GUIDES if blocks(page, "sh")], ids=page_id)
def test_the_commands_of_a_page_parse(page: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    for words in (words for block in blocks(page, "sh") for words in commands(block)):
        verb = find_verb(words)
        parser, taken = parser_of(verb)
        rest = [EXAMPLE.get(word, word) for word in words[len(verb.split()) :]]
        overridable = taken & {"experiment", "overrides"}
        parsed = parser.parse_args(with_full_names(rest) if overridable else rest, defaults=False)
        config = str(parsed.get("config", ""))
        assert not config.startswith("configs/") or (ROOT / config).is_file(), config


@pytest.mark.parametrize("page", GUIDES, ids=page_id)
def test_the_options_of_commands_in_a_text_exist(page: Path):
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for said in re.findall(r"`snn-cace ([^`]+)`", text):
        words = said.split()
        if words[0] == "VERB":
            continue
        known = {*parser_of(find_verb(words))[0]._option_string_actions, *SHORT, "--help", "--help.full"}
        assert {word for word in words if word.startswith("--")} <= known, said


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_the_links_of_a_page_lead_somewhere(page: Path):
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        linked = page.parent / name if name else page
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in [slug(heading) for heading in headings], target


def test_every_guide_is_in_the_site_and_the_index():
    """MkDocs warns of pages that the site leaves out; the index of the repository has each too."""
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    listed = {(ROOT / "docs" / target).resolve() for target in re.findall(r"\]\(([^)#]+)\)", index)}
    assert {page for page in (ROOT / "docs").rglob("*.md") if page.name != "README.md"} <= listed
