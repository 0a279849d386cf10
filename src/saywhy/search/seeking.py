"""A search in the store of a scan: by words, by a picture, or by a picture and a change of words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from saywhy.attributes.searching import Term, asked_for, fits, ranked
from saywhy.audit.inventory import listed, read_run
from saywhy.audit.sources import giving
from saywhy.audit.store import open_store
from saywhy.errors import InputError, UsageError, unknown, whole
from saywhy.search.answering import Answering, answering
from saywhy.search.columns import columns_of
from saywhy.search.composing import FUSIONS
from saywhy.search.grounded import Grounding
from saywhy.search.hits import SearchHit, SearchRecord, SearchTerm

Reals = NDArray[np.float64]
Ints = NDArray[np.int64]


def search(
    run: str | Path,
    query: str | None = None,
    *,
    like: int | str | Path | None = None,
    fusion: str = "all",
    count: int = 12,
    grounding: Grounding | None = None,
) -> SearchRecord:
    """The pictures of a scan that a query means, the best first; of equal ones the smaller number.

    `query` is "red crown and long beak and not blue wing": what is likely there times what is likely not there. `like`
    is a picture of the run, its number or path. Both together ask for that picture, changed as the words say; `fusion`
    is a row of FUSIONS. With a `grounding` it is looked for where in each picture the phrases are. Every stored picture
    is compared.

    Raises:
        UsageError: nothing to answer from, an unknown phrase, picture or fusion, or nothing was asked for.
        InputError: no scan there.
    """
    folder, count = Path(run), whole("count", count, 1)
    if query is None and like is None:
        raise UsageError("a search needs a query (red crown and long beak), a picture (--like 17), or both")
    if fusion not in FUSIONS:
        raise unknown("fusion", fusion, FUSIONS)
    read_run(folder)
    n = None if like is None else _number(folder, like)
    if query is None:
        assert n is not None
        numbers, scores = _likeness(folder, n)
        source, terms, likely = "embeddings", [], np.zeros((len(numbers), 0))
    else:
        found = answering(folder)
        source, numbers = found.name, found.numbers
        terms = [(yes, found.phrase(text)) for yes, text in asked_for(query)]
        likely = found.likely([text for _, text in terms])
        scores = fits([Term(i, yes) for i, (yes, _) in enumerate(terms)], likely)
        if n is not None:
            scores = _composed(folder, found, n, terms, scores, fusion)
    if n is not None:
        scores = np.where(numbers == n, -np.inf, scores)
    rows = [i for i in ranked(scores, count + 1) if np.isfinite(scores[i])][:count]
    hits = _hits(folder, numbers[rows], scores[rows], likely[rows], terms)
    record = SearchRecord(
        query=query, like=None if like is None else str(like), fusion=fusion if query and like is not None else None,
        answered_by=source, pictures=len(numbers), hits=hits,
    )  # fmt: skip
    return record if grounding is None or not terms else _grounded(folder, record, grounding)


def _number(run: Path, like: int | str | Path) -> int:
    """The number of a stored picture that is named by its number, path or file name."""
    text = str(like)
    with open_store(run) as store:
        if text.isdigit():
            rows = store.execute("SELECT n FROM pictures WHERE n = ?", [int(text)]).fetchall()
        else:
            ends = f"/{Path(text).name}" if "/" not in text else text
            rows = store.execute("SELECT n FROM pictures WHERE path = ? OR ends_with(path, ?)", [text, ends]).fetchall()
    if len(rows) != 1:
        what = "no picture" if not rows else f"{len(rows)} pictures"
        raise UsageError(f"{run}: {what} of the run by the name {text!r}; give its number or its whole path")
    return int(rows[0][0])


def _likeness(run: Path, n: int) -> tuple[Ints, Reals]:
    """The pictures' numbers and their cosines (N,) with picture n, by what the layer holds of them."""
    columns = columns_of(run, "embeddings", "vector")
    asked = None if columns is None else columns.of(n)
    if columns is None or asked is None:
        raise UsageError(f"{run}: holds no vector of picture {n}: its classifier is a black box, or it failed")
    length = max(float(np.linalg.norm(asked)), 1e-12)
    blocks = range(0, columns.values.shape[1], 50_000)
    cosines = [
        asked.astype(np.float32) @ (rows := columns.values[:, i : i + 50_000].astype(np.float32))
        / np.maximum(np.linalg.norm(rows, axis=0) * length, 1e-12)
        for i in blocks
    ]  # fmt: skip
    return columns.numbers, np.concatenate(cosines).astype(np.float64)


def _composed(
    run: Path, found: Answering, n: int, terms: Sequence[tuple[bool, str]], likely: Reals, fusion: str
) -> Reals:  # fmt: skip
    cosine = np.zeros(len(found.numbers))
    if FUSIONS[fusion].vectors:
        numbers, cosines = _likeness(run, n)
        own = np.clip(np.searchsorted(numbers, found.numbers), 0, len(numbers) - 1)
        cosine = np.where(numbers[own] == found.numbers, cosines[own], 0.0)
    return FUSIONS[fusion].score(likely, cosine, found.edited(n, terms))


def _hits(
    run: Path, numbers: Ints, scores: Reals, likely: Reals, terms: Sequence[tuple[bool, str]]
) -> tuple[SearchHit, ...]:  # fmt: skip
    with open_store(run) as store:
        rows = store.execute(
            "SELECT n, path, label_name, answer_name FROM pictures WHERE list_contains(?, n)", [numbers.tolist()]
        ).fetchall()  # fmt: skip
    known = {n: rest for n, *rest in rows}
    out = []
    for n, score, values in zip(numbers.tolist(), scores.tolist(), likely.tolist(), strict=True):
        path, label, answer = known[n]
        said = tuple(
            SearchTerm(phrase=text, wanted=yes, likely=value)
            for (yes, text), value in zip(terms, values, strict=True)
        )  # fmt: skip
        out.append(SearchHit(n=n, path=path, score=score, label=label, answer=answer, terms=said))
    return tuple(out)


def _grounded(run: Path, record: SearchRecord, grounding: Grounding) -> SearchRecord:
    """The record with places; pictures that are gone have none, and that is said."""
    found, gone = [], []
    entries = dict(listed(run, [hit.n for hit in record.hits]))
    with giving() as give:
        for hit in record.hits:
            try:
                picture = grounding.clf.read(give(entries[hit.n]))
                found.append(hit.model_copy(update={"terms": grounding.placed(picture, hit.terms)}))
            except InputError as e:
                found.append(hit)
                gone.append(str(e))
    return record.model_copy(update={"hits": tuple(found), "notes": (*record.notes, *gone)})
