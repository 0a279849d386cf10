"""The writer `own`, as it ships, on accounts and pictures of the aviary that it was not trained with.

    python benchmarks/language_aviary.py [--texts 10000] [--free 1000] [--pictures 24] [--only texts,pictures,phrases]

Features are those of the test split of the joint space (rendered again; SAYWHY_CACHE keeps them); explanations are of
another seed. Writes results/language_aviary.json and the tables in docs/language.md.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from nltk.translate.bleu_score import SmoothingFunction, corpus_bleu

import saywhy
from page import between, table
from saywhy import aviary
from saywhy.train.jointspace import named_phrases
from saywhy.writing import account_of, retold
from saywhy.writing.account import STYLES, Account, Telling, plan
from saywhy.writing.grammar import Copy, Token, ways
from saywhy.writing.hands import decoded, first
from saywhy.writing.mapping import SURE, likenesses
from saywhy.writing.proof import lexed, readings, spelled
from saywhy.writing.rehearsal import Bank, drawn, source, without
from saywhy.writing.scribe import MODES, Source, load_scribe
from saywhy.writing.teaching import bank
from sentence_measures import machine

HERE = Path(__file__).parent
OTHER_SEED = 8117  # of whole explanations
SURE_SEEDS, SURE_BIRDS = (7701, 7702), 40  # by the first of which the threshold of phrases was chosen
SURE_MODELS = ("cnn-relations", "vit-relations")


# --------------------------------------------------------------------------------------------------
# Texts.


def share(values: Any) -> float:
    """The mean of truth values."""
    return round(float(np.mean(list(values))), 4)


SLOTS = ("concept", "place", "rank", "sign", "number", "phrase", "relation", "contrast", "answer")


def slots(told: Telling | None, meant: Telling, style: str) -> dict[str, list[bool]]:
    """For each slot of what was meant whether it was told so; of a text that cannot be read, nothing was."""
    out: dict[str, list[bool]] = {s: [] for s in SLOTS}
    said = told or Telling(())
    where = {c.kind: c for c in said.clauses}
    fields = dict(zip(STYLES[style].fields, range(9), strict=False))
    names = {"concept": "name", "place": "place", "number": "amount", "phrase": "like"}
    for id, own in meant.described.items():
        found = said.described.get(id, ("",) * len(own))
        for slot, name in names.items():
            if name in fields and (slot != "phrase" or own[fields[name]]):
                out[slot].append(found[fields[name]] == own[fields[name]])
    for clause in meant.clauses:
        other = where.get(clause.kind)
        same = other is not None and clause in said.clauses
        if clause.kind in ("most", "counts", "next", "too"):
            out["rank"] += [other is not None and other.things == clause.things] * len(clause.things)
            against = where.get("against")
            out["sign"] += [against is None or id not in against.things for id in clause.things] if told else [False]
        elif clause.kind == "against":
            out["sign"] += [other is not None and id in other.things for id in clause.things]
        elif clause.kind in ("need", "spare"):
            out["relation"].append(same)
        elif clause.kind in ("rather", "without"):
            out["contrast"].append(same)
        elif clause.kind.startswith("says"):
            out["answer"].append(same)
    return out


def _there(token: Token, account: Account) -> Token:
    """The token; a class that the account does not have as a name that it does not have."""
    lacking = isinstance(token, Copy) and token.slot == "class" and token.number >= len(account.without)
    return "stranger" if lacking or (token == Copy("versus") and not account.versus) else token


def strangers(text: str, account: Account) -> int:
    """Entities in a text that the record does not have: names, places, numbers, phrases."""
    pieces = lexed(text)
    if pieces is None:
        return 1
    things = account.things
    known = {account.target, account.versus, *(w for _, w in account.without)}
    known |= {v for t in things for v in (t.id, t.name, t.place, t.amount, t.like)}
    known |= {f"{n} %" for n in (account.percent, account.rival)} | {"under 1 %", "over 99 %"}
    return sum(p.kind != "word" and p.text not in known for p in pieces)


def distinct(account: Account, rng: Random) -> Account:
    """The account with a name of its own for each thing, so that a name in the wrong place is seen."""
    names = rng.sample(NAMES, len(account.things))
    things = tuple(replace(t, name=n) for t, n in zip(account.things, names, strict=True))
    return replace(account, things=things, target="grey heron", versus="night heron" if account.versus else "")


NAMES = [
    f"{a} {b} patch"
    for a in ("small", "large", "pale", "dark")
    for b in ("blue", "ochre", "mauve", "olive", "teal", "rust")
]


def made(count: int, known: Bank, seed: int) -> list[tuple[Source, Any, str]]:
    """Sources, what is meant, and a style each."""
    out = []
    for n in range(count):
        rng = Random(seed * 7919 + n)
        style = rng.choice(list(STYLES))
        one, _ = source(rng, known, style, most=20 if rng.random() < 0.04 else 6)
        one = replace(one, account=distinct(one.account, rng))
        out.append((one, ways(one.account, style), style))
    return out


def written_by(
    net: Any, cases: Sequence[tuple[Source, Any, str]], *, free: bool, modes: Sequence[str] = (), at: int = 250
) -> list[tuple[Token, ...]]:
    """Tokens of each; `free` forbids nothing."""
    out: list[tuple[Token, ...]] = []
    for start in range(0, len(cases), at):
        some = cases[start : start + at]
        sources = [without(s, *modes) if modes else s for s, _, _ in some]
        stacks = [None if free else w[1] for _, w, _ in some]
        out += [w.tokens for w in decoded(net, sources, stacks, range(start, start + len(some)))]
    return out


def judged(cases: Sequence[tuple[Source, Any, str]], texts: Sequence[tuple[Token, ...]]) -> dict[str, Any]:
    """Slots, strangers and how many read back as what was meant."""
    right: dict[str, list[bool]] = {s: [] for s in SLOTS}
    exact, foreign = [], []
    for (one, (meant, _), style), tokens in zip(cases, texts, strict=True):
        text = spelled([_there(t, one.account) for t in tokens], one.account, one.order)
        found = readings(text, style)
        exact.append(found == [meant])
        foreign.append(strangers(text, one.account))
        for slot, values in slots(found[0] if len(found) == 1 else None, meant, style).items():
            right[slot] += values
    every = [v for values in right.values() for v in values]
    return {
        "texts": len(cases), "slots": share(every), "by_slot": {s: share(v) for s, v in right.items() if v},
        "texts_with_strangers": int(np.count_nonzero(foreign)), "strangers": int(sum(foreign)),
        "read_back_exactly": share(exact),
    }  # fmt: skip


def bleu(cases: Sequence[tuple[Source, Any, str]], texts: Sequence[tuple[Token, ...]], references: int = 8) -> float:
    """BLEU-4 of tokens against texts of the grammar for the same account."""
    refs = [
        [list(map(repr, drawn(w[1], Random(n * 31 + k)))) for k in range(references)]
        for n, (_, w, _) in enumerate(cases)
    ]
    return round(
        corpus_bleu(refs, [list(map(repr, t)) for t in texts], smoothing_function=SmoothingFunction().method1), 4
    )


def diversity(texts: Sequence[tuple[Token, ...]]) -> dict[str, float]:
    """Without names and numbers: the share of texts that no other one is like, and of different pairs of words."""
    plain = [tuple(t.slot if isinstance(t, Copy) else t for t in some) for some in texts]
    pairs = [p for some in plain for p in pairwise(some)]
    return {"different_texts": round(len(set(plain)) / len(plain), 4), "different_pairs": len(set(pairs))}


def variants(net: Any, known: Bank, accounts: int = 12, times: int = 10) -> float:
    """How many different texts ten seeds give of one account, names and numbers left aside; the template gives one."""
    counts = []
    for n in range(accounts):
        one, stack = source(Random(900 + n), known, "full", most=4)
        texts = decoded(net, [one] * times, [stack] * times, range(times))
        counts.append(len({w.tokens for w in texts}))
    return round(float(np.mean(counts)), 2)


def sensitivity(net: Any, cases: Sequence[tuple[Source, Any, str]]) -> dict[str, float]:
    """How often the text changes when one word of the record does, and then still reads back exactly."""
    changed, right = [], []
    rng = Random(3)
    edited = []
    for one, _, style in cases:
        account_ = one.account
        if style == "short" or not account_.things:
            continue
        k = rng.randrange(len(account_.things))
        thing = account_.things[k]
        new = rng.choice(
            (
                replace(thing, name="umber patch"),
                replace(thing, place="at the bottom left" if thing.place != "at the bottom left" else "in the centre"),
            )
        )
        things = tuple(new if i == k else t for i, t in enumerate(account_.things))
        other = replace(one, account=replace(account_, things=things))
        edited.append((one, other, style))
    before = written_by(net, [(a, ways(a.account, s), s) for a, _, s in edited], free=False)
    after = written_by(net, [(b, ways(b.account, s), s) for _, b, s in edited], free=False)
    for (a, b, style), old, new_ in zip(edited, before, after, strict=True):
        text = spelled(new_, b.account, b.order)
        changed.append(text != spelled(old, a.account, a.order))
        right.append(readings(text, style) == [plan(b.account, style)])
    return {"records": len(edited), "text_changes": share(changed), "and_is_right": share(right)}


@torch.no_grad()
def of_the_texts(count: int, free: int) -> dict[str, Any]:
    """All figures of the decoder on made-up accounts with features of test pictures."""
    net, card = load_scribe()
    known = bank(lambda text: None, "test")
    cases = made(count, known, 11)
    start = time.process_time()
    texts = written_by(net, cases, free=False)
    took = time.process_time() - start
    some = cases[:free]
    plain = [first(s, w[1], 0).tokens for s, w, _ in some]
    return {
        "fingerprint": card["fingerprint"], "constrained": judged(cases, texts),
        "milliseconds": round(1000 * took / count, 1),
        "free": judged(some, written_by(net, some, free=True)),
        "without": {m: judged(some, written_by(net, some, free=True, modes=(m,))) for m in MODES},
        "without_all": judged(some, written_by(net, some, free=True, modes=MODES)),
        "bleu": {"own": bleu(some, texts[:free]), "template": bleu(some, plain),
                 "grammar": bleu(some, [drawn(w[1], Random(-1 - n)) for n, (_, w, _) in enumerate(some)])},
        "diversity": {"own": diversity(texts[:free]), "template": diversity(plain)},
        "variants_of_ten": variants(net, known),
        "changed_words": sensitivity(net, some),
        "training": card["training"], "processor_seconds": card["processor_seconds"],
    }  # fmt: skip


# --------------------------------------------------------------------------------------------------
# Whole explanations.


def of_pictures(count: int) -> dict[str, Any]:
    """Explanations of other pictures in all styles: texts that are shown, phrases that are true, and what is named."""
    clf = saywhy.load_classifier("aviary:cnn-relations")
    rows: dict[str, list[Any]] = {k: [] for k in ("proved", "phrase", "kept", "kept_caption", "changed", "looked")}
    examples: list[dict[str, str]] = []
    for n in range(count):
        rendered = aviary.render(aviary.sample(OTHER_SEED, n, edition="2", size=128).scene)
        told = saywhy.explain(clf, rendered.pixels)
        picture = clf.read(rendered.pixels)
        for style in STYLES:
            again = retold(told, picture, "own", style, seed=n)
            rows["proved"].append(again.parts["writing"]["proved"])
            if style == "full":
                rows["phrase"] += list(true_phrases(rendered, again))
                if n < 3:
                    examples.append({"own": again.text, "template": told.text})
        rows["kept"] += kept(clf, told, rendered)
        rows["changed"] += swapped(clf, rendered, told, n)
    phrases = [p for p in rows["phrase"] if p is not None]
    return {
        "pictures": count, "texts": len(rows["proved"]), "shown": share(rows["proved"]),
        "phrases_said": len(phrases), "phrases_true": share(phrases) if phrases else None,
        "things": len(rows["phrase"]),
        "named_alone_keeps": share(k for k, _ in rows["kept"]),
        "without_named_loses": share(w for _, w in rows["kept"]),
        "decisions_changed": len(rows["changed"]), "texts_changed": share(rows["changed"]) if rows["changed"] else None,
        "examples": examples,
    }  # fmt: skip


def true_phrases(rendered: Any, told: saywhy.Explanation) -> Iterator[bool | None]:
    """Of each thing whether its phrase is true of a part that the region lies on; None where none is said."""
    plain = named_phrases()
    known = {f.name.replace("collars", "collar") for f in aviary_facts(rendered)}
    concepts = {c.id: c for c in told.concepts}
    for one in told.parts["writing"]["concepts"]:
        if not one["like"]:
            yield None
            continue
        yield lies_there(rendered, concepts[one["id"]].mask.array(), plain[one["like"]], known)


def lies_there(rendered: Any, mask: Any, fact: str, known: set[str]) -> bool:
    """Whether a fact is true of a bird, and a region lies on the part that it is of."""
    part = fact.split(" ")[-1]
    own = [p for p in rendered.shown() if p == part or (part == "collar" and p == "collar2")]
    lies = any((rendered.visible(p) & mask).sum() >= 0.2 * min(mask.sum(), rendered.visible(p).sum()) for p in own)
    return fact in known and lies


def of_phrases() -> dict[str, Any]:
    """Of regions that are said to count, by the log-odds of the nearest phrase: how many there are, and of how many it
    is true."""
    plain, found = named_phrases(), dict[str, Any]()
    for seed in SURE_SEEDS:
        odds, true = list[float](), list[bool]()
        for clf, n in product([saywhy.load_classifier(f"aviary:{m}") for m in SURE_MODELS], range(SURE_BIRDS)):
            rendered = aviary.render(aviary.sample(seed, n, edition="2", size=128).scene)
            told = saywhy.explain(clf, rendered.pixels, fast=True)
            ids = [t.id for t in account_of(told).things]
            known = {f.name.replace("collars", "collar") for f in aviary_facts(rendered)}
            _, likes = likenesses(told, clf.read(rendered.pixels), ids)
            concepts = {c.id: c for c in told.concepts}
            odds += [likes[id].nearest[0][1] for id in ids]
            true += [
                lies_there(rendered, concepts[id].mask.array(), plain[likes[id].nearest[0][0]], known) for id in ids
            ]
        rows = {least: [t for o, t in zip(odds, true, strict=True) if o >= least] for least in (0, 1, 2, SURE)}
        found[str(seed)] = {f"{k:g}": {"regions": len(v), "true": share(v)} for k, v in rows.items()}
    return found


def aviary_facts(rendered: Any) -> Any:
    """The facts of a picture."""
    from saywhy.aviary.facts import facts

    return facts(rendered)


def kept(clf: Any, told: saywhy.Explanation, rendered: Any) -> list[tuple[bool, bool]]:
    """Whether what the text names, alone, still gives the class, and the rest no longer does (filled with the mean)."""
    account = account_of(told)
    if not account.things:
        return []
    named = {t.id for t in account.things if t.role != "against"}
    mask = np.logical_or.reduce([c.mask.array() for c in told.concepts if c.id in named])
    image = torch.from_numpy(rendered.pixels.copy()).permute(2, 0, 1)[None].float() / 255
    where = torch.from_numpy(mask)
    mean = image.mean(dim=(2, 3), keepdim=True)
    both = torch.cat([torch.where(where, image, mean), torch.where(where, mean, image)])
    alone, rest = clf.logits(F.interpolate(both, clf.preprocess.size, mode="bilinear")).argmax(1).tolist()
    return [(alone == told.target.class_index, rest != told.target.class_index)]


def swapped(clf: Any, rendered: Any, told: saywhy.Explanation, n: int) -> list[bool]:
    """Where the runner-up's own looks change the decision: whether the text about the parts changes too."""
    versus = told.versus.class_name if told.versus else ""
    try:
        other = aviary.render(aviary.become(rendered.scene, versus))
    except saywhy.SaywhyError:
        return []
    again = saywhy.explain(clf, other.pixels)
    if again.target.class_index == told.target.class_index:
        return []
    texts = [retold(e, clf.read(r.pixels), "own", "layman", seed=n).text for e, r in ((told, rendered), (again, other))]
    names = {
        told.target.class_name,
        again.target.class_name,
        versus,
        *([again.versus.class_name] if again.versus else []),
    }
    bare = [re.sub("|".join(map(re.escape, sorted(names, key=len, reverse=True))), "X", t) for t in texts]
    return [bare[0] != bare[1]]


# --------------------------------------------------------------------------------------------------
# Pages.


def percent(value: float | None, digits: int = 1) -> str:
    """A share."""
    return "-" if value is None else f"{100 * value:.{digits}f} %"


def texts_page(r: dict[str, Any]) -> str:
    """Tables of slots, and what was measured beside them."""
    kinds = {"with the grammar, nothing replaced": r["constrained"], "without it, nothing forbidden": r["free"]}
    rows = [
        (n, v["texts"], percent(v["slots"]), v["texts_with_strangers"], percent(v["read_back_exactly"]))
        for n, v in kinds.items()
    ]
    cut = {f"without it, and without the {m}": r["without"][m] for m in MODES}
    ablated = kinds | cut | {"without it, and without all four": r["without_all"]}
    names = [s for s in SLOTS if s in r["free"]["by_slot"]]
    b, d, c = r["bleu"], r["diversity"], r["changed_words"]
    said = f"""BLEU-4 against eight texts of the grammar: own {b["own"]:.3f}, template {b["template"]:.3f}, another text
of the grammar {b["grammar"]:.3f}. Ten seeds give {r["variants_of_ten"]:.1f} different texts of one account
(template: 1); in {r["free"]["texts"]} texts there are {d["own"]["different_pairs"]} different pairs of words
(template: {d["template"]["different_pairs"]}). Where one word of the record is another one, the text changes in
{percent(c["text_changes"])} of {c["records"]}, and says the new one in {percent(c["and_is_right"])}.
A text takes {r["milliseconds"]:.0f} ms of a core."""
    head = ("", "texts", "slots right", "texts with an entity that is not there", "read back exactly")
    single = [(n, *(percent(v["by_slot"][s]) for s in names)) for n, v in ablated.items()]
    return "\n\n".join((table(head, rows), "Slots one by one, and what inputs do:", table(("", *names), single), said))


def pictures_page(r: dict[str, Any]) -> str:
    """What was measured of whole explanations, and two of their texts."""
    shown = "\n\n".join(f"> {e['own']}" for e in r["examples"][:2])
    changed = f"""
Where the looks of the runner-up changed the decision ({r["decisions_changed"]} pictures), the text changed,
class names left aside, in {percent(r["texts_changed"])}."""
    return f"""Of {r["texts"]} texts about {r["pictures"]} pictures in four styles {percent(r["shown"])} were shown, the
others replaced by the template's. {r["phrases_said"]} of {r["things"]} things were said to be like something, and
{percent(r["phrases_true"])} of these phrases are true of a part that the region lies on. What the text names in favour,
alone on the mean colour, gives the class in {percent(r["named_alone_keeps"])}; the rest alone no longer gives it in
{percent(r["without_named_loses"])} (the template names the same things).{changed if r["decisions_changed"] else ""}

{shown}"""


def phrases_page(r: dict[str, Any]) -> str:
    """How many regions get a phrase at which log-odds, and how many of these are true."""
    seeds = [str(s) for s in SURE_SEEDS]
    head = ("log-odds, at least", *(f"seed {s}: {what}" for s in seeds for what in ("regions", "true")))
    rows = [
        (least, *(v for s in seeds for v in (r[s][least]["regions"], percent(r[s][least]["true"]))))
        for least in r[seeds[0]]
    ]
    return table(head, rows)


PAGES = {"texts": texts_page, "pictures": pictures_page, "phrases": phrases_page}


def main() -> None:
    """Measures what is asked for, and writes results and tables."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--texts", type=int, default=10_000)
    asked.add_argument("--free", type=int, default=1000)
    asked.add_argument("--pictures", type=int, default=24)
    asked.add_argument("--only", default="texts,pictures,phrases")
    given = asked.parse_args()
    torch.set_num_threads(1)
    file = HERE / "results" / "language_aviary.json"
    measure = {
        "texts": lambda: of_the_texts(given.texts, given.free), "pictures": lambda: of_pictures(given.pictures),
        "phrases": of_phrases,
    }  # fmt: skip
    for name in given.only.split(","):
        found = {**machine(), name: measure[name]()}
        result = (json.loads(file.read_text()) if file.exists() else {}) | found
        print(name, json.dumps(result[name])[:6000], flush=True)
        file.write_text(json.dumps(result, indent=1) + "\n")
    for name in result.keys() & PAGES.keys():
        between(
            HERE.parent / "docs" / "language.md",
            PAGES[name](result[name]),
            f"<!-- {name} -->",
            f"<!-- end of {name} -->",
        )


if __name__ == "__main__":
    main()
