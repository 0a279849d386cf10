"""From what the parts find in one image to what experiments confirm: one batch of runs for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, count
from typing import Any, get_args

import torch
from torch import Tensor

from saywhy.errors import UsageError, unknown
from saywhy.explanation import PRESENT, Run
from saywhy.intervene import CONFIRMING, Experiment, Masked, experiment, masked_probabilities
from saywhy.language import Confirming, kinds
from saywhy.parts import PARTS, Act, Confirmed, Proposal, Request, What
from saywhy.seen import Seen

Key = tuple[str, bytes]  # what is done, and to which pixels
Trial = tuple[Experiment, Tensor | None]  # and what the whole mirror gave, of an experiment in the mirror


def settle(seen: Seen, fitted: Mapping[str, Any], asked: Request) -> tuple[dict[str, Confirmed], list[Run]]:
    """What each part finds and the experiments confirm, by name, and the runs of all of them.

    `fitted` holds the parts that were fitted, by name.

    Raises:
        UsageError: a part proposes what cannot be tried, or claims what no sentence says.
    """
    faces = {name: row.face() for name, row in PARTS.items()}
    found: dict[str, Any] = {}
    for name, face in faces.items():
        mine = None if face.find is None else face.find(fitted.get(name), seen, found, asked)
        found |= {} if mine is None else {name: mine}
    proposed = {name: p(found[name], seen) for name in found if (p := faces[name].propose) is not None}
    for name, proposal in proposed.items():
        _check(name, proposal, tuple(seen.image.shape[1:]))
    runs = _tried(seen, proposed, asked)
    confirmed = {name: c(found[name], seen, runs.get(name, ())) for name in found if (c := faces[name].confirm)}
    for name, own in confirmed.items():
        if nameless := [f.claim.kind for f in own.said if f.claim.kind not in kinds()]:
            raise unknown(f"kind of claim of the part {name}", nameless[0], kinds())
    return confirmed, list(dict.fromkeys(c.run for own in runs.values() for c in own))


def _check(name: str, p: Proposal, size: tuple[int, ...]) -> None:
    k = len(p.ids)
    if p.players.dtype != torch.bool or tuple(p.players.shape) != (k, *size):
        raise UsageError(
            f"the part {name} proposes players {tuple(p.players.shape)} {p.players.dtype} with {k} ids; they are "
            f"boolean masks ({k}, {', '.join(map(str, size))})"
        )
    wrong = [act for act in p.acts if act[0] not in get_args(What) or not all(0 <= i < k for i in act[1])]
    if wrong:
        raise UsageError(f"the part {name} proposes {wrong[0]}: to hide or to keep players 0 to {k - 1} is what can be")


def _tried(seen: Seen, proposed: Mapping[str, Proposal], asked: Request) -> dict[str, tuple[Confirming, ...]]:
    """The runs of each part, in the order of its acts; what two parts would do alike is done once."""
    if not any(p.acts for p in proposed.values()):
        return {}
    players = torch.cat([p.players for p in proposed.values()])
    first = dict(zip(proposed, accumulate((len(p.players) for p in proposed.values()), initial=0), strict=False))
    keys = {name: [_key(p, act) for act in p.acts] for name, p in proposed.items()}
    acts: dict[Key, Act] = {}
    for name, p in proposed.items():
        for key, (what, which) in zip(keys[name], p.acts, strict=True):
            acts.setdefault(key, (what, tuple(first[name] + i for i in which)))
    twice = {k for name, p in proposed.items() for k, a in zip(keys[name], p.acts, strict=True) if a in p.mirrored}
    asked.tell(f"checking {len(acts)} findings by other experiments")
    plain = _carried_out(seen, players, acts, asked.seed)
    turned = _carried_out(seen, players, {k: a for k, a in acts.items() if k in twice}, asked.seed, mirrored=True)
    numbers = count(1)
    trials = {key: [(next(numbers), t) for t in (*plain[key], *turned.get(key, ()))] for key in acts}
    return {
        name: tuple(
            _run(seen, n, trial, [p.ids[i] for i in act[1]])
            for key, act in zip(keys[name], p.acts, strict=True)
            for n, trial in trials[key]
        )
        for name, p in proposed.items()
    }


def _key(p: Proposal, act: Act) -> Key:
    what, which = act
    return what, p.players[list(which)].any(dim=0).numpy().tobytes()


def _carried_out(
    seen: Seen, players: Tensor, acts: Mapping[Key, Act], seed: int, *, mirrored: bool = False
) -> dict[Key, list[Trial]]:
    """Each act in each way, in the picture or in its mirror; there what the whole mirror gave (C,) is known too."""
    image, masks, whole = seen.image, players, None
    if acts and mirrored:
        image, masks = image.flip(-1), masks.flip(-1)
        nothing = Masked(image[None], 1, lambda start, stop: torch.ones_like(masks[:1]), *CONFIRMING[0])
        whole = masked_probabilities(seen.tap.clf, [nothing])[0]
    trials = [(trial, whole) for trial in experiment(seen.tap.clf, image, masks, list(acts.values()), seed=seed)]
    ways = len(trials) // max(1, len(acts))
    return {key: trials[n * ways : (n + 1) * ways] for n, key in enumerate(acts)}


def _run(seen: Seen, n: int, of: Trial, ids: Sequence[str]) -> Confirming:
    trial, whole = of
    score = float(trial.probabilities[seen.target])
    run = Run(
        id=f"r{n}",
        act=trial.act,
        regions=tuple(ids),
        fill=trial.fill,
        seed=trial.seed,
        score=score,
        contrast=None if seen.versus is None else score - float(trial.probabilities[seen.versus]),
        mirrored=whole is not None,
    )
    lead, over = _led(seen, trial.probabilities)
    known = None
    if whole is not None:
        known = float(whole[seen.target]), None if seen.versus is None else float(whole[seen.versus])
    return Confirming(run, int(seen.says(trial.probabilities[None])), lead, over, whole=known)


def _led(seen: Seen, probabilities: Tensor) -> tuple[float, float]:
    """By how much the first of the probabilities (C,) leads the second, and the target; of a label that excludes
    nothing, how far it lies below where it would be present."""
    first, second = (*probabilities.topk(min(2, len(probabilities))).values.tolist(), 0.0)[:2]
    own = float(probabilities[seen.target])
    return (first - second, first - own) if seen.tap.clf.exclusive else (0.0, PRESENT - own)
