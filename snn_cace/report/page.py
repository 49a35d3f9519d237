"""Pages of headings, sentences and tables: as Markdown, and as HTML that needs no other file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from snn_cace.report.conclusions import Table, markdown_table


@dataclass
class Section:
    """A heading, sentences below it, and a table."""

    heading: str
    lines: Sequence[str] = ()
    rows: Table = field(default_factory=list)


def as_markdown(title: str, sections: Sequence[Section]) -> str:
    found = [f"# {title}"]
    for section in sections:
        found += ["", f"## {section.heading}", ""]
        found += [f"- {line}" for line in section.lines]
        if section.rows:
            found += [*([""] if section.lines else []), *markdown_table(section.rows)]
    return "\n".join(found) + "\n"


def packaged(name: str) -> str:
    """The text of a file of this folder."""
    return (resources.files("snn_cace.report") / name).read_text(encoding="utf-8")


def as_html(template: str, **content: Any) -> str:
    """One of this folder's templates, filled with `content`; a name that it lacks is an error."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    return environment.from_string(packaged(template)).render(content)
