"""A short page of headings, sentences and tables, as Markdown and as HTML that needs no other file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

from snn_cace.report.conclusions import Table, markdown_table

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;display:block;overflow-x:auto}th,td{padding:.2rem .7rem;text-align:right;"
    "border-bottom:1px solid #ccc}th:first-child,td:first-child{text-align:left}"
    "@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}}"
)


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


def as_html(title: str, sections: Sequence[Section]) -> str:
    def row(cells: Iterable[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = [f"<h1>{escape(title)}</h1>"]
    for section in sections:
        body.append(f"<h2>{escape(section.heading)}</h2>")
        if section.lines:
            body.append("<ul>" + "".join(f"<li>{escape(line)}</li>" for line in section.lines) + "</ul>")
        if section.rows:
            table = row(section.rows[0], "th") + "".join(row(cells.values(), "td") for cells in section.rows)
            body.append(f"<table>{table}</table>")
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    return (
        f"<!DOCTYPE html><html lang=en><head>{head}<style>{STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )
