"""The errors of a classifier on labelled pictures: what speaks for the wrong class, what for the true one, and why.

`study` looks at each picture once, tries every error (about thirty passes each, see `experiments`), sorts it into a
family (`families`), and asks of every class whether its surroundings make it (`bias`). What it finds is kept line by
line (`journal`), so that a study that was cut off goes on. Memory holds some dozen pictures, whatever their number.
"""

from __future__ import annotations

import hashlib
import math
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import saywhy
from saywhy.audit import bias, families
from saywhy.audit.cutout import Cutout, Cutouts
from saywhy.audit.experiments import SIDES, Side, region, try_all
from saywhy.audit.journal import Journal, key_of
from saywhy.audit.labels import labels_of, order_note
from saywhy.audit.nearness import Together, packed
from saywhy.audit.report import AuditCost, Failure, MapsRecord, PairCount, Report, Unused
from saywhy.classifier import Classifier, in_colours
from saywhy.collection import Item
from saywhy.errors import InputError, ModelError
from saywhy.explanation import ClassScore, Mask, ModelRecord
from saywhy.image import read
from saywhy.metrics.statistics import pearson
from saywhy.passes import Meter, counting
from saywhy.saliency import saliency

Progress = Callable[[int, int, str], None]

BATCH = 16
DONORS = 4  # of each kind, for an error
OWN, OTHER = 3, 6  # donors for a recognised picture
EXAMINED = 12  # recognised pictures of a class
SCORES = 4_000_000  # numbers kept of all pictures' scores, to know which classes are near
GRADIENTS, SCORES_ALONE = "grad-cam", "occlusion"


def default_method(clf: Classifier) -> str:
    """The saliency method where none is asked for.

    Maps of two classes are compared, so the method must tell classes apart: in front of a class-token transformer's
    last block gradients do not (docs/aviary-benchmark.md), nor has a black box any; there squares are hidden.
    """
    return GRADIENTS if clf.white_box and clf.point.grid.prefix == 0 else SCORES_ALONE


@dataclass(frozen=True, eq=False)
class StudyPlan:
    """What is asked, and of whom; `labels` are class indices, None where a picture has no usable one."""

    clf: Classifier
    items: Sequence[Item]
    labels: Sequence[int | None]
    method: str
    options: Mapping[str, Any]
    seed: int
    journal: Journal
    cutouts: Cutouts
    tell: Progress


@dataclass(frozen=True)
class Looked:
    """A picture that was looked at: its number, file, hash, label and the classifier's first answers."""

    number: int
    path: str
    sha256: str
    label: int
    top: tuple[tuple[int, float], ...]
    truth: tuple[int, float]
    scores: str | None

    @property
    def right(self) -> bool:
        """Whether the first answer is the label."""
        return self.top[0][0] == self.label


def study(
    clf: Classifier,
    items: Sequence[Item],
    *,
    method: str | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    objects: Sequence[str] = (),
    seed: int = 0,
    journal: Journal | None = None,
    progress: Progress | None = None,
) -> Report:
    """Studies every error of a classifier on labelled pictures.

    `method` makes the maps (see `default_method`), with its row of `options` (an explainer's "l-cam" with its head
    costs no gradient). `objects` names the masks or boxes of the listing that are the object; without, it is
    estimated. `progress(done, all, what)`.

    Raises:
        UsageError: no picture with a label that is a class of the classifier, or an unknown method.
        InputError: none of the pictures can be read.
    """
    in_colours(clf, "objects are cut out")
    start, method = time.perf_counter(), method or default_method(clf)
    labels, reasons = labels_of(clf, items)
    kept = journal or Journal(None, {})
    plan = StudyPlan(
        clf, items, labels, method, dict((options or {}).get(method, {})), seed, kept, Cutouts(clf, items, objects),
        progress or (lambda done, total, what: None),
    )  # fmt: skip
    with counting() as meter:
        looked, unreadable = _look(plan)
        if not looked:
            raise InputError(f"none of {len(items)} pictures can be used; the first: {next(iter(unreadable.values()))}")
        pool = _recognised(looked)
        failures = _failures(plan, looked, pool, unreadable)
        tallies = _tallies(plan, looked, failures, pool)
    skipped = tuple(Unused(path=str(items[n].path), error=text) for n, text in reasons.items())
    return _report(plan, looked, failures, tallies, unreadable, skipped, meter, time.perf_counter() - start)


# --------------------------------------------------------------------------------------------------
# One look at each picture.


def _look(plan: StudyPlan) -> tuple[list[Looked], dict[int, str]]:
    """Every picture that has a label and can be read, and why others cannot, by number."""
    found: dict[int, Looked] = {}
    failed: dict[int, str] = {}
    numbers = [n for n, label in enumerate(plan.labels) if label is not None]
    keep = max(1, math.ceil(len(numbers) * len(plan.clf.class_names) / SCORES))
    for start in range(0, len(numbers), BATCH):
        chunk = numbers[start : start + BATCH]
        plan.tell(start, len(numbers), "looking")
        new: list[tuple[int, str, str, Tensor]] = []
        for n in chunk:
            try:
                sha = _sha256(plan.items[n])
                key = key_of(str(plan.items[n].path), sha, plan.labels[n])
                row = plan.journal.get("picture", key)
                if row is None:
                    new.append((n, key, sha, plan.clf.prepare([plan.clf.read(plan.items[n].path)])[0][0]))
                else:
                    found[n] = _looked(n, row)
            except InputError as e:
                failed[n] = str(e)
        found |= _answers(plan, new, keep, failed)
    return [found[n] for n in sorted(found)], failed


def _answers(
    plan: StudyPlan, new: Sequence[tuple[int, str, str, Tensor]], keep: int, failed: dict[int, str]
) -> dict[int, Looked]:
    """First answers to new pictures; one that the model fails on does not take the others along."""
    if not new:
        return {}
    try:
        p = plan.clf.probabilities(torch.stack([image for *_, image in new]))
    except ModelError as e:
        if len(new) > 1:
            return {n: row for one in new for n, row in _answers(plan, [one], keep, failed).items()}
        failed[new[0][0]] = str(e)
        return {}
    out = {}
    for (n, key, sha, _), q in zip(new, p, strict=True):
        label = plan.labels[n]
        assert label is not None
        top = q.topk(min(5, len(q)))
        row = {
            "path": str(plan.items[n].path), "sha256": sha, "label": label,
            "top": [[int(c), float(v)] for c, v in zip(top.indices, top.values, strict=True)],
            "truth": [int((q > q[label]).sum()) + 1, float(q[label])],
            "scores": packed(q) if n % keep == 0 else None,
        }  # fmt: skip
        out[n] = _looked(n, plan.journal.add("picture", key, row))
    return out


def _looked(number: int, row: Mapping[str, Any]) -> Looked:
    top = tuple((int(c), float(v)) for c, v in row["top"])
    truth = (int(row["truth"][0]), float(row["truth"][1]))
    return Looked(number, row["path"], row["sha256"], int(row["label"]), top, truth, row["scores"])


def _sha256(item: Item) -> str:
    try:
        return hashlib.sha256(item.path.read_bytes()).hexdigest()
    except OSError:
        read(item.path)  # says what is wrong with the file
        raise InputError(f"{item.path}: cannot be read") from None


def _recognised(looked: Sequence[Looked]) -> dict[int, list[Looked]]:
    """The rightly answered pictures of each class."""
    pool: dict[int, list[Looked]] = defaultdict(list)
    for one in looked:
        if one.right:
            pool[one.label].append(one)
    return dict(pool)


# --------------------------------------------------------------------------------------------------
# Errors.


def _failures(
    plan: StudyPlan, looked: Sequence[Looked], pool: Mapping[int, Sequence[Looked]], unreadable: dict[int, str]
) -> list[Failure]:
    """Every error, the largest margin first: among these are the wrong labels, if there are any."""
    together = Together([one.scores for one in looked if one.scores is not None])
    wrong = [one for one in looked if not one.right]
    out = []
    for done, one in enumerate(wrong):
        plan.tell(done, len(wrong), "trying errors")
        try:
            out.append(_failure(plan, one, pool, together))
        except (InputError, ModelError) as e:
            unreadable[one.number] = str(e)
    return sorted(out, key=lambda f: -f.margin)


def _failure(plan: StudyPlan, one: Looked, pool: Mapping[int, Sequence[Looked]], together: Together) -> Failure:
    donors = _donors(plan, one, pool)
    key = key_of(one.path, one.sha256, one.label, {side: [d.sha256 for d in given] for side, given in donors.items()})
    row = plan.journal.get("error", key) or plan.journal.add("error", key, _tried(plan, one, donors))
    names, said = plan.clf.class_names, one.top[0]
    measured = {k: v for k, v in row.items() if k not in ("kind", "key")}
    partial = {
        **measured,
        "path": one.path,
        "sha256": one.sha256,
        "truth": ClassScore(class_index=one.label, class_name=names[one.label], probability=one.truth[1]),
        "predicted": ClassScore(class_index=said[0], class_name=names[said[0]], probability=said[1]),
        "margin": said[1] - one.truth[1],
        "truth_rank": one.truth[0],
        "nearness": together.nearness(said[0], one.label, one.scores),
    }
    failure = Failure.model_validate({**partial, "family": "", "sentence": ""})
    case = case_of(failure)
    family = families.family_of(case)
    return failure.model_copy(update={"family": family, "sentence": families.sentence(family, case)})


def case_of(f: Failure) -> families.Case:
    """What decides about a failure."""
    return families.Case(
        predicted=f.predicted.class_name,
        true=f.truth.class_name,
        whole=(f.predicted.probability, f.truth.probability),
        truth_rank=f.truth_rank,
        similarity=f.similarity,
        nearness=f.nearness,
        experiments=f.experiments,
    )


def _donors(plan: StudyPlan, one: Looked, pool: Mapping[int, Sequence[Looked]]) -> dict[Side, list[Looked]]:
    """Recognised pictures of the true class, the predicted class and others, drawn by the seed and the picture."""
    said = one.top[0][0]
    others = [d for c, rows in pool.items() if c not in (said, one.label) for d in rows]
    sides: dict[Side, Sequence[Looked]] = {"true": pool.get(one.label, ()), "predicted": pool.get(said, ())}
    dice = random.Random(key_of(plan.seed, one.sha256))
    return {side: _drawn(dice, sides.get(side, others), DONORS, one) for side in SIDES}


def _drawn(dice: random.Random, rows: Sequence[Looked], count: int, but: Looked) -> list[Looked]:
    known = sorted((r for r in rows if r.sha256 != but.sha256), key=lambda r: (r.sha256, r.path))
    return dice.sample(known, min(count, len(known)))


def _tried(plan: StudyPlan, one: Looked, donors: Mapping[Side, Sequence[Looked]]) -> dict[str, Any]:
    """Maps, their likeness and the experiments on one error, as JSON values."""
    cutout, pair = plan.cutouts[one.number], (one.top[0][0], one.label)
    maps = saliency(
        plan.clf, torch.stack([cutout.image, cutout.image]), list(pair), method=plan.method, **_seeded(plan)
    )  # fmt: skip
    shown = (maps.display[0], maps.display[1])
    given = {side: [(d.path, plan.cutouts[d.number]) for d in rows] for side, rows in donors.items()}
    experiments = try_all(plan.clf, cutout, shown, pair, given)
    alike, overlap = similarity(*shown)
    raw = torch.nan_to_num(maps.raw, nan=0.0, posinf=0.0, neginf=0.0)
    record = MapsRecord(
        method=plan.method, status=(maps.status[0], maps.status[1]), grid=(raw.shape[1], raw.shape[2]),
        predicted=_rows(raw[0]), true=_rows(raw[1]),
    )  # fmt: skip
    return {
        "maps": record.model_dump(mode="json"),
        "similarity": alike,
        "overlap": overlap,
        "object_mask": Mask.of(cutout.mask.numpy()).model_dump(mode="json"),
        "experiments": experiments.model_dump(mode="json"),
    }


def _seeded(plan: StudyPlan) -> dict[str, Any]:
    return {"seed": plan.seed, **plan.options}


def _rows(raw: Tensor) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(f"{v:.6g}") for v in row) for row in raw.tolist())


def similarity(first: Tensor, second: Tensor) -> tuple[float | None, float]:
    """Pearson correlation of two maps (H, W), None where one is flat, and intersection over union of their regions."""
    alike = float(pearson(first[None], second[None])[0])
    p, q = region(first), region(second)
    return None if math.isnan(alike) else alike, float((p & q).sum()) / max(float((p | q).sum()), 1.0)


# --------------------------------------------------------------------------------------------------
# Classes.


def _tallies(
    plan: StudyPlan, looked: Sequence[Looked], failures: Sequence[Failure], pool: Mapping[int, Sequence[Looked]]
) -> list[bias.Tally]:
    missed: dict[int, list[Failure]] = defaultdict(list)
    for f in failures:
        missed[f.truth.class_index].append(f)
    counts = Counter(one.label for one in looked)
    out = []
    for done, (index, count) in enumerate(sorted(counts.items())):
        plan.tell(done, len(counts), "trying classes")
        known = pool.get(index, ())
        seen = _examined(plan, index, pool) if len(known) >= bias.FEWEST else []
        out.append(bias.Tally(index, plan.clf.class_names[index], count, len(known), seen, missed[index]))
    return out


def _examined(plan: StudyPlan, index: int, pool: Mapping[int, Sequence[Looked]]) -> list[bias.Swaps]:
    """Some of a class's recognised pictures before the surroundings of others."""
    others = [d for c, rows in pool.items() if c != index for d in rows]
    known = sorted(pool[index], key=lambda r: (r.sha256, r.path))
    chosen = random.Random(key_of(plan.seed, index)).sample(known, min(EXAMINED, len(known)))
    out = []
    for one in chosen if others else []:
        dice = random.Random(key_of(plan.seed, one.sha256))
        own, other = _drawn(dice, known, OWN, one), _drawn(dice, others, OTHER, one)
        key = key_of(one.path, one.sha256, [d.sha256 for d in own], [d.sha256 for d in other])
        row = plan.journal.get("class", key)
        if row is None:
            cutouts: list[list[Cutout]] = [[plan.cutouts[d.number] for d in rows] for rows in (own, other)]
            found = bias.ask(plan.clf, plan.cutouts[one.number], index, *cutouts)
            row = plan.journal.add("class", key, {**vars(found), "path": one.path})
        out.append(bias.Swaps.of(row))
    return out


# --------------------------------------------------------------------------------------------------


def _report(
    plan: StudyPlan, looked: Sequence[Looked], failures: Sequence[Failure], tallies: Sequence[bias.Tally],
    unreadable: Mapping[int, str], skipped: tuple[Unused, ...], meter: Meter, seconds: float,
) -> Report:  # fmt: skip
    clf = plan.clf
    found = Counter(f.family for f in failures)
    layer = clf.point.path if clf.white_box else None
    order = order_note(Counter((one.label, one.top[0][0]) for one in looked), clf.class_names)
    return Report(
        schema=1,
        model=ModelRecord(
            name=clf.name, fingerprint=clf.fingerprint, layer=layer, layer_reason=clf.layer_reason, notes=clf.notes
        ),
        method=plan.method,
        seed=plan.seed,
        pictures=len(looked),
        correct=sum(one.right for one in looked),
        families={family: found[family] for family in families.FAMILIES},
        pairs=_pairs(failures),
        classes=bias.records(tallies),
        classes_not_examined=sum(not t.seen for t in tallies),
        failures=tuple(failures),
        unreadable=tuple(Unused(path=str(plan.items[n].path), error=text) for n, text in unreadable.items()),
        skipped=skipped,
        cost=AuditCost(forward_passes=meter.forward_passes, tail_passes=meter.tail_passes, seconds=round(seconds, 1)),
        provenance={"saywhy": saywhy.__version__, "torch": torch.__version__},
        notes=() if order is None else (order,),
    )  # fmt: skip


def _pairs(failures: Sequence[Failure]) -> tuple[PairCount, ...]:
    by_pair: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for f in failures:
        by_pair[f.truth.class_name, f.predicted.class_name][f.family] += 1
    rows = sorted(by_pair.items(), key=lambda row: (-row[1].total(), row[0]))
    return tuple(PairCount(truth=t, predicted=p, count=c.total(), families=dict(c)) for (t, p), c in rows)
