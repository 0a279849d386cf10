"""The command line: thin verbs over the library.

Exit codes: 0 all went well, 1 some inputs failed (named; the rest is done), 2 wrong usage. What a program reads goes
to standard output, everything else to standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

import saywhy
from saywhy.cli.audit import audit
from saywhy.cli.aviary import aviary
from saywhy.cli.concepts import concepts
from saywhy.cli.evaluate import evaluate
from saywhy.cli.explain import explain
from saywhy.cli.fit import fit
from saywhy.cli.graph import graph
from saywhy.cli.improve import improve
from saywhy.cli.methods import methods
from saywhy.cli.output import notes
from saywhy.cli.reporting import report
from saywhy.cli.search import search
from saywhy.errors import SaywhyError, UsageError

VERBS: dict[str, Callable[..., Any]] = {
    "explain": explain,
    "eval": evaluate,
    "fit": fit,
    "concepts": concepts,
    "graph": graph,
    "audit": audit,
    "report": report,
    "search": search,
    "improve": improve,
    "aviary": aviary,
    "methods": methods,
}

app = typer.Typer(
    name="saywhy",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    help="Explains the decisions of image classifiers, and checks every sentence before it says it.",
)
for name, verb in VERBS.items():
    app.command(name)(verb)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Show the version and stop.")] = False) -> None:
    if version:
        print(saywhy.__version__)
        raise typer.Exit


def main() -> None:
    """Runs the command line; errors raised on purpose become one line and an exit code."""
    try:
        app()
    except SaywhyError as e:
        stop_with(e)
    except BrokenPipeError:
        # The reader went away (`| head`): nothing to report, and nothing more to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def stop_with(error: SaywhyError) -> None:
    """Says the error in one line and ends: 2 for wrong usage, 1 for inputs and models that fail."""
    notes.print(f"saywhy: {error}", markup=False, highlight=False, soft_wrap=True)
    sys.exit(2 if isinstance(error, UsageError) else 1)
