"""`saywhy search`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saywhy.cli.options import MODEL_OPTIONS, check_folders, fitted_parts, takes_model
from saywhy.cli.output import notes
from saywhy.errors import UsageError

if TYPE_CHECKING:
    from saywhy.classifier import Classifier
    from saywhy.search import SearchRecord


@takes_model
def search(
    load: Callable[[], Any],
    run: Annotated[Path, typer.Argument(help="Folder of a scan: saywhy audit IMAGES -o RUN --depth prediction.")],
    query: Annotated[
        str | None, typer.Argument(help="Phrases with 'and' or commas, and 'not': red crown, not long beak.")
    ] = None,
    like: Annotated[
        str | None, typer.Option(help="A picture of the run, its number or path; with a query: that, so changed.")
    ] = None,
    fusion: Annotated[str, typer.Option(help="How a picture and words go together: see the reference.")] = "all",
    explainer: Annotated[
        Path | None, typer.Option(help="The explainer that the attributes are of: shows where they are.")
    ] = None,
    boxes: Annotated[bool, typer.Option("--boxes/--no-boxes", help="Look where in each picture phrases are.")] = True,
    count: Annotated[int, typer.Option(min=1, help="Pictures that are shown.")] = 12,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A page of them: FILE.html.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No notes.")] = False,
) -> None:
    """Find pictures of a scan by words, by a picture, or by a picture and a change of words."""
    from saywhy.search import Grounding, search, search_page
    from saywhy.search.answering import answering

    check_folders(run=run, explainer=explainer)
    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"-o {out}: the page is a file such as found.html")
    grounding = None
    if boxes and query is not None and (explainer is not None or answering(run).name != "attributes"):
        clf = _model_of(run, load)
        grounding = Grounding(clf, None if explainer is None else fitted_parts(explainer, clf))
    found = search(run, query, like=like, fusion=fusion, count=count, grounding=grounding)
    if out is not None:  # first, so that it is there whole whoever stops reading what is printed
        _write(run, found, out)
    print(json.dumps(found.to_dict(), ensure_ascii=False) if as_json else search_page.text(found))
    if boxes and query is not None and grounding is None and not quiet:
        notes.print("no boxes: give the explainer that the attributes are of (--explainer DIR)", markup=False)
    if out is not None and not quiet:
        notes.print(f"look at {out}", markup=False, highlight=False, soft_wrap=True)


def _model_of(run: Path, load: Callable[[], Any]) -> Classifier:
    """The classifier of the run: the one that is named, or, where none is, that which the run says."""
    from saywhy.audit.inventory import read_run
    from saywhy.zoo import load_classifier

    of = read_run(run).model
    options: dict[str, Any] = getattr(load, "args", ({},))[0]
    plain = all(options.get(name) == default for name, (_, default, _) in MODEL_OPTIONS.items())
    clf: Classifier = load_classifier(of.name) if plain and of.name else load()
    if clf.fingerprint != of.fingerprint:
        raise UsageError(f"{run}: is of the classifier {of.name} ({of.fingerprint}): name it (--model), or --no-boxes")
    return clf


def _write(run: Path, found: SearchRecord, out: Path) -> None:
    from contextlib import suppress

    from saywhy import files
    from saywhy.audit.inventory import listed
    from saywhy.audit.sources import giving
    from saywhy.errors import InputError
    from saywhy.image import read
    from saywhy.search import search_page

    pictures = {}
    with giving() as give:
        for n, entry in listed(run, [hit.n for hit in found.hits]):
            with suppress(InputError):  # gone since the scan: the page says so
                pictures[n] = read(give(entry))
    files.write(out, search_page.page(found, pictures))
