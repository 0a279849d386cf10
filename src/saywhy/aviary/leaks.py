"""What beside the rule tells the class? The audit of a seed: each nuisance against the class, probes, and what one part
of a relation gives away.

A *nuisance* is what no rule speaks of. `audit` draws the clean pictures 0 .. n-1 of a seed; a nuisance that depends on
the class shows up in its test (Kruskal-Wallis for numbers, chi-squared for kinds) and in a probe, a linear classifier
that is fitted to one half and judged on the other. C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation
from scipy.stats import binomtest, chi2_contingency, kruskal

from saywhy.aviary.birds import Bird, Part
from saywhy.aviary.faults import sample
from saywhy.aviary.sampling import Sample
from saywhy.aviary.scene import Rendered, render
from saywhy.aviary.scenery import generator
from saywhy.aviary.world import Relation, Species, World, world

PICTURES = 4800
DRAWS = 6000  # birds of each of two species that a relation tells apart
LIMIT = 0.001  # of p, of all tests of an audit together
EDGE = 2  # pixels around a bird in which its paint can be
ALONE = 0.60, 0.52  # what one part's number may give: of different parts, of two of a kind
_LEAKS = 11

Reals = NDArray[np.float64]
Labels = NDArray[np.int64]

# Of a scene, before anything is painted.
NUMBERS: dict[str, Callable[[Bird], float]] = {
    "scale": lambda b: b.scale,
    "place across": lambda b: b.x,
    "place down": lambda b: b.y,
    "angle": lambda b: b.angle,
    "height of the head": lambda b: b.lift,
}


@dataclass(frozen=True)
class Finding:
    """One test: what was tested, its p, for a probe its accuracy and chance."""

    name: str
    p: float
    accuracy: float | None = None
    chance: float | None = None


@dataclass(frozen=True)
class Alone:
    """How often one number of one part gives the answer of the relation that alone tells two species apart, and both
    numbers of the part together; at most `limit` is allowed, and `error` is the standard error of these shares."""

    species: tuple[str, str]
    part: str
    place: float
    size: float
    both: float
    limit: float
    error: float


@dataclass(frozen=True)
class Leaks:
    """The audit of a seed: `nuisances` and `probes` with their p, and what `relations` give away part by part."""

    edition: str
    seed: int
    pictures: int
    nuisances: tuple[Finding, ...]
    probes: tuple[Finding, ...]
    relations: tuple[Alone, ...]

    @property
    def found(self) -> tuple[str, ...]:
        """What tells the class and should not, beyond chance: `LIMIT` is of all tests together, and a part gives more
        away than it may if it does by three standard errors."""
        tests = (*self.nuisances, *self.probes)
        told = tuple(f.name for f in tests if f.p < LIMIT / len(tests))
        given = (a for a in self.relations if max(a.place, a.size) > a.limit + 3 * a.error)
        return told + tuple(f"{a.part} of {' and '.join(a.species)}" for a in given)


def _kinds(one: Sample) -> dict[str, str]:
    """The nuisances of a picture that are kinds: setting, facing, objects, and the looks of parts in no rule."""
    scene, bird = one.scene, one.scene.birds[0]
    known = world(scene.edition)
    out = {"background": scene.background.kind, "facing": str(bird.mirror), "objects": str(len(scene.objects))}
    out |= {f"a {k}": str(sum(o.kind == k for o in scene.objects)) for k in known.objects}
    for part, key in known.domains:
        if part in known.null_parts:
            own = bird.part(part)
            out[f"{key} of the {part}"] = "none" if own is None else str(getattr(own, key))
    return out


def _surroundings(rendered: Rendered) -> Reals:
    """Colour histogram (4 x 4 x 4) of what is no bird, and not its soft edge either."""
    pixels = rendered.pixels[~binary_dilation(~rendered.background_mask, iterations=EDGE)] // 64
    counts = np.bincount(pixels[:, 0].astype(np.int64) * 16 + pixels[:, 1] * 4 + pixels[:, 2], minlength=64)
    return np.sqrt(counts / max(len(pixels), 1))


def _number_test(values: Reals, classes: Labels) -> float:
    groups = [values[classes == c] for c in np.unique(classes)]
    return 1.0 if np.ptp(values) == 0 else float(kruskal(*groups).pvalue)


def _kind_test(values: list[str], classes: Labels) -> float:
    names, at = np.unique(values, return_inverse=True)
    table = np.zeros((len(names), int(classes.max()) + 1))
    np.add.at(table, (at, classes), 1)
    table = table[table.sum(axis=1) >= 5 * table.shape[1]]  # rarer kinds have no test
    return 1.0 if len(table) < 2 else float(chi2_contingency(table).pvalue)


def probe(features: Reals, classes: Labels) -> float:
    """Accuracy on the second half of the pictures of a linear classifier (least squares, ridge 1) of the first."""
    spread = features.std(axis=0)
    x = (features[:, spread > 0] - features[:, spread > 0].mean(axis=0)) / spread[spread > 0]
    x = np.concatenate([np.ones((len(x), 1)), x], axis=1)
    half = len(x) // 2
    wanted = np.eye(int(classes.max()) + 1)[classes[:half]]
    weights = np.linalg.solve(x[:half].T @ x[:half] + np.eye(x.shape[1]), x[:half].T @ wanted)
    return float(((x[half:] @ weights).argmax(axis=1) == classes[half:]).mean())


def _probed(name: str, features: Reals, classes: Labels) -> Finding:
    accuracy, n, chance = probe(features, classes), len(classes) - len(classes) // 2, 1 / (int(classes.max()) + 1)
    return Finding(name, float(binomtest(round(accuracy * n), n, chance, "greater").pvalue), accuracy, chance)


def _curved(x: Reals) -> Reals:
    """Features with their squares and products, so that a linear classifier can bend."""
    i, j = np.triu_indices(x.shape[1])
    centred = x - x.mean(axis=0)
    return np.concatenate([centred, centred[:, i] * centred[:, j]], axis=1)


def _one_hot(values: list[str]) -> Reals:
    names, at = np.unique(values, return_inverse=True)
    return np.eye(len(names))[at]


# --------------------------------------------------------------------------------------------------
# What one part of a relation gives away.


def told_by_relation(known: World) -> list[tuple[Species, Species, Relation]]:
    """Pairs of species that differ in the answer of one relation, and that relation."""
    out = []
    rows = list(known.species.values())
    for a, b in ((a, b) for k, a in enumerate(rows) for b in rows[k + 1 :] if a.clan == b.clan):
        mine, theirs = set(a.rule) - set(b.rule), set(b.rule) - set(a.rule)
        if len(mine) == len(theirs) == 1 and (atom := next(iter(mine))).other is not None:
            row = known.relation(atom.part, atom.other, atom.value)
            assert row is not None
            out.append((a, b, row))
    return out


def _guess(values: Reals, answers: Labels) -> float:
    """How often the commoner answer in a value's cell is right: cells and answers of one half, judged on the other."""
    cells = 24 if values.shape[1] == 1 else 8
    low, high = values.min(axis=0), values.max(axis=0)
    if (high == low).all():
        return 0.5
    at = np.minimum(((values - low) / np.maximum(high - low, 1e-9) * cells).astype(np.int64), cells - 1)
    index = at @ (cells ** np.arange(values.shape[1]))
    half = len(values) // 2
    votes = np.bincount(index[:half], answers[:half] * 2 - 1.0, cells ** values.shape[1])
    return float(((votes[index[half:]] > 0) == answers[half:]).mean())


def _numbers(part: Part) -> tuple[float, float]:
    return part.shift, part.size


def alone(a: Species, b: Species, row: Relation, *, seed: int = 0, draws: int = DRAWS) -> list[Alone]:
    """What each part of the relation between two species gives away, in `draws` birds of each."""
    known = world(a.edition)
    drawn = [[known.draw(generator(_LEAKS, seed, k, i), s.name) for i in range(draws)] for k, s in enumerate((a, b))]
    order = np.random.default_rng(seed).permutation(2 * draws)
    answers = np.repeat([0, 1], draws)[order]
    kind = row.part.rstrip("2") == row.other.rstrip("2")
    out = []
    for part in (row.part, row.other):
        numbers = np.array([_numbers(p) for birds in drawn for x in birds if (p := x.part(part)) is not None])[order]
        place, size, both = (_guess(numbers[:, columns], answers) for columns in ([0], [1], [0, 1]))
        out.append(Alone((a.name, b.name), part, place, size, both, ALONE[kind], (0.25 / draws) ** 0.5))
    return out


# --------------------------------------------------------------------------------------------------


def audit(
    seed: int, *, edition: str = "2", pictures: int = PICTURES, draws: int = DRAWS, size: int = 64,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Leaks:  # fmt: skip
    """The audit of the clean pictures 0 .. pictures-1 of a seed, rendered at `size` pixels.

    Raises:
        UsageError: no such edition, or a negative seed.
    """
    known = world(edition)
    drawn, around = [], []
    for index in range(pictures):
        drawn.append(sample(seed, index, edition=edition, size=size))
        around.append(_surroundings(render(drawn[-1].scene)))
        progress(index + 1, pictures)
    classes = np.array([s.class_index for s in drawn])
    birds = [s.scene.birds[0] for s in drawn]
    numbers = {name: np.array([f(b) for b in birds]) for name, f in NUMBERS.items()}
    rows = [_kinds(s) for s in drawn]
    kinds = {name: [r[name] for r in rows] for name in rows[0]}
    pairs = [a for one in told_by_relation(known) for a in alone(*one, seed=seed, draws=draws)]
    return Leaks(
        edition, seed, pictures,
        tuple(
            [Finding(n, _number_test(v, classes)) for n, v in numbers.items()]
            + [Finding(n, _kind_test(v, classes)) for n, v in kinds.items()]
        ),
        _probes(numbers, kinds, np.array(around), classes),
        tuple(pairs),
    )  # fmt: skip


def _probes(
    numbers: Mapping[str, Reals], kinds: Mapping[str, list[str]], around: Reals, classes: Labels
) -> tuple[Finding, ...]:
    pose = np.stack([v for n, v in numbers.items() if n != "scale"], axis=1)
    setting = np.concatenate([_one_hot(v) for n, v in kinds.items() if " of the " not in n], axis=1)
    null = np.concatenate([_one_hot(v) for n, v in kinds.items() if " of the " in n], axis=1)
    return (
        _probed("from the scale", _curved(numbers["scale"][:, None]), classes),
        _probed("from pose and place", _curved(pose), classes),
        _probed("from background and objects", setting, classes),
        _probed("from the colours around the bird", around, classes),
        _probed("from parts in no rule", null, classes),
    )


def lines(leaks: Leaks) -> list[str]:
    """The audit as text."""
    head = f"edition {leaks.edition}, seed {leaks.seed}, {leaks.pictures} pictures"
    out = [f"{head}; a leak: p under {LIMIT} of all tests together"]
    out += [f"{f.name:40s} p {f.p:.4f}" for f in leaks.nuisances]
    out += [f"{f.name:40s} p {f.p:.4f}  right {f.accuracy:.3f}, by chance {f.chance:.3f}" for f in leaks.probes]
    for a in leaks.relations:
        rates = f"place alone {a.place:.3f}  size alone {a.size:.3f}  both {a.both:.3f}"
        out.append(f"{' or '.join(a.species) + ': ' + a.part:52s} {rates}  (one: at most {a.limit:.2f})")
    return [*out, f"leaks: {', '.join(leaks.found) or 'none'}"]


def record(leaks: Leaks) -> dict[str, Any]:
    """The audit as JSON values."""

    def finding(f: Finding) -> dict[str, Any]:
        rates = {} if f.accuracy is None or f.chance is None else {"accuracy": f.accuracy, "chance": f.chance}
        return {"name": f.name, "p": round(f.p, 6), **{k: round(v, 4) for k, v in rates.items()}}

    return {
        "edition": leaks.edition,
        "seed": leaks.seed,
        "pictures": leaks.pictures,
        "nuisances": [finding(f) for f in leaks.nuisances],
        "probes": [finding(f) for f in leaks.probes],
        "relations": [
            {"species": list(a.species), "part": a.part, "place": round(a.place, 4), "size": round(a.size, 4),
             "both": round(a.both, 4), "limit": a.limit}
            for a in leaks.relations
        ],
        "found": list(leaks.found),
    }  # fmt: skip
