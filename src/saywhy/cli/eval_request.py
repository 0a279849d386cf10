"""What `saywhy eval` asks for, checked before any model is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast, get_args

from saywhy.errors import UsageError, unknown
from saywhy.evaluate.aviary_benchmark import BIRD_COLUMNS, GAMES
from saywhy.evaluate.batches import Conventions
from saywhy.evaluate.presets import WORDS, Preset, metrics_named, preset
from saywhy.evaluate.result import direction
from saywhy.evaluate.runner import column
from saywhy.intervene import FILLS
from saywhy.metrics.faithfulness import Drop
from saywhy.metrics.masking import Masking
from saywhy.saliency import METHODS


@dataclass(frozen=True)
class Asked:
    """Methods and metrics by name, the preset whose settings go with them, and the metrics that may be left out."""

    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    preset: Preset
    where_possible: tuple[str, ...] = ()

    @classmethod
    def of(cls, methods: str | None, metrics: str | None, name: str | None, *, aviary: bool) -> Asked:
        """Those of two lists a,b and of a preset; what a list says goes before what the preset says.

        Raises:
            UsageError: an unknown name, or a preset for the aviary, which has metrics of its own.
        """
        if aviary:
            if name is not None:
                raise UsageError("--aviary has metrics of its own; leave --preset out")
            row = Preset((), (), "")
            chosen = cls(_names(methods) or ("all", *GAMES), _names(metrics) or tuple(BIRD_COLUMNS), row)
            for metric in chosen.metrics:
                if metric not in BIRD_COLUMNS:
                    raise unknown("metric of the aviary", metric, BIRD_COLUMNS)
        else:
            row = preset(name or "quick")
            named = _names(metrics)
            chosen = cls(
                _names(methods) or row.methods, tuple(metrics_named(named or row.metrics)), row,
                () if named else row.where_possible,
            )  # fmt: skip
        known = [*METHODS, *WORDS, *(GAMES if aviary else ())]
        for method in chosen.methods:
            if method not in known:
                raise unknown("method", method, known)
        return chosen


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(n.strip() for n in (text or "").split(",") if n.strip())


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
        direction(BIRD_COLUMNS[name] if name in BIRD_COLUMNS else column(name))


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
