"""What `saywhy eval` asks for, checked before any model is loaded; and then what it measures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast, get_args

from saywhy.collection import Item
from saywhy.errors import UsageError, unknown
from saywhy.evaluate.aviary_benchmark import BIRD_COLUMNS, DEAR, GAMES, PICTURES, evaluate_aviary
from saywhy.evaluate.batches import Conventions
from saywhy.evaluate.presets import AVIARY_PRESETS, WORDS, Preset, metrics_named, preset
from saywhy.evaluate.result import Evaluation, direction
from saywhy.evaluate.runner import column, evaluate
from saywhy.evaluate.sentence_table import SENTENCE_COLUMNS, WAYS, evaluate_sentences
from saywhy.explainer import Explainer
from saywhy.intervene import FILLS
from saywhy.metrics.faithfulness import Drop
from saywhy.metrics.masking import Masking
from saywhy.saliency import METHODS


@dataclass(frozen=True)
class Asked:
    """Methods and metrics by name, the preset whose settings go with them, and the metrics that may be left out;
    `sentences` where it is sentences about birds that are judged."""

    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    preset: Preset
    where_possible: tuple[str, ...] = ()
    sentences: bool = False

    @classmethod
    def of(cls, methods: str | None, metrics: str | None, name: str | None, *, aviary: bool) -> Asked:
        """Those of two lists a,b and of a preset; what a list says goes before what the preset says.

        Raises:
            UsageError: an unknown name.
        """
        if aviary:
            return _on_birds(names(methods), names(metrics), name or next(iter(AVIARY_PRESETS)))
        row = preset(name or "quick")
        named = names(metrics)
        chosen = cls(
            names(methods) or row.methods, tuple(metrics_named(named or row.metrics)), row,
            () if named else row.where_possible,
        )  # fmt: skip
        _check("method", chosen.methods, [*METHODS, *WORDS])
        return chosen


def _on_birds(methods: tuple[str, ...], metrics: tuple[str, ...], name: str) -> Asked:
    """What is asked of birds, of which there are two tables: of maps and of sentences."""
    if name not in AVIARY_PRESETS:
        raise unknown("preset of the aviary", name, AVIARY_PRESETS)
    sentences = name == "sentences"
    columns = SENTENCE_COLUMNS if sentences else BIRD_COLUMNS
    usual = ("explain",) if sentences else ()
    _check("metric of sentences" if sentences else "metric of the aviary", metrics, list(columns))
    _check("method", methods, list(WAYS) if sentences else [*METHODS, *WORDS, *GAMES])
    return Asked(methods or usual, metrics or tuple(columns), Preset((), (), ""), sentences=sentences)


def _check(what: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise unknown(what, name, known)


def names(text: str | None) -> tuple[str, ...]:
    """The names of a list a,b."""
    return tuple(n.strip() for n in (text or "").split(",") if n.strip())


@dataclass(frozen=True)
class Few:
    """How many pictures at most: in all, for methods that ask the model hundreds of times, for metrics that do; None
    where the preset says it."""

    pictures: int | None = None
    perturbation: int | None = None
    sanity: int | None = None


@dataclass(frozen=True)
class Measuring:
    """What every table is measured with: the fitted parts, how many pictures, the seed, who is told."""

    fitted: Explainer
    few: Few
    seed: int
    tell: Callable[[int, int, str], None]

    def _methods(self, asked: Asked) -> tuple[str, ...]:
        """Those that are asked for, and those that fitted parts serve."""
        return tuple(dict.fromkeys([*asked.methods, *self.fitted.options]))

    def birds(self, asked: Asked) -> Evaluation:
        """The table of birds: of sentences or of maps."""
        how: dict[str, Any] = {"limit": self.few.pictures or PICTURES, "seed": self.seed, "progress": self.tell}
        clf = self.fitted.clf
        if asked.sentences:
            return evaluate_sentences(clf, asked.methods, asked.metrics, explainer=self.fitted, **how)
        return evaluate_aviary(
            clf, self._methods(asked) if asked.methods else None, asked.metrics, options=self.fitted.options,
            bank=self.fitted.parts.get("concepts"), perturbation_limit=self.few.perturbation or DEAR, **how,
        )  # fmt: skip

    def photos(
        self, asked: Asked, items: Sequence[Item], target: str, truth: Sequence[str], how: Conventions,
        limits: Mapping[str, float],
    ) -> Evaluation:  # fmt: skip
        """The table of photos; a metric with a limit is measured on all of them or is an error."""
        usual = asked.preset
        return evaluate(
            self.fitted.clf, items, self._methods(asked), asked.metrics, options=self.fitted.options, target=target,
            truth=truth, limit=self.few.pictures, controls=usual.controls,
            perturbation_limit=self.few.perturbation or usual.perturbation_limit,
            sanity_limit=self.few.sanity or usual.sanity_limit,
            where_possible=[m for m in asked.where_possible if m not in limits],
            conventions=how, seed=self.seed, progress=self.tell,
        )  # fmt: skip


def limits_of(texts: Sequence[str]) -> dict[str, float]:
    """Limits by metric, of texts METRIC=VALUE.

    Raises:
        UsageError: a text of another form.
    """
    limits = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            limits[name.strip()] = float(value)
        except ValueError:
            raise UsageError(f"--fail-below takes METRIC=VALUE, such as epg=0.4, not {text!r}") from None
    return limits


def check_limits(limits: Mapping[str, float], metrics: Sequence[str]) -> None:
    """Raises UsageError unless every limit is of a metric that is measured and has a better end."""
    for name in limits:
        if name not in metrics:
            raise unknown("measured metric", name, metrics)
        birds = BIRD_COLUMNS | SENTENCE_COLUMNS
        direction(birds[name] if name in birds else column(name))


def conventions(fill: str, masking: str, drop: str, steps: int) -> Conventions:
    """Conventions of their names.

    Raises:
        UsageError: an unknown name.
    """
    for what, given, known in (
        ("fill", fill, tuple(FILLS)),
        ("masking", masking, get_args(Masking)),
        ("drop", drop, get_args(Drop)),
    ):
        if given not in known:
            raise unknown(what, given, known)
    return Conventions(fill=fill, masking=cast(Masking, masking), drop=cast(Drop, drop), steps=steps)
