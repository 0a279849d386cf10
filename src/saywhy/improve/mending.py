"""From a finding to a better classifier."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from saywhy import files
from saywhy.audit.inventory import read_run
from saywhy.classifier import Classifier
from saywhy.errors import InputError, UsageError, unknown, whole
from saywhy.explanation import ModelRecord
from saywhy.improve.culprit import culprit_of
from saywhy.improve.edits import edits_of
from saywhy.improve.improved import Again, Blamed, Improved, Training
from saywhy.improve.judging import answers_of, bench_of, compared, contribution, groups_of, linked, worst_of
from saywhy.improve.lessons import Frames, shots_of
from saywhy.improve.model_file import check_spec, write_model, write_tensors
from saywhy.improve.remedies import REMEDIES
from saywhy.improve.workshop import Loop, Stopping, Workshop, copied, fit_loop
from saywhy.train.loop import Fitted

RECORD, SETTINGS, CHECKPOINT = "improved.json", "settings.json", "training.safetensors"

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
    remedy, after = REMEDIES[how], copied(clf)
    shots, parts = shots_of(folder, None if listing is None else Path(listing))
    frames = Frames(clf, shots, objects)
    culprit = culprit_of(cue or _cue(finding), shots, frames)
    edits = edits_of(frames, culprit, parts.teach, seed) if culprit.where is not None or remedy.place else None
    _settle(place, {
        "model": clf.fingerprint, "finding": finding.model_dump(mode="json"), "how": how, "cue": cue, "seed": seed,
        "pictures": [len(p) for p in (parts.teach, parts.check, parts.judge)], "objects": list(objects),
    })  # fmt: skip
    bench = bench_of(shots, parts.judge, culprit, finding, seed)
    judged_by = edits and edits_of(frames, culprit, parts.judge, seed)
    tell("asking the classifier as it is")
    first = answers_of(clf, frames, bench, judged_by)
    shop = Workshop(
        after, tuple(shots), parts, frames, culprit, edits, stopping or Stopping(), seed, place / CHECKPOINT, loop,
        lambda epoch, row: tell(f"{how}, epoch {epoch + 1}: " + ", ".join(f"{k} {v:.3g}" for k, v in row.items())),
    )  # fmt: skip
    tell(remedy.what)
    applied = remedy.apply(shop)
    tell("asking the improved one")
    last = answers_of(after, frames, bench, judged_by)
    written = write_model(place, after, spec)
    if applied.kept:
        write_tensors(place / f"{how}.safetensors", applied.kept)
        written = (*written, f"{how}.safetensors")
    right = first.right(bench.labels), last.right(bench.labels)
    groups = groups_of(bench, clf.class_names, *right, seed)
    if not groups:
        raise UsageError("no class has eight judged pictures with the culprit or without it: scan more pictures")
    worst, weakest, weakest_after = worst_of(bench, groups, *right, seed)
    owed = contribution(first, bench), contribution(last, bench)
    record = Improved(
        how=how, what=remedy.what, finding=finding, culprit=culprit.name, known_by=culprit.how, model=_model(clf),
        fingerprint_after=after.fingerprint,
        parts={"teach": len(parts.teach), "check": len(parts.check), "judge": len(parts.judge)}, parted=parts.how,
        training=_training(applied.ended), accuracy=compared(*right, seed), worst=worst,
        worst_before=_named(weakest), worst_after=_named(weakest_after), groups=groups,
        contribution=None if owed[0] is None or owed[1] is None else compared(owed[0], owed[1], seed),
        linked=linked(bench, first, last, seed), again=(), written=written, notes=applied.notes,
    )  # fmt: skip
    files.write(place / RECORD, json.dumps(record.to_dict(), ensure_ascii=False, allow_nan=False) + "\n")
    (place / CHECKPOINT).unlink(missing_ok=True)
    return record


def _check_owner(clf: Classifier, run: Path) -> None:
    of = read_run(run).model
    if clf.fingerprint != of.fingerprint:
        raise UsageError(
            f"{run}: is of the classifier {of.name or of.fingerprint} ({of.fingerprint}), not of "
            f"{clf.name or 'this one'} ({clf.fingerprint}); name that one with --model"
        )


def _cue(finding: Blamed) -> str:
    return f"surroundings:{finding.cause}" if finding.kind == "context" else finding.cause


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


def _named(group: Any) -> str:
    return f"{group.class_name} {'with' if group.present else 'without'} it"
