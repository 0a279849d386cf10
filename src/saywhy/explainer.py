"""One call that explains one image, and the explainer: a classifier with the parts that were fitted to it.

The order of things: every part of the table looks for something and proposes what to say about it; experiments that did
not lead to the proposals are carried out for all parts together; and only what they confirm is said.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from saywhy import storage
from saywhy.captioning import captioned
from saywhy.classifier import Classifier, in_colours
from saywhy.collection import Item, find_images
from saywhy.errors import SaywhyError, UsageError, unknown, whole
from saywhy.explanation import Explanation, Unit
from saywhy.image import Picture, Source
from saywhy.intervene import remembering
from saywhy.language import Found, labelled, prediction, tell
from saywhy.parts import PARTS, Fitting, Made, Request
from saywhy.passes import counting
from saywhy.record import to_explanation
from saywhy.seen import Seen, look
from saywhy.settling import settle
from saywhy.targets import Class
from saywhy.writing import check_writer, retold
from saywhy.zoo import Model, classifier_of, load_classifier

Tell = Callable[[str], None]


def _silent(step: str) -> None:
    pass


@dataclass(frozen=True, eq=False, repr=False)
class Explainer:
    """A classifier (or what `load_classifier` takes) and its fitted parts by name; without any it explains as
    `saywhy.explain` does.

    `made` says of parts that were just fitted what came of it.
    """

    clf: Classifier
    parts: Mapping[str, Any] = field(default_factory=dict)
    made: Mapping[str, Made] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "clf", classifier_of(self.clf))
        for name in self.parts:
            if name not in PARTS:
                raise unknown("part", name, PARTS)

    def __repr__(self) -> str:
        return f"<Explainer of {self.clf!r} with {', '.join(self.parts) or 'no fitted parts'}>"

    @classmethod
    def fit(
        cls,
        clf: Model,
        images: str | Path | Sequence[str | Path | Item],
        parts: Sequence[str] | None = None,
        *,
        presets: Mapping[str, str] | None = None,
        init: Explainer | None = None,
        amp: bool | None = None,
        folder: str | Path | None = None,
        seed: int = 0,
        progress: Tell | None = None,
        space: str = "own",
        phrases: Sequence[str] = (),
        captions: str | Path | None = None,
        tagger: str = "lexicon",
    ) -> Explainer:
        """Fits parts (all that learn, by default) to a classifier with pictures. Same seed, same explainer.

        `presets` names the recipe of a part, `init` is an explainer to start from, whose other parts are kept. With
        `folder` an interrupted run goes on where it was. `made` names the pictures that could not be read. `space` is a
        row of `saywhy.spaces.TEXT_SPACES` and `phrases` what is said in it, for parts that speak (branch).
        `captions` is a file of captions or attributes (`saywhy.captioning`), beside those that an images.jsonl has, and
        `tagger` a row of `saywhy.attributes.tagging.TAGGERS`, for parts that read them (attributes).

        Raises:
            UsageError: an unknown part or preset, one that does not learn, a classifier that it cannot learn from, an
                `init` of another classifier, captions that none of the parts reads.
            InputError: no picture can be read, or the captions cannot.
        """
        clf, seed = classifier_of(clf), whole("seed", seed)
        in_colours(clf, "parts are learned")
        names = fittable(parts)
        given = _presets(names, presets or {})
        if init is not None:
            _check_owner(init, clf)
        known: Sequence[Any] = [images] if isinstance(images, (str, Path)) else images
        items = list(known) if all(isinstance(i, Item) for i in known) else find_images(known)
        strangers: tuple[str, ...] = ()
        if captions is not None:
            check_captions(names)
            found = captioned(items, captions)
            items, strangers = found.items, found.strangers
        made: dict[str, Made] = {}
        kept = {} if init is None else dict(init.parts)
        for name in names:
            unfinished = None if folder is None else Path(folder) / f"{name}.checkpoint.safetensors"
            start = None if init is None else init.parts.get(name)
            there = kept | {other: m.part for other, m in made.items()}
            how = Fitting(
                given[name], start, amp, unfinished, seed, progress or _silent, space, tuple(phrases), there, tagger,
                strangers,
            )  # fmt: skip
            fit = PARTS[name].face().fit
            assert fit is not None
            made[name] = fit(clf, items, how)
        return cls(clf, kept | {name: m.part for name, m in made.items()}, made)

    def save(self, folder: str | Path) -> Path:
        """Writes the fitted parts into a folder, whole or not at all; what is left of their unfinished runs goes.

        Raises:
            InputError: it cannot be written.
        """
        place = storage.write(Path(folder), self.clf, self.parts)
        for file in [file for made in self.made.values() for file in made.leftovers]:
            file.unlink(missing_ok=True)
        return place

    @classmethod
    def load(cls, folder: str | Path, clf: Classifier | None = None) -> Explainer:
        """Reads an explainer; without a classifier the one that it names is loaded.

        Raises:
            InputError: no explainer there, or one that cannot be read.
            UsageError: it belongs to another classifier, or a newer saywhy wrote it.
        """
        found = storage.listing(Path(folder))
        clf = _named(found) if clf is None else clf
        return cls(clf, storage.read(found, clf))

    def given(self, seed: int = 0, **what: Any) -> Explainer:
        """The same with parts made of what is given by their names, once for all images that it explains:
        `Explainer(clf).given(surroundings="fields/")`. The seed decides what is drawn of it.

        Raises:
            InputError: what is given cannot be read.
            UsageError: a part that takes nothing.
        """
        takers = {name: take for name, row in PARTS.items() if (take := row.face().take)}
        for name in what:
            if name not in takers:
                raise unknown("part that takes something", name, takers)
        made = {name: takers[name](self.clf, value, seed) for name, value in what.items()}
        return replace(self, parts={**self.parts, **made})

    @property
    def options(self) -> dict[str, dict[str, Any]]:
        """Options of saliency methods that its parts serve, `{"l-cam": {"head": ...}}`."""
        served: dict[str, dict[str, Any]] = {}
        for name, part in self.parts.items():
            serves = PARTS[name].face().serves
            served |= {} if serves is None else {method: dict(given) for method, given in serves(part).items()}
        return served

    @property
    def method(self) -> str | None:
        """The saliency method that its parts serve; None leaves the choice as it is without them."""
        return next(iter(self.options), None)

    def explain(
        self, source: Source | Picture | Tensor, target: Class | None = None, versus: Class | None = None, **how: Any
    ) -> Explanation:
        """Explains one image; as `saywhy.explain`, whose other options may be given."""
        return explain(self.clf, source, target, versus, explainer=self, **how)

    def explain_each(
        self, source: Source | Picture | Tensor, targets: Sequence[Class], versus: Class | None = None, **how: Any
    ) -> tuple[Explanation, ...]:
        """Explains several classes of one image; as `saywhy.explain_each`."""
        return explain_each(self.clf, source, targets, versus, explainer=self, **how)


def fittable(parts: Sequence[str] | None = None) -> list[str]:
    """These parts in the order of the table, or all that learn from pictures alone; an error names those that do not
    learn."""
    known = {name: row for name, row in PARTS.items() if row.presets}
    for name in parts or ():
        if name not in known:
            raise unknown("part to fit", name, known)
    return [name for name, row in known.items() if (not row.needs if parts is None else name in parts)]


def check_captions(parts: Sequence[str]) -> None:
    """Raises UsageError if none of these parts reads captions."""
    reading = [name for name, row in PARTS.items() if "captions" in row.needs]
    if not set(reading) & set(parts):
        raise UsageError(
            f"captions are read by the part {' or '.join(reading)}: --parts {','.join([*parts, reading[0]])}"
        )


def _presets(parts: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """The preset of each of these parts, its first where none is given."""
    for part, name in given.items():
        if part not in parts:
            raise unknown("part to fit", part, parts)
        if name not in PARTS[part].presets:
            raise unknown(f"preset of {part}", name, PARTS[part].presets)
    return {part: given.get(part) or PARTS[part].presets[0] for part in parts}


def _check_owner(explainer: Explainer, clf: Classifier) -> None:
    own = explainer.clf
    if own is not clf and own.fingerprint != clf.fingerprint:
        raise UsageError(f"the explainer belongs to the classifier {own.fingerprint}, not to {clf.fingerprint}")


def _named(found: storage.Listing) -> Classifier:
    way_out = f"give the classifier: saywhy.Explainer.load({str(found.folder)!r}, clf)"
    if not found.classifier:
        raise UsageError(f"{found.folder}: does not say which classifier it was fitted to; {way_out}")
    try:
        return load_classifier(found.classifier)
    except SaywhyError as e:
        raise UsageError(f"{found.folder}: its classifier {found.classifier!r} is not found ({e}); {way_out}") from e


# --------------------------------------------------------------------------------------------------
# One image.


def explain(
    clf: Model,
    source: Source | Picture | Tensor,
    target: Class | None = None,
    versus: Class | None = None,
    *,
    method: str | None = None,
    regions: int | None = None,
    unit: Unit = "probability",
    explainer: Explainer | None = None,
    surroundings: str | Path | Sequence[str | Path] | None = None,
    phrases: Sequence[str] = (),
    relations: bool = False,
    substitute: bool = False,
    fast: bool = False,
    writer: str = "template",
    style: str = "full",
    seed: int = 0,
    progress: Tell | None = None,
) -> Explanation:
    """Explains why the classifier gives one image a class, and why not another.

    `clf` is a Classifier, or what `saywhy.load_classifier` takes: a network, a callable, "timm:resnet50" (for many
    calls, load it once). `source` is a photo (path, bytes, PIL image, array, tensor (3, H, W) of bytes), or the
    classifier's very input, a tensor (3, H, W) of floats in [0, 1].
    `target` is the class to explain (the predicted one by default), `versus` the class to compare it with (the
    runner-up by default), `method` the saliency method of the map (by default the one that suits the network),
    `regions` their number at most (1 to 8), `unit` of contributions "probability" or "log-odds"; where the
    probability is saturated and hardly moves, it is log-odds anyway. `fast` asks the classifier at most 60 times
    for regions, and says less: nothing of how they work together. `explainer` holds parts that were fitted to this
    classifier (`saywhy.Explainer.load`): what it has is used unless `method` says otherwise. `surroundings` are
    pictures before which the object is shown, four of a folder, instead of plain ones (for many photos once:
    `Explainer.given`). `phrases` are looked for by the explainer's branch, instead of those that it knows. With
    `relations` pieces of what counts are moved, to find out whether how they lie to each other counts.
    With `substitute` the piece that keeps `versus` from being said is exchanged for a good one of that class, by an
    explainer that has such pieces (the part substitution), and the kind of error is told.
    `writer` (a row of `saywhy.writing.WRITERS`) puts what was confirmed in other words, in a `style` ("full", "short",
    "layman", "report"), and only if its text reads back as the same; `statements` stay.
    `progress` is told each step in words. Same seed, same explanation; the seed changes only what is drawn: one of
    five fills, which four pictures, saliency methods that draw masks, and the words of a writer.

    Raises:
        InputError: the picture cannot be read, or the surroundings cannot.
        UsageError: an unknown class, method or unit, target and versus are the same class, the explainer belongs to
            another classifier, no such writer or style, or a thing of another kind was given.
        ModelError: the classifier fails or returns NaN.
    """
    check_writer(writer, style)
    if unit not in ("probability", "log-odds"):
        raise UsageError(f"unit is 'probability' or 'log-odds', not {unit!r}")
    if isinstance(target, (list, tuple)):
        raise UsageError("one class is explained at a time; for several: saywhy.explain_each(clf, photo, [...])")
    fitted = explainer or Explainer(clf)  # type: ignore[arg-type]  # it loads what is no Classifier yet
    clf = fitted.clf if explainer is None else classifier_of(clf)
    _check_owner(fitted, clf)
    seed = whole("seed", seed)
    fitted = fitted if surroundings is None else fitted.given(seed, surroundings=surroundings)
    asked = Request(regions, unit, seed, fast, progress or _silent, tuple(phrases), relations, substitute)
    start = time.perf_counter()
    with counting() as meter, remembering():
        picture, options = clf.read(source), fitted.options
        method = method or fitted.method
        seen = look(clf, picture, target, versus, method=method, options=options, seed=seed, tell=asked.tell)
        confirmed, runs = settle(seen, fitted.parts, asked)
    said = tell([*_told(seen), *(found for c in confirmed.values() for found in c.said)])
    skipped, seconds = sum(c.skipped for c in confirmed.values()), time.perf_counter() - start
    found = to_explanation(seen, confirmed, said, skipped, runs, meter=meter, seconds=seconds, seed=seed)
    return retold(found, picture, writer, style, seed)


def explain_each(
    clf: Model,
    source: Source | Picture | Tensor,
    targets: Sequence[Class],
    versus: Class | None = None,
    *,
    explainer: Explainer | None = None,
    surroundings: str | Path | Sequence[str | Path] | None = None,
    seed: int = 0,
    **how: Any,
) -> tuple[Explanation, ...]:
    """Explains several classes of one image, one Explanation each, in their order.

    What hiding a part does is asked once for all of them, so that the second class costs little: each is what
    `saywhy.explain` says of it alone, but for its `cost`. Keywords are those of `saywhy.explain`.

    Raises:
        UsageError: no class, one that is named twice or that is `versus` too, and as `saywhy.explain`.
        InputError, ModelError: as `saywhy.explain`.
    """
    if isinstance(targets, str) or not isinstance(targets, Sequence) or not targets:
        raise UsageError(f'targets are several classes in a list, such as ["cat", "dog"]; got {targets!r}')
    fitted = explainer or Explainer(clf)  # type: ignore[arg-type]  # it loads what is no Classifier yet
    fitted = fitted if surroundings is None else fitted.given(seed, surroundings=surroundings)
    clf = fitted.clf if explainer is None else classifier_of(clf)
    check_classes(clf, targets, versus)
    picture = clf.read(source)
    with remembering():
        return tuple(explain(clf, picture, t, versus, explainer=fitted, seed=seed, **how) for t in targets)


def check_classes(clf: Classifier, targets: Sequence[Class | None], versus: Class | None = None) -> None:
    """Raises UsageError for a class that there is not, that is asked for twice, or that is compared with itself."""
    named = [clf.class_index(t) for t in targets if t not in (None, "predicted")]
    if len(set(named)) < len(named):
        raise UsageError(f"the class {clf.class_names[max(named, key=named.count)]!r} is asked for twice")
    if versus is not None and (other := clf.class_index(versus)) in named:
        raise UsageError(f"target and versus are both {clf.class_names[other]!r}; name another class for versus")


def _told(seen: Seen) -> list[Found]:
    """What the model says: the class that leads the others, or whether a label is present."""
    target, versus = seen.score(seen.target), None if seen.versus is None else seen.score(seen.versus)
    if not seen.tap.clf.exclusive:
        return labelled(target, versus)
    return [prediction(seen.score(int(seen.probabilities.argmax())), target, versus)]
