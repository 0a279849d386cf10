"""A part is its folder and one row: it is fitted, saved, loaded, found, said and shown, and nothing else knows it."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from markupsafe import Markup
from PIL import Image

import saywhy
import tiny
from saywhy import Explainer
from saywhy.errors import InputError, UsageError
from saywhy.image import read
from saywhy.lcam.heads import start
from saywhy.parts import PARTS, Confirmed, Kind, Part, Proposal, Sections
from saywhy.passes import counting
from saywhy.regions.part import find_in
from saywhy.seen import look

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "how-to" / "add-a-part.md").read_text(encoding="utf-8")
EXAMPLE = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)[0]


@pytest.fixture
def halves(monkeypatch):
    """The part of docs/how-to/add-a-part.md, in the table for the time of a test."""
    known = dict(PARTS)
    parts = {}
    exec(EXAMPLE, parts)
    yield parts
    PARTS.clear()
    PARTS.update(known)


@pytest.fixture
def clf():
    return tiny.classifier(tiny.build("cnn"))


def picture():
    return read((tiny.images(1, seed=3, side=32)[0] * 255).byte().permute(1, 2, 0).numpy())


@pytest.fixture
def photos(tmp_path):
    for n in range(3):
        Image.new("RGB", (40, 40), (80 + n, 90, 100)).save(tmp_path / f"{n}.png")
    return [tmp_path / f"{n}.png" for n in range(3)]


def test_the_table_s_rows_keep_the_contract():
    for name, row in PARTS.items():
        face, sections = row.face(), row.sections()
        assert row.summary and isinstance(sections, Sections), name
        assert bool(row.presets) == (face.fit is not None) == (face.save is not None) == (face.load is not None), name
        assert (face.find is None) == (face.confirm is None), name


def test_the_presets_of_a_row_are_the_recipes_of_its_part():
    from saywhy.lcam.fitting import RECIPES

    assert set(PARTS["lcam"].presets) == set(RECIPES)
    assert PARTS["lcam"].presets[0] == "refined"


def test_a_new_part_is_fitted_saved_loaded_found_said_and_shown(halves, clf, photos, tmp_path):
    steps = []
    made = Explainer.fit(clf, photos, ["halves"], progress=steps.append)
    assert steps == ["reading 3 pictures"]
    made.save(tmp_path / "mine")
    assert json.loads((tmp_path / "mine" / "explainer.json").read_text())["parts"]["halves"]["card"]
    again = Explainer.load(tmp_path / "mine", clf)
    assert torch.allclose(again.parts["halves"], made.parts["halves"])
    found = again.explain(picture())
    assert found.parts["halves"]["side"] in ("left", "right") and "halves" in found.provenance.parts
    assert found.parts["regions"]["null"]  # beside the regions
    line = f"The odd half is the {found.parts['halves']['side']} one."
    shown = {name: saywhy.RENDERERS[name].function(found) for name in saywhy.RENDERERS}
    assert line.encode() in shown["text"] and line.encode() in shown["html"]
    assert json.loads(shown["json"])["parts"] == found.parts
    bare = found.model_copy(update={"parts": {}})
    assert saywhy.RENDERERS["png"].function(bare) != shown["png"]
    assert saywhy.Explanation.from_dict(found.to_dict()).parts == found.parts


def test_a_part_that_was_not_fitted_leaves_the_explanation_as_it_is(halves, clf):
    bare = Explainer(clf).explain(picture())
    assert set(bare.parts) == {"baseline", "regions"} and "odd_half" not in {s.kind for s in bare.statements}


def test_what_two_parts_ask_alike_is_asked_once(clf, monkeypatch):
    saywhy.explain(clf, picture(), regions=3)  # the blank pictures are asked about once for each classifier
    with counting() as alone:
        plain = saywhy.explain(clf, picture(), regions=3)
    face = PARTS["regions"].face()
    echo = replace(
        face,
        find=lambda part, seen, earlier, asked: earlier["regions"],
        confirm=lambda found, seen, runs: Confirmed(record=[c.run.score for c in runs]),
    )
    monkeypatch.setitem(PARTS, "echo", Part("asks what regions ask", lambda: echo, Sections))
    with counting() as both:
        twice = saywhy.explain(clf, picture(), regions=3)
    assert both.forward_passes == alone.forward_passes
    assert twice.parts["echo"] == [r.score for r in plain.runs]
    assert twice.runs == plain.runs and twice.text == plain.text


def test_each_part_gets_the_runs_of_its_own_acts(clf, monkeypatch):
    def propose(found, seen):
        whole = torch.ones(1, *seen.image.shape[1:], dtype=torch.bool)
        return Proposal(whole, ("all",), [("hide", (0,)), ("keep", (0,))])

    def confirm(found, seen, runs):
        return Confirmed(record=[(c.run.act, *c.run.regions) for c in runs])

    face = replace(PARTS["regions"].face(), find=lambda *given: True, propose=propose, confirm=confirm)
    monkeypatch.setitem(PARTS, "all", Part("hides all", lambda: face, Sections))
    found = saywhy.explain(clf, picture(), regions=2)
    assert found.parts["all"] == [("hide", "all")] * 5 + [("keep", "all")] * 5
    assert {r for run in found.runs for r in run.regions} == {"all", *(c.id for c in found.concepts)}


def test_two_parts_that_fill_one_field_or_bring_one_kind_are_refused(clf, monkeypatch):
    face = replace(
        PARTS["regions"].face(),
        find=lambda *given: True,
        propose=None,
        confirm=lambda *given: Confirmed(fields={"concepts": ()}),
    )
    monkeypatch.setitem(PARTS, "again", Part("fills a field that is filled", lambda: face, Sections))
    with pytest.raises(UsageError, match="concepts"):
        saywhy.explain(clf, picture(), regions=2)
    twice = Sections(kinds={"counted": Kind(("{region} counted.",), 1)})
    monkeypatch.setitem(PARTS, "again", Part("brings a kind twice", lambda: face, lambda: twice))
    with pytest.raises(UsageError, match="counted"):
        saywhy.explain(clf, picture(), regions=2)


def test_what_a_part_shows_stands_in_its_column_and_is_escaped_once(clf, monkeypatch):
    shown = Sections(page=lambda drawing: {"words": Markup("<p id='mine'>{}</p>").format("<b>")})
    monkeypatch.setitem(PARTS, "mine", Part("a paragraph", lambda: PARTS["lcam"].face(), lambda: shown))
    page = saywhy.RENDERERS["html"].function(saywhy.explain(clf, picture(), regions=2)).decode()
    assert page.index('class="words"') < page.index("<p id='mine'>&lt;b&gt;</p>") < page.index('class="unsaid"')


# --------------------------------------------------------------------------------------------------
# The folder.


def head(clf):
    return start(clf.tap(tiny.images(2)), "rows")


def test_a_folder_that_the_version_before_parts_wrote_is_read(clf, tmp_path):
    mine = head(clf)
    mine.save(tmp_path / "lcam.safetensors")
    listing = {"format": 1, "parts": {"lcam": {"file": "lcam.safetensors", "card": {}}}, "fingerprint": clf.fingerprint}
    (tmp_path / "explainer.json").write_text(json.dumps(listing, indent=1) + "\n", encoding="utf-8")
    again = Explainer.load(tmp_path, clf)
    assert again.method == "l-cam" and torch.equal(again.parts["lcam"].head.weight, mine.head.weight)


def test_an_explainer_that_cannot_be_saved_leaves_the_old_one_whole(clf, tmp_path, monkeypatch):
    Explainer(clf, {"lcam": head(clf)}).save(tmp_path)
    before = {f.name: f.read_bytes() for f in tmp_path.iterdir()}
    face = PARTS["lcam"].face()

    def fail(part, folder):
        (folder / "half.bin").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    broken = Part("cannot be saved", lambda: replace(face, save=fail), Sections)
    monkeypatch.setitem(PARTS, "broken", broken)
    with pytest.raises(InputError, match="No space left"):
        Explainer(clf, {"lcam": head(clf), "broken": None}).save(tmp_path)
    assert {f.name: f.read_bytes() for f in tmp_path.iterdir()} == before


def test_without_a_classifier_the_one_that_the_folder_names_is_loaded_or_asked_for(clf, tmp_path):
    Explainer(replace(clf, name="no such model"), {"lcam": head(clf)}).save(tmp_path)
    with pytest.raises(UsageError, match="give the classifier"):
        Explainer.load(tmp_path)
    bird = saywhy.load_classifier("aviary:cnn")
    Explainer(bird).save(tmp_path / "bird")
    assert Explainer.load(tmp_path / "bird").clf.fingerprint == bird.fingerprint


def test_an_explainer_of_another_classifier_is_refused(clf):
    other = tiny.classifier(tiny.build("cnn", seed=9))
    with pytest.raises(UsageError, match="belongs to the classifier"):
        saywhy.explain(clf, picture(), explainer=Explainer(other))


def test_a_part_that_does_not_learn_and_an_unknown_preset_are_wrong_usage(clf, photos):
    with pytest.raises(UsageError, match="regions"):
        Explainer.fit(clf, photos, ["regions"])
    with pytest.raises(UsageError, match="slow"):
        Explainer.fit(clf, photos, ["lcam"], presets={"lcam": "slow"})


def test_parts_that_are_not_fitted_again_are_kept(halves, clf, photos):
    first = Explainer(clf, {"lcam": head(clf)})
    assert set(Explainer.fit(clf, photos, ["halves"], init=first).parts) == {"lcam", "halves"}


def test_regions_are_found_where_explain_finds_them(clf):
    seen = look(clf, picture())
    again = find_in(clf, seen.image, seen.probabilities, seen.target, count=3).regions
    record = saywhy.explain(clf, picture(), regions=3)
    masks = {seen.on_photo(region).tobytes() for region in again}
    assert masks == {c.mask.array().tobytes() for c in record.concepts}
