"""Captions of all editions but the first: sentences of many grammars that say facts of a picture and nothing else.

A caption is one to three sentences. Of all facts of the bird each is given to one of the captions of a picture, so that
all of them together say everything; each caption adds some of its own choice. `reading.parse` reads them back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from saywhy.aviary.captions import COUNT, Caption
from saywhy.aviary.facts import Fact, facts
from saywhy.aviary.lexicon import ANSWERS, BIRD_RELATIONS, CONVERSE, KEY_NOUNS, KEYS, OPPOSITE, Lexicon
from saywhy.aviary.lexicons import lexicon
from saywhy.aviary.scene import Rendered
from saywhy.aviary.scenery import Rng, generator
from saywhy.aviary.world import world

_CAPTION = 31
_EXTRA = 3  # facts at most that a caption adds of its own choice
# Words that stand after the noun only.
_AFTER = ("of ", "like ", "ending ", "flecked ", "spread ", "rounded ", "crooked ", "ribbed ")


class Speaker:
    """Dice, words, and what was said so far; every method that says something notes it."""

    def __init__(self, rng: Rng, known: Sequence[Fact], words: Lexicon) -> None:
        self.rng, self.known, self.words, self.said = rng, known, words, set[str]()

    def pick(self, options: Sequence[str]) -> str:
        """One of the options."""
        return options[int(self.rng.random() * len(options))]

    def chance(self, share: float) -> bool:
        """A coin."""
        return bool(self.rng.random() < share)

    def note(self, *said: Fact) -> None:
        """Remembers what was said."""
        self.said |= {f.name for f in said}

    def noun(self, part: str) -> str:
        """A word for a part."""
        return self.pick(self.words.nouns[part])

    def adjective(self, fact: Fact, *, before: bool = False) -> str:
        """A word for a look; `before` a noun some cannot stand."""
        words = self.words.adjectives[fact.key][fact.value]
        return self.pick([w for w in words if not (before and w.startswith(_AFTER))])

    def noun_phrase(self, part: str, looks: Sequence[Fact], article: str = "a") -> str:
        """Article, adjectives, noun; what can only appear so follows in a clause of its own."""
        plain = sorted((f for f in looks if f.kind == "look"), key=lambda f: KEYS.index(f.key))
        noun = self.noun(part)
        words = " ".join([*(self.adjective(f, before=True) for f in plain), noun])
        self.note(*plain)
        if article == "a":
            article = "two" if part == "collars" else "" if self.words.is_plural(noun) else a_or_an(words)
            # Without an article a plural would go on with the words before it.
            article = article or "some"
        text = f"{article} {words}"
        seeming = [f for f in looks if f.kind == "appears"]
        return f"{text} that {self.seems(noun, seeming[0])}" if seeming else text

    def seems(self, noun: str, fact: Fact) -> str:
        """ "looks dark red" """
        self.note(fact)
        dark, _, colour = fact.value.rpartition(" ")
        verb = self.pick(("look", "appear")) + ("" if self.words.is_plural(noun) else "s")
        return " ".join(w for w in (verb, dark, self.pick(self.words.adjectives["colour"][colour])) if w)

    def predicate(self, noun: str, looks: Sequence[Fact], verb: str | None = None) -> str:
        """ "is curved and orange"; an empty verb is an ellipsis."""
        verb = ("are" if self.words.is_plural(noun) else "is") if verb is None else verb
        plain = [f for f in looks if f.kind == "look"]
        self.note(*plain)
        said = [" ".join(w for w in (verb, listed([self.adjective(f) for f in plain])) if w)] if plain else []
        said += [self.seems(noun, f) for f in looks if f.kind == "appears"]
        return " and ".join(said)


Item = tuple[str, list[Fact]]  # a part and what is to be said of it
Frame = Callable[[Speaker, Sequence[Item], str], str]


def a_or_an(text: str) -> str:
    """The article before the text."""
    return "an" if text[0] in "aeiou" and not text.startswith("uni") else "a"


def listed(items: Sequence[str]) -> str:
    """ "a, b and c" """
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def capital(text: str) -> str:
    """The text with a capital at its start."""
    return text[0].upper() + text[1:]


# --------------------------------------------------------------------------------------------------
# Sentences about looks. `who` is how the bird is named: "this bird", "the left bird".


def _with(s: Speaker, items: Sequence[Item], who: str) -> str:
    return f"{who} with {listed([s.noun_phrase(p, looks) for p, looks in items])}."


def _has(s: Speaker, items: Sequence[Item], who: str) -> str:
    verb = s.pick(("has", "shows", "sports", "wears", "carries", "displays", "comes with"))
    return f"{who} {verb} {listed([s.noun_phrase(p, looks) for p, looks in items])}."


def _of(s: Speaker, items: Sequence[Item], who: str) -> str:
    verb = s.pick(("you can see", "notice", "look for", "note", "mark", "observe", "one can make out"))
    return f"{verb} {listed([s.noun_phrase(p, looks, 'the') for p, looks in items])} of {who}."


def _clauses(s: Speaker, items: Sequence[Item], who: str) -> str:
    said = []
    for part, looks in items:
        noun = s.noun(part)
        said.append(f"its {noun} {s.predicate(noun, looks)}")
    joint = s.pick(("; ", ", while ", ", and ", ", whereas "))
    # In a picture of two it must be said whose they are.
    two = any(f.owner for _, looks in items for f in looks)
    return f"of {who}, {joint.join(said)}." if two or s.chance(0.3) else f"{joint.join(said)}."


def _ellipsis(s: Speaker, items: Sequence[Item], who: str) -> str:
    said = []
    for k, (part, looks) in enumerate(items):
        noun = s.noun(part)
        said.append(f"{'its' if k else 'the'} {noun} {s.predicate(noun, looks, None if k == 0 else '')}")
    return f"{who}: {', '.join(said)}."


def _labels(s: Speaker, items: Sequence[Item], who: str) -> str:
    said = [f"{s.noun(part)}: {s.predicate(part, looks, '')}" for part, looks in items]
    return f"{who}. {capital('; '.join(said))}."


def _whose(s: Speaker, items: Sequence[Item], who: str) -> str:
    said = []
    for part, looks in items:
        noun = s.noun(part)
        said.append(f"whose {noun} {s.predicate(noun, looks)}")
    return f"{who}, {listed(said)}."


def _which(s: Speaker, items: Sequence[Item], who: str) -> str:
    part, looks = items[0]
    noun = s.noun(part)
    rest = items[1:]
    text, end = f"the {noun} of {who}, which {s.predicate(noun, looks)}", "" if s.words.is_plural(noun) else "s"
    if not rest:
        return f"{text}, stand{end} out."
    return f"{text}, {'goes' if end else 'go'} with {listed([s.noun_phrase(p, k) for p, k in rest])}."


def _topic(s: Speaker, items: Sequence[Item], who: str) -> str:
    said = []
    for part, looks in items:
        noun = s.noun(part)
        it = "they" if s.words.is_plural(noun) else "it"
        said.append(f"as for the {noun} of {who}, {it} {s.predicate(noun, looks)}.")
    return " ".join(capital(t) for t in said)


def _each(
    s: Speaker, items: Sequence[Item], seems: Callable[[str, Fact], str], one: Callable[[str, str, Fact], str]
) -> list[str]:
    """One saying for every look: `seems(noun, fact)` where it is how a colour appears, else `one(noun, verb, fact)`."""
    said = []
    for part, looks in items:
        noun = s.noun(part)
        verb = "are" if s.words.is_plural(noun) else "is"
        said += [seems(noun, f) if f.kind == "appears" else one(noun, verb, f) for f in looks]
    return said


def _questions(s: Speaker, items: Sequence[Item], who: str) -> str:
    def seems(noun: str, fact: Fact) -> str:
        return f"How does the {noun} of {who} look? It {s.seems('', fact)}."

    def one(noun: str, verb: str, fact: Fact) -> str:
        s.note(fact)
        what = s.pick(KEY_NOUNS[fact.key])
        asked = s.pick((f"What {what} {verb} the {noun} of {who}", f"Of what {what} {verb} the {noun} of {who}"))
        return f"{asked}? {capital(s.adjective(fact))}."

    return " ".join(_each(s, items, seems, one))


def _guesses(s: Speaker, items: Sequence[Item], who: str) -> str:
    """Wrong guesses and their correction, right guesses and their confirmation."""

    def seems(noun: str, fact: Fact) -> str:
        return capital(f"the {noun} of {who} {s.seems(noun, fact)}.")

    def one(noun: str, verb: str, fact: Fact) -> str:
        s.note(fact)
        wrong, asked = _wrong(s, fact), f"{capital(verb)} the {noun} of {who}"
        if s.chance(0.3):
            return f"{asked} {s.adjective(fact)}? Yes."
        s.note(replace(wrong, kind="not"))
        return f"{asked} {s.adjective(wrong)}? No, {s.adjective(fact)}."

    return " ".join(_each(s, items, seems, one))


def _rather(s: Speaker, items: Sequence[Item], who: str) -> str:
    def seems(noun: str, fact: Fact) -> str:
        return f"the {noun} {s.seems(noun, fact)}"

    def one(noun: str, verb: str, fact: Fact) -> str:
        wrong = _wrong(s, fact)
        s.note(fact, replace(wrong, kind="not"))
        return f"the {noun} {verb} not {s.adjective(wrong)} but {s.adjective(fact)}"

    return f"of {who}, {', and '.join(_each(s, items, seems, one))}."


def _wrong(s: Speaker, fact: Fact) -> Fact:
    """A value of the same attribute that is not true."""
    part = "collar" if fact.part == "collars" else fact.part
    values = [v for v in world(s.words.edition).domains[part, fact.key] if v != fact.value]
    return replace(fact, value=s.pick(values))


FRAMES: tuple[Frame, ...] = (
    _with, _has, _has, _of, _clauses, _ellipsis, _labels, _whose, _which, _topic, _questions, _guesses, _rather,
)  # fmt: skip


# --------------------------------------------------------------------------------------------------
# Sentences about everything else.


def _relation(s: Speaker, fact: Fact, who: str) -> str:
    s.note(fact)
    a, answer, b = (fact.part, fact.value, fact.other)
    if s.chance(0.5):
        a, answer, b = b, CONVERSE[answer], a
    first, words, second = s.noun(a), s.pick(s.words.relations[answer]), s.noun(b)
    sits = "is" if fact.key == "size" else s.pick(("is", "sits", "lies", "is placed"))
    if s.chance(0.25):
        ways = [ANSWERS[answer], ANSWERS[OPPOSITE[answer]]]
        ways = ways if s.chance(0.5) else ways[::-1]
        asked = f"Which is it for the {first} of {who}, {ways[0]} or {ways[1]}, seen from the {second}?"
        return f"{asked} {capital(ANSWERS[answer])}."
    if s.chance(0.3):
        other = s.pick(s.words.relations[OPPOSITE[answer]])
        return f"the {first} of {who} {sits} not {other} but {words} the {second}."
    return s.pick((
        f"the {first} of {who} {sits} {words} the {second}.",
        f"of {who}, the {first} {sits} {words} its {second}.",
        f"{who} has {a_or_an(first)} {first} {words} its {second}.",
        f"the {first}, {words} the {second}, marks {who}.",
    ))  # fmt: skip


def _collars(s: Speaker, fact: Fact, who: str) -> str:
    s.note(fact)
    words, noun = s.pick(s.words.twins[fact.value]), s.noun("collars")
    return s.pick((
        f"the two {noun} of {who} are {words}." if "with" not in words and "the " not in words else
        f"{who} has two {noun}, {words}.",
        f"{who} has two {noun}, {words}.",
        f"of {who}, note the {noun}: {words}.",
        f"How do the two {noun} of {who} lie? {capital(words)}.",
    ))  # fmt: skip


def _lacks(s: Speaker, lacking: Sequence[Fact], who: str) -> str:
    s.note(*lacking)
    nouns = [s.noun(f.part) for f in lacking]
    if len(nouns) == 1:
        one = nouns[0]
        a_one = f"{a_or_an(one)} {one}"
        return s.pick((f"{who} has no {one}.", f"{who} is without {a_one}.", f"{who} lacks {a_one}.",
                       f"Does {who} have {a_one}? None."))  # fmt: skip
    first, second = (f"{a_or_an(n)} {n}" for n in nouns)
    return f"{who} has neither {first} nor {second}."


def _things(s: Speaker, things: Sequence[Fact]) -> str:
    s.note(*things)
    said = []
    for f in things:
        known = s.words.objects[f.part]
        one, many = known[int(s.rng.random() * len(known))]
        number = f.value if f.value != "one" or s.chance(0.3) else a_or_an(one)
        said.append(f"{number} {one if f.value == 'one' else many}")
    verb = "lies" if len(things) == 1 and things[0].value == "one" else "lie"
    return s.pick((f"{listed(said)} {verb} about.", f"nearby: {listed(said)}.", f"around it, {listed(said)}.",
                   f"in the picture there {'is' if verb == 'lies' else 'are'} also {listed(said)}."))  # fmt: skip


def _compared(s: Speaker, fact: Fact) -> str:
    s.note(fact)
    value, sides = fact.value, list(s.words.sides)
    if s.chance(0.5):
        sides, value = sides[::-1], COMPARED[value]
    first, second = (s.pick(s.words.sides[k]) for k in sides)
    return f"the {first} is {s.pick(BIRD_RELATIONS[value])} the {second}."


COMPARED = {"larger": "smaller", "smaller": "larger", "higher": "lower", "lower": "higher"}


def _settings(s: Speaker, settings: Sequence[Fact]) -> str:
    """Settings as words of place and light, with a blank before them."""
    s.note(*settings)
    return "".join(" " + s.pick(s.words.settings[f.value]).replace("|", "") for f in settings)


# --------------------------------------------------------------------------------------------------
# Captions.


def _named(s: Speaker, owner: str) -> str:
    if owner:
        return "the " + s.pick(s.words.sides[owner])
    return s.pick(("this ", "the ", "that ")) + s.pick(s.words.own)


def _grouped(chosen: Sequence[Fact]) -> list[Item]:
    parts: dict[str, list[Fact]] = {}
    for f in chosen:
        parts.setdefault(f.part, []).append(f)
    return list(parts.items())


def _about(s: Speaker, chosen: Sequence[Fact], owner: str) -> list[str]:
    """Sentences that say the chosen facts of one bird."""
    said = [f for f in chosen if f.kind in ("look", "appears")]
    out, items = [], _grouped(said)
    while items:
        count = 1 + int(s.rng.random() * 4)
        frame = FRAMES[int(s.rng.random() * len(FRAMES))]
        out.append(frame(s, items[:count], _named(s, owner)))
        items = items[count:]
    out += [_relation(s, f, _named(s, owner)) for f in chosen if f.kind == "relation"]
    out += [_collars(s, f, _named(s, owner)) for f in chosen if f.kind == "collars"]
    lacking = [f for f in chosen if f.kind == "lacks"]
    out += [_lacks(s, lacking[k : k + 2], _named(s, owner)) for k in range(0, len(lacking), 2)]
    return out


def caption(chosen: Sequence[Fact], known: Sequence[Fact], rng: Rng, words: Lexicon) -> Caption:
    """One caption that says the chosen facts, and nothing that is not known."""
    s = Speaker(rng, known, words)
    out: list[str] = []
    for owner in dict.fromkeys(f.owner for f in chosen):
        out += _about(s, [f for f in chosen if f.owner == owner], owner)
    out += [_compared(s, f) for f in chosen if f.kind == "birds"]
    things = [f for f in chosen if f.kind == "things"]
    out += [_things(s, things)] if things else []
    order = rng.permutation(len(out))
    texts = [capital(out[k]) for k in order]
    settings = [f for f in chosen if f.kind == "setting"]
    if settings or not texts:
        settings = settings or [f for f in known if f.kind == "setting"][:1]
        texts.insert(0 if s.chance(0.7) else len(texts), _stage(s, settings))
    return Caption(" ".join(texts), tuple(sorted(s.said)))


def _one(s: Speaker, noun: str) -> str:
    return f"{s.pick((a_or_an(noun), 'one'))} {noun}"


def _stage(s: Speaker, settings: Sequence[Fact]) -> str:
    where = _settings(s, settings)
    two = any(f.owner for f in s.known)
    who = f"two {s.words.noun}s" if two else _one(s, s.pick(s.words.own))
    there = "there are" if two else "there is"
    return capital(
        s.pick((f"{who}{where}.", f"{who}, seen{where}.", f"this shows {who}{where}.", f"{there} {who}{where}."))
    )


def captions_of(rendered: Rendered, *, seed: int = 0, index: int = 0, count: int = COUNT) -> tuple[Caption, ...]:
    """`count` captions that together say every fact of the picture; the same for the same picture, seed and index."""
    rng, known, words = generator(_CAPTION, seed, index), facts(rendered), lexicon(rendered.scene.edition)
    shuffled = [known[k] for k in rng.permutation(len(known))]
    out: dict[str, Caption] = {}
    for k in range(count):
        own = shuffled[k::count]
        extra = [known[int(u * len(known))] for u in rng.random(int(rng.random() * (_EXTRA + 1)))]
        chosen = list(dict.fromkeys(own + extra)) or known[:1]
        one = caption([chosen[i] for i in rng.permutation(len(chosen))], known, rng, words)
        out.setdefault(one.text, one)
    return tuple(out.values())
