"""From a finding to a better classifier."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from saywhy import files
from saywhy.audit.inventory import read_run
from saywhy.classifier import Classifier
from saywhy.errors import UsageError, unknown, whole
from saywhy.explanation import ModelRecord
from saywhy.improve import improved_page
from saywhy.improve.before_after import explained_twice
from saywhy.improve.culprit import cue_of, culprit_of
from saywhy.improve.edits import edits_of
from saywhy.improve.improved import Blamed, Improved, Training
from saywhy.improve.judging import answers_of, bench_of, judged
from saywhy.improve.lessons import SPLITS, Frames, shots_of
from saywhy.improve.model_file import check_spec, write_model, write_tensors
from saywhy.improve.remedies import REMEDIES
from saywhy.improve.workshop import Loop, Stopping, Workshop, copied, fit_loop
from saywhy.train.loop import Fitted

RECORD, PAGE, SETTINGS, CHECKPOINT = "improved.json", "improved.html", "settings.json", "training.safetensors"

Tell = Callable[[str], None]


def improve(
    clf: Classifier,
    run: str | Path,
    finding: Blamed,
    how: str,
    out: str | Path,
    *,
    cue: str | None = None,
    listing: str | Path | None = None,
    objects: Sequence[str] = (),
    spec: Mapping[str, Any] | None = None,
    stopping: Stopping | None = None,
    loop: Loop = fit_loop,
    explained: int = 4,
    seed: int = 0,
    progress: Tell | None = None,
) -> Improved:
    """Improves a copy of a classifier by a finding about it, and writes the copy and what came of it into a folder.

    `run` is the folder of a scan of this classifier: its labelled pictures teach, choose when to stop, and judge. `how`
    is a row of REMEDIES. `cue` says what the culprit is instead of the finding's cause (see `culprit_of`), `listing` is
    an images.jsonl that says more of the pictures, `objects` name the masks of the object there. `spec` is what the
    classifier was loaded from, the model and its options, for the model.toml. `loop` trains (see `Loop`); of an
    interrupted run the same call goes on. `explained` pictures are explained before and after.

    Raises:
        UsageError: an unknown remedy, a scan of another classifier, a culprit that no picture or every picture has, a
            folder that holds another improvement.
        InputError: no scan there, a picture that cannot be read any more, or the folder cannot be written.
    """
    folder, place, tell, seed = Path(run), Path(out), progress or (lambda text: None), whole("seed", seed)
    if how not in REMEDIES:
        raise unknown("remedy", how, REMEDIES)
    _check_owner(clf, folder)
    if spec is not None:
        check_spec(spec)
    shots, parts = shots_of(folder, None if listing is None else Path(listing))
    frames = Frames(clf, shots, objects)
    culprit = culprit_of(cue or cue_of(finding), shots, frames)
    _settle(place, {
        "model": clf.fingerprint, "finding": finding.model_dump(mode="json"), "how": how, "cue": cue, "seed": seed,
        "pictures": [len(p) for p in (parts.teach, parts.check, parts.judge)], "objects": list(objects),
    })  # fmt: skip
    known = culprit.where is not None or REMEDIES[how].place
    edits = [edits_of(frames, culprit, rows, seed) if known else None for rows in (parts.teach, parts.judge)]
    shop = Workshop(
        copied(clf), tuple(shots), parts, frames, culprit, edits[0], stopping or Stopping(), seed, place / CHECKPOINT,
        loop, partial(_told, tell, how),
    )  # fmt: skip
    bench = bench_of(shots, parts.judge, culprit, finding, seed)
    tell("asking the classifier as it is")
    first = answers_of(clf, frames, bench, edits[1])
    tell(REMEDIES[how].what)
    applied = REMEDIES[how].apply(shop)
    tell("asking the improved one")
    last = answers_of(shop.clf, frames, bench, edits[1])
    written = [*write_model(place, shop.clf, spec)]
    if applied.kept:
        written.append(f"{how}.safetensors")
        write_tensors(place / written[-1], applied.kept)
    tell("explaining again")
    twice = explained_twice(clf, shop.clf, frames, bench, (first, last), explained, seed)
    made = Improved(
        how=how, what=REMEDIES[how].what, finding=finding, culprit=culprit.name, known_by=culprit.how,
        model=_model(clf), fingerprint_after=shop.clf.fingerprint,
        parts={name: len(getattr(parts, name)) for name in SPLITS}, parted=parts.how,
        training=_training(applied.ended), again=tuple(one.told for one in twice), written=tuple(written),
        notes=applied.notes, **judged(bench, clf.class_names, first, last, seed),
    )  # fmt: skip
    files.write(place / RECORD, json.dumps(made.to_dict(), ensure_ascii=False, allow_nan=False) + "\n")
    files.write(place / PAGE, improved_page.page(made, [one.maps for one in twice]))
    shop.checkpoint.unlink(missing_ok=True)
    return made


def _told(tell: Tell, how: str, epoch: int, row: Mapping[str, float]) -> None:
    tell(f"{how}, epoch {epoch + 1}: " + ", ".join(f"{name} {value:.3g}" for name, value in row.items()))


def _check_owner(clf: Classifier, run: Path) -> None:
    of = read_run(run).model
    if clf.fingerprint != of.fingerprint:
        raise UsageError(
            f"{run}: is of the classifier {of.name or of.fingerprint} ({of.fingerprint}), not of "
            f"{clf.name or 'this one'} ({clf.fingerprint}); name that one with --model"
        )


def _settle(folder: Path, settings: dict[str, Any]) -> None:
    """Writes down what a folder is of, or raises UsageError where it is of something else."""
    file = folder / SETTINGS
    if file.exists():
        was = json.loads(file.read_text(encoding="utf-8"))
        differ = [name for name, value in settings.items() if was.get(name) != value]
        if differ:
            raise UsageError(f"{folder}: holds an improvement with another {', '.join(differ)}; name a new folder")
    files.write(file, json.dumps(settings, indent=1) + "\n")


def _model(clf: Classifier) -> ModelRecord:
    return ModelRecord(
        name=clf.name, fingerprint=clf.fingerprint, layer=clf.point.path if clf.white_box else None,
        layer_reason=clf.layer_reason, notes=clf.notes,
    )  # fmt: skip


def _training(ended: Fitted | None) -> Training | None:
    if ended is None:
        return None
    return Training(
        stopped=ended.stopped, steps=ended.steps, best_epoch=ended.best_epoch,
        best=ended.best if math.isfinite(ended.best) else None, history=tuple(ended.history),
    )  # fmt: skip
