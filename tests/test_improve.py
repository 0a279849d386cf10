"""From a finding to a better model: a small network with a shortcut, mended in every way."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from typer.testing import CliRunner

import oracles
import saywhy
from saywhy.audit import TABLES, scan
from saywhy.audit.sources import Entry
from saywhy.audit.store import FINDINGS
from saywhy.audit.tables import encoded
from saywhy.cli import app
from saywhy.collection import Item
from saywhy.errors import InputError, UsageError
from saywhy.image import Preprocess
from saywhy.improve import REMEDIES, Blamed, improve
from saywhy.improve.blamed import blamed
from saywhy.improve.culprit import Culprit, culprit_of
from saywhy.improve.edits import edits_of
from saywhy.improve.judging import compared
from saywhy.improve.lessons import Frames, Shot, parted, shots_of
from saywhy.improve.remedies import projection
from saywhy.improve.workshop import Stopping, Workshop, copied, fit_loop
from saywhy.metrics.statistics import paired_shares
from saywhy.zoo import load_classifier

SIDE, NAMES = 24, ("dark", "light")
MARK = (2, 2, 6, 6)  # x, y, width, height of a red square that has nothing to do with the class


class Leaning(nn.Module):
    """Says "light" of light pictures and, twice as loudly, of pictures with a red square."""

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 3, 1)  # light, red, nothing
        self.head = nn.Linear(3, 2)
        with torch.no_grad():
            self.features.weight.zero_()
            self.features.weight[0, :, 0, 0] = torch.tensor([0.0, 2.0, 2.0])
            self.features.weight[1, :, 0, 0] = torch.tensor([20.0, -20.0, 0.0])
            self.features.weight[2, :, 0, 0] = torch.tensor([0.3, 0.3, 0.3])
            self.features.bias.copy_(torch.tensor([0.0, -2.0, 0.0]))  # noise is not red
            self.head.weight.copy_(torch.tensor([[-7.5, -10.0, 0.0], [7.5, 10.0, 0.0]]))
            self.head.bias.copy_(torch.tensor([16.0, -16.0]))

    def forward(self, x):
        return self.head(self.features(x).relu().mean((2, 3)))


def leaning():
    plain = Preprocess(size=(SIDE, SIDE), resize=None, mean=(0.0,) * 3, std=(1.0,) * 3)
    return saywhy.Classifier(
        Leaning(), layer="features", classes=NAMES, preprocess=plain, batch_size=16, name="leaning"
    )


def factory():
    """What `--model test_improve:factory` loads."""
    return leaning()


def painted(index):
    """A grey picture, dark or light, half of all with a red square."""
    dice = np.random.default_rng(index)
    label, marked = index % 2, bool(dice.random() < 0.5)
    grey = 0.40 + 0.25 * label + 0.06 * dice.random()
    pixels = np.full((SIDE, SIDE, 3), 255 * grey) + dice.normal(0, 4, (SIDE, SIDE, 3))
    if marked:
        x, y, w, h = MARK
        pixels[y : y + h, x : x + w] = (230, 20, 20)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)), NAMES[label], marked


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A hundred and sixty pictures, scanned; a quarter of them judges."""
    place = tmp_path_factory.mktemp("marks")
    rows = []
    for i in range(160):
        image, name, marked = painted(i)
        image.save(place / f"{i:03d}.png")
        boxes = [{"name": "mark", "xywh": list(MARK)}] if marked else []
        split = "test" if i % 4 == 0 or i % 4 == 3 else "train"
        rows.append({"file": f"{i:03d}.png", "class_name": name, "split": split, "boxes": boxes, "red": marked})
    (place / "images.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return scan(leaning(), [place], place / "run")


FINDING = Blamed(id="mark", class_index=1, versus=0, cause="mark")
QUICK = Stopping(epochs=8)


@pytest.mark.parametrize("how", REMEDIES)
def test_every_remedy_takes_the_culprit_away_and_leaves_the_model_as_it_was(how, run, tmp_path):
    clf = leaning()
    before = {k: v.clone() for k, v in clf.net.state_dict().items()}
    stopping = Stopping(epochs=40, lr=0.5) if how == "reweight" else Stopping(epochs=100, patience=100, lr=0.05)
    spec = {"model": "test_improve:factory"}
    made = improve(clf, run, FINDING, how, tmp_path, spec=spec, stopping=stopping, explained=1)
    assert all(torch.equal(v, before[k]) for k, v in clf.net.state_dict().items())
    assert made.worst.before.mean < 0.1 and made.worst.difference.mean > 0.5 and made.worst.difference.low > 0
    assert made.worst.before.low < made.worst.before.high and made.worst.after.low < made.worst.after.high
    assert made.accuracy.difference.mean > 0
    assert made.contribution.before.mean > 0.4
    assert abs(made.contribution.after.mean) < made.contribution.before.mean / 2
    again = load_classifier(tmp_path / "model.toml")
    assert again.fingerprint == made.fingerprint_after != clf.fingerprint
    told = json.loads((tmp_path / "improved.json").read_text())
    assert told == made.to_dict() and told["schema"] == 1
    assert len(made.again) == 1 and made.again[0].said_before and made.again[0].said_after
    page = (tmp_path / "improved.html").read_text()
    assert made.again[0].label in page and "<script" not in page and page.count("data:image/jpeg") == 2
    assert not (tmp_path / "training.safetensors").exists()


def test_what_is_measured_is_what_a_plain_count_gives(run, tmp_path):
    clf = leaning()
    made = improve(clf, run, FINDING, "ablate", tmp_path, explained=0)
    judged = [i for i in range(160) if i % 4 in (0, 3)]
    again = copied(clf)
    again.net.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    for side, one in (("before", clf), ("after", again)):
        right = {}
        for i in judged:
            image, name, marked = painted(i)
            answer = NAMES[int(one.probabilities(one.prepare([one.read(image)])[0]).argmax())]
            right.setdefault((name, marked), []).append(answer == name)
        assert getattr(made.accuracy, side).mean == pytest.approx(np.mean([r for v in right.values() for r in v]))
        for group in made.groups:
            own = right[group.class_name, group.present]
            assert getattr(group.accuracy, side).mean == pytest.approx(np.mean(own))
            assert getattr(group.accuracy, side).count == len(own)
        assert getattr(made.worst, side).mean == min(getattr(g.accuracy, side).mean for g in made.groups)
    assert made.parts["judge"] == len(judged)


def test_a_projection_ends_its_directions_and_moves_the_rest_least():
    dice = torch.Generator().manual_seed(0)
    spread = torch.randn(6, 6, dtype=torch.float64, generator=dice)
    rows = torch.randn(5000, 6, dtype=torch.float64, generator=dice) @ spread
    directions = torch.randn(6, 2, dtype=torch.float64, generator=dice)
    out = projection(rows, directions)
    assert (out @ directions).abs().max() < 1e-9
    assert torch.allclose(out @ out, out, atol=1e-9)
    metric = torch.linalg.inv(rows.T @ rows / len(rows))

    def moved(p):
        apart = rows - rows @ p.T
        return float((apart @ metric * apart).sum())

    plain, _ = torch.linalg.qr(directions)
    assert moved(out) < moved(torch.eye(6, dtype=torch.float64) - plain @ plain.T)


def test_every_class_weighs_as_much_with_the_culprit_as_without_it():
    labels, present = [0] * 90 + [1] * 30, [True] * 10 + [False] * 80 + [True] * 25 + [False] * 5
    shots = tuple(Shot(n, Entry("x"), label, Item(Path("x"))) for n, label in enumerate(labels))
    culprit = Culprit("it", "", np.array(present))
    shop = Workshop(None, shots, None, None, culprit, None, Stopping(), 0, Path("x"), fit_loop, print)
    weights = shop.weights(np.arange(120)).numpy()
    kinds = [weights[(np.array(labels) == c) & (np.array(present) == p)].sum() for c in (0, 1) for p in (True, False)]
    assert kinds == pytest.approx([30] * 4)


# --------------------------------------------------------------------------------------------------
# Pictures, parts and edits.


def test_a_turned_picture_differs_where_the_culprit_is_and_nowhere_else(run):
    clf = leaning()
    shots, parts = shots_of(run)
    frames = Frames(clf, shots)
    culprit = culprit_of("mark", shots, frames)
    assert [bool(p) for p in culprit.present] == [painted(i)[2] for i in range(160)]
    edits = edits_of(frames, culprit, parts.teach, 0)
    rows = list(range(12))
    turned, plain = edits.turned(rows, rows), frames[rows]
    x, y, w, h = MARK
    near = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    near[y - 1 : y + h + 1, x - 1 : x + w + 1] = True
    apart = (turned - plain).abs().amax(1)
    assert float(apart[:, ~near].max()) < 1e-6
    red = (plain - turned)[:, 0, y + 2 : y + h - 2, x + 2 : x + w - 2].mean((1, 2))
    for row in rows:
        assert (red[row] > 0.1) == bool(culprit.present[row]), row
        assert (red[row] < -0.1) == (not culprit.present[row]), row


def test_before_other_surroundings_the_object_stays(run):
    clf = leaning()
    shots, parts = shots_of(run)
    frames = Frames(clf, shots, ("mark",))
    culprit = culprit_of("surroundings: red=true", shots, frames)
    edits = edits_of(frames, culprit, parts.teach, 0)
    row = int(np.flatnonzero(culprit.present)[0])
    turned, plain = edits.turned([row], [3])[0], frames[[row]][0]
    x, y, w, h = MARK
    assert torch.allclose(
        turned[:, y + 1 : y + h - 1, x + 1 : x + w - 1], plain[:, y + 1 : y + h - 1, x + 1 : x + w - 1]
    )
    assert float((turned - plain)[:, h + 8 :, w + 8 :].abs().mean()) > 0.005


@pytest.mark.parametrize(
    ("splits", "how", "sizes"),
    [
        (["train"] * 60 + ["val"] * 20 + ["test"] * 20, "by the split", (60, 20, 20)),
        (["train"] * 80 + ["validation"] * 20, "by the split", None),
        ([None] * 100, "by the hash", None),
        (["test"] * 100, "by the hash", None),
    ],
)
def test_pictures_are_parted_once_and_by_their_split(splits, how, sizes):
    found = parted(splits, [f"{i}" for i in range(100)])
    rows = [found.teach, found.check, found.judge]
    assert sorted(np.concatenate(rows).tolist()) == list(range(100))
    assert how in found.how
    if sizes is not None:
        assert tuple(map(len, rows)) == sizes
    elif "split" in how:
        assert all(splits[i] == "train" for i in (*found.teach, *found.check))
    assert all(len(r) >= 2 for r in rows)


def test_copies_of_a_picture_lie_in_one_part():
    digests = [f"{i // 2}" for i in range(400)]
    found = parted([None] * 400, digests)
    for rows in (found.teach, found.check, found.judge):
        own = set(rows.tolist())
        assert all((i ^ 1) in own for i in own)


# --------------------------------------------------------------------------------------------------
# Training: with a loop of one's own, and after a kill.


def test_a_loop_of_the_users_own_trains_what_ours_would(run, tmp_path):
    calls = []

    def mine(part, step, examples, config, *, held_out, checkpoint, told):
        calls.append((len(examples), len(held_out), checkpoint.name))
        return fit_loop(part, step, examples, config, held_out=held_out, checkpoint=checkpoint, told=told)

    ours = improve(leaning(), run, FINDING, "reweight", tmp_path / "ours", stopping=QUICK, explained=0)
    theirs = improve(leaning(), run, FINDING, "reweight", tmp_path / "theirs", stopping=QUICK, explained=0, loop=mine)
    assert calls == [(ours.parts["teach"], ours.parts["check"], "training.safetensors")]
    assert theirs.fingerprint_after == ours.fingerprint_after

    def idle(part, step, examples, config, **how):
        return "nothing was done"

    left = improve(leaning(), run, FINDING, "reweight", tmp_path / "idle", explained=0, loop=idle)
    assert left.training is None and left.fingerprint_after == leaning().fingerprint


KILLED = """
import os, sys
sys.path[:0] = [{tests!r}]
from test_improve import *
from saywhy.train import loop
saved, left = loop._save, [3]
def save(*args):
    saved(*args)
    left[0] -= 1
    if not left[0]:
        os._exit(9)
loop._save = save
improve(leaning(), {run!r}, FINDING, "augment", {out!r}, stopping=QUICK, explained=0)
"""


def test_a_killed_training_goes_on_as_if_it_had_not_been(run, tmp_path):
    code = KILLED.format(tests=str(Path(__file__).parent), run=str(run), out=str(tmp_path / "killed"))
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    assert (tmp_path / "killed" / "training.safetensors").exists()
    again = improve(leaning(), run, FINDING, "augment", tmp_path / "killed", stopping=QUICK, explained=0)
    whole = improve(leaning(), run, FINDING, "augment", tmp_path / "whole", stopping=QUICK, explained=0)
    assert again.fingerprint_after == whole.fingerprint_after != leaning().fingerprint
    assert again.training == whole.training and again.accuracy == whole.accuracy


# --------------------------------------------------------------------------------------------------
# What is refused.


@pytest.mark.parametrize(
    ("how", "cue", "kind", "said"),
    [
        ("mend", None, UsageError, "unknown remedy"),
        ("ablate", "stripe", UsageError, "a cue .--cue. is a mask or box .mark."),
        ("ablate", "red=blue", UsageError, "unknown value of red"),
        ("augment", "red=true", UsageError, "nobody knows where"),
        ("ablate", "file", UsageError, "all of the 160"),
    ],
)
def test_what_cannot_be_done_is_refused_and_the_way_out_told(how, cue, kind, said, run, tmp_path):
    with pytest.raises(kind, match=said):
        improve(leaning(), run, FINDING, how, tmp_path, cue=cue)


def test_another_model_a_black_box_and_a_folder_in_use_are_refused(run, tmp_path):
    with pytest.raises(UsageError, match="is of the classifier leaning"):
        improve(load_classifier("aviary:cnn"), run, FINDING, "ablate", tmp_path)
    with pytest.raises(UsageError, match="takes no separate weights file"):
        improve(leaning(), run, FINDING, "ablate", tmp_path, spec={"model": "hf:some/model"})
    with pytest.raises(UsageError, match="black box"):
        copied(saywhy.Classifier(lambda x: x.mean((2, 3)), name="mean"))
    with pytest.raises(UsageError, match="sigmoid"):
        copied(saywhy.Classifier(Leaning(), activation="sigmoid"))
    with pytest.raises(InputError, match="no scan there"):
        improve(leaning(), tmp_path, FINDING, "ablate", tmp_path / "out")
    improve(leaning(), run, FINDING, "ablate", tmp_path / "out", explained=0)
    with pytest.raises(UsageError, match="another how"):
        improve(leaning(), run, FINDING, "reweight", tmp_path / "out")


def test_the_command_line_mends_tells_and_loads(run, tmp_path):
    finding = tmp_path / "mark.json"
    finding.write_text(FINDING.model_dump_json())
    asked = ["improve", str(run), "--finding", str(finding), "--how", "ablate", "-o", str(tmp_path / "out")]
    told = CliRunner().invoke(app, [*asked, "--model", "test_improve:factory", "--batch-size", "16"])
    assert told.exit_code == 0, told.output
    assert "what mark gives light, by experiment" in told.stdout
    assert {f.name for f in (tmp_path / "out").iterdir()} == {
        "ablate.safetensors", "improved.html", "improved.json", "model.toml", "settings.json", "weights.safetensors"
    }  # fmt: skip
    assert load_file(tmp_path / "out" / "ablate.safetensors")["projection"].shape == (3, 3)
    assert load_classifier(tmp_path / "out" / "model.toml").rows == 16


def test_a_finding_of_the_run_is_named_by_its_id(run, tmp_path):
    row = dict.fromkeys(TABLES["findings"].columns) | {
        "id": "f1", "rank": 1, "kind": "shortcut", "name": "light is said because of a mark", "class_index": 1,
        "cause": "mark", "pictures": [2, 5],
    }  # fmt: skip
    place = tmp_path / "run"
    shutil.copytree(run, place)
    (place / FINDINGS).write_bytes(encoded("findings", [row, row | {"id": "f2", "class_index": None}]))
    found = blamed(place, "f1")
    assert found == Blamed(
        id="f1", kind="shortcut", name=row["name"], class_index=1, cause="mark", pictures=(2, 5)
    )  # fmt: skip
    with pytest.raises(UsageError, match="unknown finding 'f3'"):
        blamed(place, "f3")
    with pytest.raises(UsageError, match="f2 names no class_index"):
        blamed(place, "f2")
    with pytest.raises(UsageError, match="has no findings"):
        blamed(run, "f1")
    assert improve(leaning(), place, found, "ablate", tmp_path / "out", explained=0).contribution.before.mean > 0.4


@pytest.mark.parametrize(("text", "said"), [("{}", "is no finding such as"), (None, "is no finding such as")])
def test_a_file_that_is_no_finding_is_refused(text, said, run, tmp_path):
    file = tmp_path / "x.json"
    if text is not None:
        file.write_text(text)
    told = CliRunner().invoke(
        app, ["improve", str(run), "--finding", str(file), "--how", "ablate", "-o", str(tmp_path)]
    )
    assert isinstance(told.exception, InputError) and said in str(told.exception)


@pytest.mark.parametrize("n", [1, 2, 9, 40])
def test_the_interval_of_a_difference_of_paired_shares_is_that_of_the_paper(n):
    dice = np.random.default_rng(n)
    for shares in ((0.5, 0.5), (0.9, 0.95), (0.0, 1.0), (1.0, 1.0), (0.3, 0.0)):
        one, other = (dice.random(n) < share for share in shares)
        found = paired_shares(one, other)
        assert (found.low, found.high) == pytest.approx(oracles.paired_interval(one.tolist(), other.tolist()), abs=1e-9)
        assert found.mean == pytest.approx(one.mean() - other.mean()) and found.count == n


def test_it_holds_the_true_difference_nineteen_times_in_twenty():
    dice, true, held = np.random.default_rng(5), 0.6 - 0.75, []
    for _ in range(600):
        kind = dice.choice(4, size=24, p=[0.55, 0.05, 0.20, 0.20])  # both, the first alone, the other alone, none
        found = paired_shares(np.isin(kind, [0, 1]), np.isin(kind, [0, 2]))
        held.append(found.low <= true <= found.high)
    assert 0.93 <= np.mean(held) <= 0.98


def test_a_group_of_which_all_answers_are_alike_is_not_said_to_be_known_for_certain():
    none, all_ = np.zeros(23, dtype=bool), np.ones(23, dtype=bool)
    for before, after in ((none, all_), (all_, all_), (none, none)):
        for one in vars(compared(before, after)).values():
            assert one.high - one.low > 0.1
