"""YAML as config files are written in it: what each spelling means, and mappings that say every key once.

Scalars are read by YAML 1.2's core schema, which means what it looks like, and not by PyYAML's 1.1:

| spelling | here | YAML 1.1 |
| --- | --- | --- |
| `off`, `on`, `yes`, `no` | strings; where a field is a bool, its words | booleans |
| `010` | 10 | 8 |
| `1e-3` | 0.001 | a string |
| `1:30`, `2024-01-01` | strings | 90, a date |

`1_000`, `0x10`, `0b10` and `0o10` are whole numbers.
"""

from __future__ import annotations

import re
from typing import Any

import yaml
from jsonargparse import _loaders_dumpers, set_loader

MODE = "config"
"""What jsonargparse calls this module's loader; a parser's `parser_mode`."""
TAG = "tag:yaml.org,2002:"
SPELLINGS = {
    "null": ("~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": ("true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?(?:[0-9][0-9_]*|0x[0-9a-fA-F_]+|0o[0-7_]+|0b[01_]+)", list("-+0123456789")),
    "float": (
        r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?"
        r"|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    "merge": ("<<", ["<"]),
}
"""By type, how a plain scalar of it is written, and the characters it begins with."""


class Loader(yaml.SafeLoader):
    """Reads one document. libyaml's loader is faster, and crashes on deep nesting.

    Raises:
        yaml.YAMLError: not YAML, a key that is no string, or one that is there twice, with its line.
    """

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  (PyYAML's name)

    def get_single_node(self) -> Any:
        node = super().get_single_node()
        refuse_repeated_keys(node)
        return node

    def construct_whole_number(self, node: yaml.ScalarNode) -> int:
        text = node.value.replace("_", "")
        return int(text, 10 if text.lstrip("-+").isdigit() else 0)


class FieldLoader(Loader):
    """Reads text that a field of a type is given, where `off` and its like are a bool's words."""


class Dumper(yaml.SafeDumper):
    """Writes what `Loader` reads as it was, and any YAML 1.1 reader too."""


for _name, (_spelling, _first) in SPELLINGS.items():
    for _class in (Loader, Dumper):
        _class.add_implicit_resolver(TAG + _name, re.compile(f"(?:{_spelling})$"), _first)
Loader.add_constructor(f"{TAG}int", Loader.construct_whole_number)
FieldLoader.add_implicit_resolver(f"{TAG}bool", re.compile("(?:yes|no|on|off)$", re.IGNORECASE), list("yYnNoO"))


def refuse_repeated_keys(node: yaml.Node | None, above: str = "", seen: dict[str, bool] | None = None) -> None:
    """Raise an error of YAML for a key that is no string, or whose value is given twice, `a.b: 1` being `a: {b: 1}`.

    seen: the dotted keys so far, and whether each holds a mapping, which may come in parts.
    """
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            refuse_repeated_keys(item)
    if not isinstance(node, yaml.MappingNode):
        return
    seen = {} if seen is None else seen
    here = set()
    for key, value in node.value:
        if key.tag == f"{TAG}merge":
            continue
        if key.tag != f"{TAG}str":
            got = key.value if isinstance(key, yaml.ScalarNode) else f"a {key.id}"
            raise yaml.MarkedYAMLError(problem=f"Key must be a string, got: {got}", problem_mark=key.start_mark)
        name, mapping = above + key.value, isinstance(value, yaml.MappingNode)
        if key.value in here or (name in seen and not (mapping and seen[name])):
            raise yaml.MarkedYAMLError(problem=f"{name} is there twice", problem_mark=key.start_mark)
        here.add(key.value)
        seen[name] = mapping
        refuse_repeated_keys(value, f"{name}.", seen)


def load(text: str, name: str = "text") -> Any:
    """The one document of `text`; None where it is empty. name: of its file, for lines of error.

    Raises:
        yaml.YAMLError: see `Loader`.
        ValueError, AttributeError, RecursionError: an explicit tag whose value is none of it, or nesting without end.
    """
    loader = Loader(text)
    loader.name = name
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def load_value(text: str) -> Any:
    """The value of an option of the command line; text like `a:` or `{a}` stays text, as in jsonargparse's own."""
    value = load(text)
    bare = isinstance(value, dict) and value and all(inner is None for inner in value.values()) and "null" not in text
    return text if bare else value


def dump(values: Any) -> str:
    """Plain values as YAML, keys in their order."""
    return yaml.dump(values, Dumper=Dumper, sort_keys=False)


set_loader(MODE, load_value, (yaml.YAMLError,))
# What jsonargparse reads a string by that is given for a bool or a number, whatever a parser's mode.
_loaders_dumpers.yaml_default_loader = FieldLoader  # type: ignore[assignment]
