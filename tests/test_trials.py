"""Trials: what is stored of each change, and that a cause that is built into a classifier is found and named, and is
not where it is left out."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from saywhy.audit import Budget, open_store, scan
from saywhy.audit.lenders import Lenders, grain, light, warmth
from saywhy.audit.trials import ACTS, TONES
from saywhy.cli import app
from saywhy.findings import culprits, find
from saywhy.findings.labelled import labelled
from saywhy.zoo import load_classifier
from small_set import NAMES, painted, small

COLOURS = np.array([[220, 40, 40], [40, 200, 40], [60, 60, 220], [220, 200, 40], [200, 60, 200], [60, 200, 200]])
GROUNDS = np.array([[120, 120, 120], [90, 100, 90], [150, 140, 150]])
SNOW = np.array([250, 250, 250])


def scene(dice, label, *, stamp=False, snow=False, second=None, right=False):
    """A disc of a class's colour, darker at one side, before a ground, on 48 x 48 pixels."""
    pixels = np.empty((48, 48, 3))
    pixels[:] = SNOW if snow else GROUNDS[dice.integers(3)]
    ys, xs = np.mgrid[:48, :48]
    places = [(24, 24, 9)] if second is None else [(24, 12, 7), (24, 36, 9)]
    for (y, x, r), c in zip(places, (label, second), strict=False):
        disc = (ys - y) ** 2 + (xs - x) ** 2 <= r * r
        pixels[disc] = COLOURS[c]
        pixels[disc & ((xs >= x) == right)] *= 0.88
    if stamp:
        pixels[38:46, 2:10] = 10, 10, 10
    return Image.fromarray((pixels + dice.normal(0, 3, pixels.shape)).clip(0, 255).astype(np.uint8))


def told(images):
    """Scores (N, 6): how much of the image is of each class's colour."""
    colours = torch.from_numpy(COLOURS / 255).float()
    near = ((images[:, None] - colours[None, :, :, None, None]) ** 2).sum(2) < 0.03
    return 60 * near.float().mean((2, 3))


def stamped(images):
    """The same, and class a wherever there is a black stamp at the bottom left."""
    dark = (images[:, :, 38:46, 2:10].mean((1, 2, 3)) < 0.15).float()
    return told(images) + 40 * dark[:, None] * torch.eye(6)[0]


def snowed(images):
    """The same, and class b wherever the rim is white."""
    rim = torch.cat([images[:, :, :6].flatten(1), images[:, :, -6:].flatten(1)], 1)
    return told(images) + 40 * (rim.mean(1) > 0.9).float()[:, None] * torch.eye(6)[1]


def sided(images):
    """The same, and class c where the middle is darker at the right."""
    dark = (images[:, :, 17:31, 16:24].mean((1, 2, 3)) - images[:, :, 17:31, 24:32].mean((1, 2, 3)) > 0.01).float()
    return told(images) + 40 * dark[:, None] * torch.eye(6)[2]


HOW = {"stamp": stamped, "snow": snowed, "right": sided, "second": told}


def planted(place, cause, model, pictures=60):
    """A scan of pictures a quarter of which have a cause that misleads some model; before snow is all of class b."""
    dice, lines = np.random.default_rng(5), []
    for i in range(pictures):
        label, on = i % 6, i % 4 == 0 or (cause == "snow" and i % 6 == 1)
        more = {"second": (label + 2) % 6} if cause == "second" else {cause: True}
        scene(dice, label, **(more if on else {})).save(place / f"{i}.png")
        lines.append({"file": f"{i}.png", "class_name": NAMES[label]})
    (place / "images.jsonl").write_text("\n".join(map(json.dumps, lines)))
    clf = load_classifier(model, classes=list(NAMES), size=48, resize=0, activation="softmax", name="built")
    return scan(clf, [place / "images.jsonl"], place / "run", depth="trials", budget=Budget(100_000))


@pytest.mark.parametrize(
    ("cause", "kind", "class_name"), [("stamp", "shortcut", "a"), ("snow", "context", "b"), ("right", "facing", "c")]
)
def test_a_cause_that_is_built_in_is_found_first_and_named(tmp_path, cause, kind, class_name):
    run = planted(tmp_path, cause, HOW[cause])
    found = find(run)
    assert found[0].kind == kind and class_name in (found[0].class_name, found[0].versus_name)
    wrong = [i for i in range(60) if i % 4 == 0 and NAMES[i % 6] != class_name]
    assert set(found[0].pictures) <= set(wrong) and found[0].errors >= 0.7 * len(wrong)
    assert found[0].low > 0.2 and found[0].q < 0.05
    if cause == "stamp":
        x0, y0, x1, y1 = found[0].box
        assert x0 <= 0.1 and y1 >= 0.9 and x1 < 0.5 < y0 and "bottom left" in found[0].name


@pytest.mark.parametrize("cause", ["stamp", "snow", "right"])
def test_the_same_pictures_before_a_classifier_without_it_have_no_finding(tmp_path, cause):
    assert find(planted(tmp_path, cause, told)) == ()


def test_two_objects_are_found_and_wrong_labels_are(tmp_path):
    (tmp_path / "two").mkdir()
    run = planted(tmp_path / "two", "second", told)
    with open_store(run) as store:
        errors = store.execute("SELECT count(*) FROM pictures WHERE NOT correct").fetchall()[0][0]
    assert errors >= 6 and find(run)[0].kind == "several objects"
    dice, lines = np.random.default_rng(6), []
    for i in range(60):
        scene(dice, i % 6).save(tmp_path / f"{i}.png")
        lines.append({"file": f"{i}.png", "class_name": NAMES[(i + (i % 10 == 0)) % 6]})
    (tmp_path / "images.jsonl").write_text("\n".join(map(json.dumps, lines)))
    clf = load_classifier(told, classes=list(NAMES), size=48, resize=0, activation="softmax", name="built")
    found = find(scan(clf, [tmp_path], tmp_path / "run", depth="trials", budget=Budget(100_000)))
    assert found[0].kind == "wrong labels" and set(found[0].pictures) == set(range(0, 60, 10))


# --------------------------------------------------------------------------------------------------
# What is stored.


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for i in range(16):
        (folder / NAMES[i % 6]).mkdir(exist_ok=True)
        painted(i).save(folder / NAMES[i % 6] / f"{i:02d}.png")
    return folder


@pytest.fixture(scope="module")
def run(place, tmp_path_factory):
    return scan(small(), [place], tmp_path_factory.mktemp("run"), depth="trials", budget=Budget(100_000))


def rows(run, table, where="true"):
    with open_store(run) as store:
        found = store.execute(f"SELECT * FROM {table} WHERE {where} ORDER BY n").fetchall()
        return [dict(zip([d[0] for d in store.description], values, strict=True)) for values in found]


def test_every_change_is_the_classifiers_answer_to_that_picture(run):
    clf, known = small(), {row["n"]: row for row in rows(run, "pictures")}
    for act, change in (("mirrored", lambda x: x.flip(2)), ("darker", lambda x: 0.7 * x)):
        found = rows(run, "trials", f"act = '{act}'")[:: 2 if act == "darker" else 1]
        assert len({row["n"] for row in found}) == 16
        for row in found[:6]:
            image = clf.prepare([clf.read(known[row["n"]]["path"])])[0][0]
            p = clf.probabilities(change(image)[None])[0]
            assert row["p_answer"] == pytest.approx(float(p[row["answer"]]), abs=1e-5)
            assert row["p_versus"] == pytest.approx(float(p[row["versus"]]), abs=1e-5)
            assert row["said"] == int(p.argmax()) and row["p_said"] == pytest.approx(float(p.max()), abs=1e-5)
    for n, one in known.items():
        own = rows(run, "trials", f"n = {n}")
        wrong = not one["correct"]
        assert {r["answer"] for r in own} == {one["answer"]}
        assert {r["versus"] for r in own} == {one["label"] if wrong else one["top"][1]}
        assert sum(r["act"] == "painted" for r in own) == (25 if wrong else 0)
        assert sum(r["act"] == "planted" for r in own) == sum(r["act"] == "patched" for r in own)
        assert not any(r["donor"] == n for r in own) and {r["act"] for r in own} <= set(ACTS)


def test_tones_go_both_ways_and_say_how_unusual_a_picture_is(run):
    image = Lenders(run, small(), 0).reference[0]
    for measure, name in ((warmth, "warmth"), (light, "light"), (grain, "grain")):
        down, up = TONES[name].values()
        assert measure(down[1](image)) < measure(image) < measure(up[1](image))
    for first, second in (tuple(ways) for ways in TONES.values()):
        for a, b in zip(rows(run, "trials", f"act = '{first}'"), rows(run, "trials", f"act = '{second}'"), strict=True):
            assert a["value"] == pytest.approx(-b["value"])


def test_units_are_silenced_as_by_a_hook(run):
    clf = small()
    layer = dict(clf.net.named_modules())[clf.point.path]
    known = {row["n"]: row["path"] for row in rows(run, "pictures")}
    for row in rows(run, "units")[:3]:
        image = clf.prepare([clf.read(known[row["n"]])])[0]
        own = clf.logits(image)[0]
        assert row["lead"] == pytest.approx(float(own[row["answer"]] - own[row["versus"]]), abs=1e-4)
        for unit in (0, len(row["change"]) - 1):

            def silence(module, args, output, unit=unit):
                if output.shape[2:] == clf.point.grid.shape:  # the network calls this module twice
                    output = output.clone()
                    output[:, unit] = 0
                return output

            handle = layer.register_forward_hook(silence)
            changed = clf.logits(image)[0]
            handle.remove()
            gain = (changed[row["versus"]] - changed[row["answer"]]) - (own[row["versus"]] - own[row["answer"]])
            assert row["change"][unit] == pytest.approx(float(gain), abs=1e-4)


def test_the_first_culprit_mends_most_and_harms_least(run, monkeypatch):
    given, dice = labelled(run), np.random.default_rng(0)
    mends, harms = (dice.random((n, 12)) < 0.1 for n in (20, 30))
    mends[:15, 7], mends[:16, 3], harms[:, 3] = True, True, True
    found = culprits.Silenced(np.arange(20), mends.astype(float), harms.astype(float), np.zeros(12))
    monkeypatch.setattr(culprits, "silenced", lambda given: found)
    (one,) = culprits.look(given, frozenset())
    assert found.order[0] == one.unit == 7 and one.large and one.p < 0.01 and set(one.errors) >= set(range(15))


def test_trials_do_not_depend_on_shards(place, run, tmp_path):
    again = scan(small(), [place], tmp_path / "run", depth="trials", budget=Budget(100_000), shard=4)
    for table in ("trials", "units"):
        key = lambda r: (r["n"], r.get("act", ""), str(r.get("donor")), str(r.get("box")), r.get("p_said", 0))  # noqa: E731
        assert sorted(rows(run, table), key=key) == sorted(rows(again, table), key=key)
    assert find(run) == find(again)


def test_a_budget_is_spent_on_errors_first(place, tmp_path):
    folder = scan(small(), [place], tmp_path / "run", depth="trials", budget=Budget(1), shard=4)
    tried = {row["n"] for row in rows(folder, "trials")}
    wrong = {row["n"] for row in rows(folder, "pictures") if not row["correct"]}
    assert len(tried) == 4 and len(tried & wrong) >= 2


def test_the_verb_makes_trials_and_findings(place, tmp_path):
    run = CliRunner().invoke(
        app, ["audit", str(place), "-o", str(tmp_path / "r"), "--depth", "trials", "--budget", "500",
              "--model", "aviary:cnn", "--classes", str(classes_of(tmp_path))],
    )  # fmt: skip
    assert run.exit_code == 0, run.output
    assert (tmp_path / "r" / "findings.json").is_file()


def classes_of(folder):
    file = Path(folder) / "classes.txt"
    file.write_text("\n".join([*NAMES, *(f"x{i}" for i in range(18))]))
    return file
