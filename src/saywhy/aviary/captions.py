"""Captions: a grammar that says what is visible, in many ways.

A caption picks some of the parts and some of their attributes, a frame for the sentence, and synonyms. It
never says anything that the picture does not show; `parsing.parse` reads it back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from saywhy.aviary.birds import Bird
from saywhy.aviary.scene import Rendered
from saywhy.aviary.scenery import Rng, generator
from saywhy.aviary.species import RELATIONS
from saywhy.aviary.vocabulary import (
    ADJECTIVES,
    CONVERSE,
    KEYS,
    NOUNS,
    PLURAL,
    RELATION_WORDS,
    SETTINGS,
    attributes,
    name_of,
    relation_name,
)
from saywhy.aviary.world import relation
from saywhy.errors import UsageError

COUNT = 10
_CAPTION = 3
# How readily a part is mentioned.
_SALIENCE = {
    "beak": 5, "crown": 5, "breast": 5, "wing": 5, "throat": 3, "tail": 3, "crest": 3, "bar": 3, "patch": 2,
    "band": 2, "legs": 1, "eye": 1, "body": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Caption:
    """A sentence and the plain names of the attributes that it mentions, sorted."""

    text: str
    mentions: tuple[str, ...]


@dataclass
class _Talk:
    """One caption in the making: what may be said, the dice, and what was said."""

    rng: Rng
    bird: Bird
    shown: tuple[str, ...]
    settings: tuple[str, ...]
    said: set[str]

    def pick(self, options: Sequence[str]) -> str:
        return options[int(self.rng.random() * len(options))]

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def noun(self, part: str) -> str:
        return self.pick(NOUNS[part])

    def adjectives(self, part: str) -> list[str]:
        """Some of the part's attributes, at least one, in the usual order; noted as said."""
        own = self.bird.part(part)
        known = attributes(own) if own is not None else {}
        chosen = [k for k in KEYS if k in known and self.chance(0.25 if known[k] == "plain" else 0.65)]
        chosen = chosen or [self.pick([k for k in known if known[k] != "plain"])]
        self.said |= {name_of(part, known[k]) for k in chosen}
        return [self.pick(ADJECTIVES[k][known[k]]) for k in chosen]

    def relation_of(self, part: str) -> tuple[str, str] | None:
        """(relation, other part) that can be said of a part, noted as said; seen from either side."""
        for (first, second), _ in RELATIONS.items():
            answer = relation(self.bird, first, second)
            if part not in (first, second) or answer is None or not {first, second} <= set(self.shown):
                continue
            self.said.add(relation_name(first, answer, second))
            return (answer, second) if part == first else (CONVERSE[answer], first)
        return None

    def phrase(self, part: str, *, article: str = "a") -> str:
        """A noun phrase, now and then with a relation: "a green crest above its black eye band"."""
        text = " ".join([*self.adjectives(part), self.noun(part)])
        if article == "a" and part not in PLURAL:
            text = f"{_a(text)} {text}"
        elif article != "a":
            text = f"{article} {text}"
        related = self.relation_of(part) if self.chance(0.7) and part in _RELATED else None
        if related is None:
            return text
        answer, other = related
        adjectives = self.adjectives(other) if self.chance(0.5) else []
        inner = " ".join([*adjectives, self.noun(other)])
        return f"{text} {self.pick(RELATION_WORDS[answer])} {self.pick(('its', 'the'))} {inner}"

    def clause(self, part: str, *, article: str) -> str:
        """A clause: "its beak is long and orange", "the crest is green and sits above the eye band"."""
        verb = "are" if part in PLURAL else "is"
        text = f"{article} {self.noun(part)} {verb} {_list(self.adjectives(part))}"
        related = self.relation_of(part) if self.chance(0.7) and part in _RELATED else None
        if related is not None:
            answer, other = related
            text += f" and sits {self.pick(RELATION_WORDS[answer])} the {self.noun(other)}"
        return text

    def setting(self, share: float) -> str:
        """With some chance a place or a direction, with a blank before it."""
        if not self.settings or not self.chance(share):
            return ""
        name = self.pick(self.settings)
        self.said.add(name)
        return " " + self.pick(SETTINGS[name]).replace("|", "")


_RELATED = {p for pair in RELATIONS for p in pair}


def _a(text: str) -> str:
    return "an" if text[0] in "aeiou" else "a"


def _list(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def _with(talk: _Talk, parts: Sequence[str]) -> str:
    who = talk.pick(("a bird", "this bird", "a songbird", "here is a bird"))
    return f"{who}{talk.setting(0.3)} with {_list([talk.phrase(p) for p in parts])}{talk.setting(0.2)}"


def _has(talk: _Talk, parts: Sequence[str]) -> str:
    who = talk.pick(("this bird", "the bird", "the songbird", "it"))
    verb = talk.pick(("has", "shows", "sports", "wears"))
    return f"{who} {verb} {_list([talk.phrase(p) for p in parts])}{talk.setting(0.4)}"


def _are(talk: _Talk, parts: Sequence[str]) -> str:
    return "; ".join(talk.clause(p, article=talk.pick(("the", "its"))) for p in parts)


def _mixed(talk: _Talk, parts: Sequence[str]) -> str:
    first = talk.clause(parts[0], article="its")
    if len(parts) == 1:
        return first
    return f"{first}, and it has {_list([talk.phrase(p) for p in parts[1:]])}{talk.setting(0.3)}"


def _note(talk: _Talk, parts: Sequence[str]) -> str:
    """A field note without a verb."""
    tail = talk.pick(("a bird", "a songbird", "one bird"))
    return f"{_list([talk.phrase(p) for p in parts])}: {tail}{talk.setting(0.6)}"


def _whose(talk: _Talk, parts: Sequence[str]) -> str:
    first = f"a bird{talk.setting(0.2)} whose {talk.clause(parts[0], article='')[1:]}"
    if len(parts) == 1:
        return first
    return f"{first} and that has {_list([talk.phrase(p) for p in parts[1:]])}"


def _seen(talk: _Talk, parts: Sequence[str]) -> str:
    eyes = talk.pick(("you can see", "notice", "look for", "note"))
    return f"{eyes} {_list([talk.phrase(p, article='the') for p in parts])} of this bird{talk.setting(0.4)}"


def _setting_first(talk: _Talk, parts: Sequence[str]) -> str:
    place = talk.setting(1.0).strip()
    lead = f"{place}, a bird" if place else "a bird"
    return f"{lead} shows {_list([talk.phrase(p) for p in parts])}"


FRAMES: tuple[Callable[[_Talk, Sequence[str]], str], ...] = (
    _with, _has, _are, _mixed, _note, _whose, _seen, _setting_first,
)  # fmt: skip


def settings(rendered: Rendered) -> tuple[str, ...]:
    """What can be said of the picture as a whole."""
    scene = rendered.scene
    out = [f"{scene.background.kind} background", "facing left" if scene.birds[0].mirror else "facing right"]
    enough = 0.005 * scene.size**2
    branches = [rendered.object_mask(k) for k, o in enumerate(scene.objects) if o.kind == "branch"]
    if sum(int(np.count_nonzero(m)) for m in branches) >= enough:
        out.append("on a branch")
    return tuple(out)


def _choose(rng: Rng, shown: Sequence[str], count: int) -> list[str]:
    """Some parts without repetition, the salient ones more often, in random order."""
    keys = {p: float(u) / _SALIENCE[p] for p, u in zip(shown, rng.random(len(shown)), strict=True)}
    return sorted(keys, key=lambda p: keys[p])[:count]


def caption(rendered: Rendered, rng: Rng, *, shown: tuple[str, ...] | None = None) -> Caption:
    """One caption of the picture's first bird, drawn from the grammar of the first edition.

    Raises:
        UsageError: a bird of another edition.
    """
    bird = rendered.scene.birds[0]
    if bird.edition != "1":
        raise UsageError(f"single captions are of edition 1; aviary.captions_of speaks of edition {bird.edition}")
    visible = rendered.shown() if shown is None else shown
    talk = _Talk(rng, bird, visible, settings(rendered), set())
    parts = _choose(rng, visible, 1 + int(rng.random() ** 1.3 * 5))
    frame = FRAMES[int(rng.random() * len(FRAMES))]
    text = frame(talk, parts) if parts else "a bird" + talk.setting(1.0)
    return Caption(text[0].upper() + text[1:] + ".", tuple(sorted(talk.said)))


def captions_of(rendered: Rendered, *, seed: int = 0, index: int = 0, count: int = COUNT) -> tuple[Caption, ...]:
    """`count` different captions of the picture's first bird; the same for the same picture, seed and index."""
    rng, shown = generator(_CAPTION, seed, index), rendered.shown()
    found: dict[str, Caption] = {}
    for _ in range(20 * count):
        one = caption(rendered, rng, shown=shown)
        found.setdefault(one.text, one)
        if len(found) == count:
            break
    return tuple(found.values())
