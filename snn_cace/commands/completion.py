"""Completion of verbs and options in bash. For other shells jsonargparse's scripts cannot nest parsers."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from jsonargparse import ArgumentParser

from neurons.nodes import NODES
from snn_cace.commands import SHORT, extra_packages, make_parser
from snn_cace.errors import InputError


def completion_script(shell: str, verbs: Mapping[str, tuple[str, str]]) -> str:
    """A script that completes `verbs`, as `snn_cace.cli.VERBS` has them.

    Raises:
        InputError: another shell than bash, or shtab is not installed.
    """
    if shell != "bash":
        raise InputError(f"--completion: {shell or 'no shell'} is given, and only bash is known; give bash")
    with extra_packages("--completion", "completion"):
        import shtab
    root = ArgumentParser(prog="snn-cace", add_help=False)
    groups = {"": root.add_subcommands()}
    for verb, (place, what) in verbs.items():
        group, _, last = verb.rpartition(" ")
        if group not in groups:
            inner = ArgumentParser(prog=f"snn-cace {group}", add_help=False)
            groups[""].add_subcommand(group, inner)
            groups[group] = inner.add_subcommands()
        module, _, name = place.partition(":")
        parser = make_parser(verb, getattr(import_module(f"snn_cace.commands.{module}"), name))
        for short, full in SHORT.items():
            if full in parser._option_string_actions:
                parser._option_string_actions[full].option_strings = [short, full]
        for action in parser._actions:
            if action.dest == "model.spiking.node":
                action.choices = tuple(NODES)
            elif getattr(action, "_typehint", str) in (str, str | None) and action.nargs != 0:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
        groups[group].add_subcommand(last, parser, help=what)
    return root.get_completion_script("shtab-bash")
