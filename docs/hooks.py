"""What MkDocs does not do by itself: pages from outside docs/, and reference tables made from the code.

`results/`, README.md, CONTRIBUTING.md and CHANGELOG.md become pages of the site. Links between pages are written for a
reader of the repository; here they are rewritten for the site. A comment `<!-- name -->` in a page of docs/reference is
replaced by what the function of that name in `GENERATED` writes, from docstrings and the signatures of verbs.
"""

from __future__ import annotations

import dataclasses
import operator
import os
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from docstring_parser import parse
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from snn_cace.cli import VERBS
from snn_cace.commands import make_parser, options_of, parameters
from snn_cace.comparison.plan import Comparison
from snn_cace.config import Experiment, Slot, SlotsConfig

ROOT = Path(__file__).resolve().parents[1]
SINGLE = {"README.md": "overview.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Files of the repository's root that are pages, and what the site calls them."""
COMPARED = {operator.gt: "above", operator.ge: "at least", operator.lt: "below", operator.le: "at most"}
"""The comparisons of restricted numbers, in words."""
LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)#:\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and pictures that lie outside docs/."""
    outside = [(path, path.relative_to(ROOT).as_posix()) for path in sorted((ROOT / "results").rglob("*"))]
    outside += [(ROOT / name, page) for name, page in SINGLE.items()]
    for path, uri in outside:
        if path.suffix in (".md", ".svg", ".png"):
            files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Write what is generated into a page, and links for the site."""
    for name, write in GENERATED.items():
        if f"<!-- {name} -->" in markdown:
            markdown = markdown.replace(f"<!-- {name} -->", "\n".join(write()))
    source = Path(str(page.file.abs_src_path))

    def for_the_site(found: re.Match[str]) -> str:
        text, target, anchor = found.groups()
        uri = site_uri((source.parent / target).resolve())
        if uri is None:
            return text
        return f"[{text}]({os.path.relpath(uri, Path(page.file.src_uri).parent)}{anchor or ''})"

    return LINK.sub(for_the_site, markdown)


def site_uri(path: Path) -> str | None:
    """Where the site has a file of the repository; None where it has not. What is missing stays, for MkDocs to name."""
    if not path.exists() or path.is_relative_to(ROOT / "docs"):
        return os.path.relpath(path, ROOT / "docs")
    name = path.relative_to(ROOT).as_posix()
    if path == ROOT / "results":
        return "results/demo.md"
    return SINGLE.get(name) or (name if name.startswith("results/") and path.suffix != ".json" else None)


def experiment_keys() -> Iterator[str]:
    """A section of the page for every section of an experiment; the five slots have one together."""
    yield from sections("", Experiment)


def comparison_keys() -> Iterator[str]:
    """The same of a comparison."""
    yield from sections("", Comparison, "A comparison")


def sections(key: str, config_class: type, title: str = "An experiment") -> Iterator[str]:
    """The table of a dataclass, then those of the dataclasses within it."""
    hints = get_type_hints(config_class)
    inner = {name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)}
    yield from [
        "",
        f"## {f'`{key}`' if key else title}",
        "",
        *table(config_class, [n for n in hints if n not in inner]),
    ]
    for name, hint in inner.items():
        within = f"{key}.{name}" if key else name
        if config_class is not SlotsConfig:
            yield from sections(within, hint)
    if config_class is SlotsConfig:
        own = [f.name for f in dataclasses.fields(Slot) if f.name != "overrides"]
        beside = cell(documentation(Slot)["overrides"])
        yield from ["", f"## `{key}.SLOT`", "", *table(Slot, own), "", f"All other keys: {beside}"]


def table(config_class: type, names: list[str]) -> Iterator[str]:
    """What the docstring says of a dataclass, and a row for each of its keys."""
    documented = documentation(config_class)
    described = parse(config_class.__doc__ or "")
    yield from filter(None, [described.short_description, "", described.long_description or ""])
    hints, defaults = get_type_hints(config_class), {f.name: f for f in dataclasses.fields(config_class)}
    if config_class is SlotsConfig:
        yield from ["", "| slot | what it is |", "| --- | --- |"]
        yield from (f"| `{name}` | {cell(documented[name])} |" for name in hints)
    elif names:
        yield from ["", "| key | meaning | values | default |", "| --- | --- | --- | --- |"]
        for name in names:
            default = default_of(defaults[name])
            yield f"| `{name}` | {cell(documented[name])} | {values_of(hints[name])} | `{default}` |"


def documentation(config_class: type) -> dict[str, str]:
    """What docstrings say of each field, those of base classes too."""
    found: dict[str, str] = {}
    for known in reversed(config_class.__mro__):
        found |= {p.arg_name: p.description or "" for p in parse(known.__doc__ or "").params}
    return found


def default_of(field: dataclasses.Field) -> str:
    """A field's default as YAML has it."""
    value = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    known = {None: "null", True: "true", False: "false", "": "''"}
    return known[value] if value is None or isinstance(value, bool) or value == "" else str(value)


def values_of(hint: Any) -> str:
    """A type in words: the values of a literal, the range of a restricted number."""
    kinds = get_args(hint)
    if get_origin(hint) is Literal:
        return ", ".join(f"`{value}`" for value in dict.fromkeys(map(str, kinds)))
    if get_origin(hint) is list:
        return f"list of {values_of(kinds[0])}" if kinds else "list"
    if get_origin(hint) is dict:
        return "mapping"
    if get_origin(hint) is tuple:
        return " and ".join(map(values_of, kinds))
    if kinds:
        return ", or ".join(map(values_of, kinds))
    if hasattr(hint, "_restrictions"):
        base = "whole number" if issubclass(hint, int) else "number"
        return f"{base} {' and '.join(f'{COMPARED[by]} {limit}' for by, limit in hint._restrictions)}"
    if dataclasses.is_dataclass(hint):
        return "mapping"
    names = {str: "text", int: "whole number", float: "number", bool: "`true`, `false`", type(None): "`null`"}
    return names.get(hint, "any")


def cell(text: str) -> str:
    """Text on one line, without what ends a cell."""
    return " ".join(text.split()).replace("|", "\\|")


def verbs() -> Iterator[str]:
    """A section for every verb: what it does, its usage, its own options."""
    for verb, (place, _) in VERBS.items():
        module, _, name = place.partition(":")
        function = getattr(import_module(f"snn_cace.commands.{module}"), name)
        parser = make_parser(verb, function, full=False)
        takes = {parameter.name for parameter in parameters(function)}
        yield from ["", f"## {verb}", "", parser.description or "", "", "```text", parser.usage or "", "```", ""]
        yield from ["| option | default | meaning |", "| --- | --- | --- |"]
        if "experiment" in takes and "trained" not in takes:
            yield "| `--config` | - | YAML file of an experiment, or the name of a shipped one |"
        if "trained" in takes:
            yield "| `--checkpoint` | - | checkpoint file, or run directory (then its best checkpoint) |"
        yield from own_options(verb, function)
        if takes & {"experiment", "overrides"}:
            yield from ["", "It takes [every key of an experiment](config.md) as a dotted option too."]


class Rows(list[str]):
    """Collects a row for each option that `options_of` adds."""

    def add_argument(self, name: str, **option: Any) -> None:
        default, flag = option.get("default"), option.get("action") == "store_true"
        shown = "off" if flag else "-" if default is None else f"`{default}`"
        self.append(f"| `{name if name.startswith('-') else name.upper()}` | {shown} | {cell(option['help'])} |")


def own_options(verb: str, function: Any) -> list[str]:
    """A row for each option that is the verb's own."""
    described = {p.arg_name: p.description or "" for p in parse(function.__doc__ or "").params}
    rows = Rows()
    options_of(rows, function, described)
    return rows


GENERATED = {"experiment-keys": experiment_keys, "comparison-keys": comparison_keys, "verbs": verbs}
"""What writes the place of each comment."""
