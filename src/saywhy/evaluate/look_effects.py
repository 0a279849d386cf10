"""What each part of a bird does for a classifier, by removal and by replacement, and what the background does.

A removal takes the bird apart: a picture that no classifier has seen. A replacement gives the part another colour,
shape or pattern that the aviary draws, or the other answer of its relation: a bird as good as any. What matters under
one need not matter under the other, so both are told.
"""

from __future__ import annotations

from dataclasses import dataclass

from saywhy.aviary import Scene, other_backgrounds, other_looks, removals, render
from saywhy.classifier import Classifier
from saywhy.evaluate.part_effects import view


@dataclass(frozen=True)
class Effects:
    """Probability of the target that is lost: for each shown part by its removal ("removal") and, in the mean over its
    other looks, by each kind of replacement ("colour", "shape", "pattern", "relation"); `background` for each other
    background."""

    target: str
    probability: float
    parts: dict[str, dict[str, float]]
    background: dict[str, float]

    def replacement(self, part: str) -> float:
        """The largest loss by any kind of replacement of a part."""
        return max((v for k, v in self.parts[part].items() if k != "removal"), default=0.0)


def look_effects(clf: Classifier, scene: Scene, target: str | None = None) -> Effects:
    """The effects of a scene's first bird for `target`, by default the class that the classifier names."""
    shown = render(scene).shown()
    asked: list[tuple[str, str, Scene]] = [(p, "removal", s) for p, s in removals(scene).items() if p in shown]
    asked += [(p, key, s) for p in shown for key, _, s in other_looks(scene, p)]
    backgrounds = other_backgrounds(scene)
    scenes = [scene, *(s for _, _, s in asked), *(s for _, s in backgrounds)]
    p = clf.probabilities(view(clf, [render(s) for s in scenes]))
    chosen = int(p[0].argmax()) if target is None else clf.class_names.index(target)
    lost = [float(p[0, chosen] - q) for q in p[1:, chosen]]
    found: dict[str, dict[str, list[float]]] = {}
    for (part, key, _), loss in zip(asked, lost, strict=False):
        found.setdefault(part, {}).setdefault(key, []).append(loss)
    return Effects(
        clf.class_names[chosen],
        float(p[0, chosen]),
        {part: {k: sum(v) / len(v) for k, v in kinds.items()} for part, kinds in found.items()},
        {kind: loss for (kind, _), loss in zip(backgrounds, lost[len(asked) :], strict=True)},
    )
