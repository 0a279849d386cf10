"""The aviary's protocol: its truth against rendering by hand, what the true effects score, and what controls do."""

import pytest
import torch
from typer.testing import CliRunner

from saywhy import explain, load_classifier
from saywhy.aviary import EDITIONS, NULL_PARTS, SPECIES, remove, render, world
from saywhy.aviary.classifiers import preprocess_of, untrained
from saywhy.aviary.faults import concerned
from saywhy.classifier import Classifier
from saywhy.cli import app
from saywhy.errors import UsageError
from saywhy.evaluate import BIRD_COLUMNS, Evaluation, evaluate_aviary
from saywhy.evaluate.aviary_benchmark import _regions
from saywhy.evaluate.part_effects import Bird, spoiled_birds, test_birds
from saywhy.evaluate.result import report, shared
from saywhy.image import read
from tiny import build, classifier

test_birds.__test__ = False  # type: ignore[attr-defined]  # a function of the package, not a test


@pytest.fixture(scope="module")
def clf() -> Classifier:
    return load_classifier("aviary:cnn")


@pytest.fixture(scope="module")
def birds(clf: Classifier) -> list[Bird]:
    return test_birds(clf, 6, 3)[0]


@pytest.fixture(scope="module")
def found(clf: Classifier) -> Evaluation:
    return evaluate_aviary(clf, ["grad-cam", "occlusion", "game-parts", "game-regions"], limit=5, spoiled=2, seed=3)


def test_effects_are_what_the_class_loses_when_the_scene_is_rendered_without_the_part(
    clf: Classifier, birds: list[Bird]
) -> None:
    for bird in birds[:2]:
        for part, effect in zip(bird.players, bird.effects.tolist(), strict=True):
            without = clf.prepare([read(render(remove(bird.rendered.scene, part)).pixels)])[0]
            both = clf.probabilities(torch.cat([bird.image[None], without]))[:, bird.target]
            assert effect == pytest.approx(float(both[0] - both[1]), abs=1e-5)


def test_players_are_visible_parts_of_the_rule_a_null_part_and_others(birds: list[Bird]) -> None:
    for bird in birds:
        scene, species = bird.rendered.scene, SPECIES[str(bird.rendered.scene.birds[0].species)]
        assert 2 <= len(bird.players) <= 6
        assert set(bird.players) <= set(bird.rendered.shown()) - {"body"}
        assert set(species.parts) & set(bird.rendered.shown()) <= set(bird.players)
        assert set(bird.players) & set(NULL_PARTS)
        assert SPECIES[clf_name(bird.sibling)].clan == species.clan != ""
        assert set(bird.differing) <= set(species.parts)
        assert (bird.pair is not None) == any(a.other for a in species.rule)
        assert bird.masks.shape == (len(bird.players), 64, 64)
        assert scene.size == 128


def clf_name(index: int) -> str:
    return list(SPECIES)[index]


def test_what_two_parts_do_together_is_measured_for_relations_alone(birds: list[Bird]) -> None:
    for bird in birds:
        assert bool((bird.together != 0).any()) == (bird.pair is not None)


def test_shortcuts_lie_where_they_were_planted(clf: Classifier) -> None:
    marked, other = spoiled_birds(clf, "watermark", 2, 3)
    assert 0 < float(marked.spot.mean()) < 0.1
    assert [clf_name(m.bird.target) for m in (marked, other)] == ["sleet pipit", "frost pipit"]
    (watery,) = spoiled_birds(clf, "context", 1, 3)
    assert 0.5 < float(watery.spot.mean()) < 1
    assert watery.bird.rendered.scene.background.kind == "water"
    assert not marked.counts  # a clean classifier does not look at the mark


@pytest.mark.parametrize("edition", EDITIONS[1:])
def test_birds_and_faults_are_of_the_edition_whose_species_the_classifier_names(edition: str) -> None:
    known = world(edition)
    clf = Classifier(
        untrained("cnn128", edition=edition),
        classes=known.classes,
        preprocess=preprocess_of("cnn128"),
        activation="softmax",
    )
    for fault in ("watermark", "context"):
        (case,) = spoiled_birds(clf, fault, 1, 3)
        bird = case.bird
        assert [bird.rendered.scene.birds[0].species] == [*concerned(fault, edition)]
        asked, rival = (known.species[clf.class_names[k]] for k in (bird.target, bird.sibling))
        assert asked.clan == rival.clan and asked != rival
        assert set(asked.parts) & set(bird.players) and set(known.null_parts) & set(bird.players)
        assert set(bird.differing) <= set(asked.parts)
        assert bird.image.shape == (3, 128, 128)
        assert 0 < float(case.spot.mean()) < 1


def test_the_true_effects_are_the_ceiling(found: Evaluation) -> None:
    true = found.row("true effects")
    assert true.control
    for name in ("effect-rank", "effect-sign", "watermark", "context"):
        assert true.cells[name].mean == pytest.approx(1), name
    for row in found.rows:
        assert row.cells["effect-rank"].mean <= 1
        assert set(row.cells) == set(BIRD_COLUMNS)


def test_the_constant_control_gets_the_share_of_the_area(found: Evaluation) -> None:
    cells = found.row("constant").cells
    assert cells["nra"].mean == pytest.approx(0, abs=1e-6)
    assert cells["epg"].mean == pytest.approx(cells["pointing"].mean)
    assert cells["epg"].mean < 0.2


def test_the_game_on_true_masks_finds_the_rule_better_than_chance(found: Evaluation) -> None:
    game, random = found.row("game-parts").cells, found.row("random").cells
    assert game["epg"].mean > 3 * random["epg"].mean
    assert game["effect-rank"].mean > random["effect-rank"].mean
    assert game["null-share"].mean < found.row("constant").cells["null-share"].mean
    assert found.row("game-parts").forward_passes <= 2 * 64
    assert all(0 <= found.row("game-regions").cells[m].mean <= 1 for m in ("epg", "pointing", "effect-sign"))


def test_only_games_have_pairs(found: Evaluation) -> None:
    for row in found.rows:
        paired = row.method in ("game-parts", "game-regions", "true effects")
        assert (row.cells["relation"].samples > 0) <= paired


def test_the_same_seed_gives_the_same_table_and_a_metric_can_be_asked_alone(clf: Classifier, found: Evaluation) -> None:
    again = evaluate_aviary(clf, ["grad-cam"], ["epg", "effect-rank"], limit=5, seed=3, controls=["random"])
    for name in ("epg", "effect-rank"):
        assert again.row("grad-cam").cells[name].values == pytest.approx(found.row("grad-cam").cells[name].values)
        assert again.row("random").cells[name].values == found.row("random").cells[name].values
    assert [c.name for c in again.columns] == ["epg", "effect-rank"]


def test_wrong_questions_are_errors(clf: Classifier) -> None:
    with pytest.raises(UsageError, match="protocol is for classifiers of the 24 species of one"):
        evaluate_aviary(classifier(build("cnn")))
    with pytest.raises(UsageError, match="unknown metric of the aviary 'epgg'"):
        evaluate_aviary(clf, metrics=["epgg"])
    with pytest.raises(UsageError, match="unknown method 'game-part'"):
        evaluate_aviary(clf, ["game-part"])
    with pytest.raises(UsageError, match="--parts concepts"):
        evaluate_aviary(clf, ["game-concepts"])


@pytest.mark.parametrize("name", ["aviary:cnn", "aviary:vit"])
def test_regions_are_exactly_those_that_explain_finds(name: str, birds: list[Bird]) -> None:
    clf, bird = load_classifier(name), birds[0]
    e = explain(clf, read(bird.rendered.pixels), bird.target, bird.sibling, regions=5, seed=5)
    assert e.image.width == 2 * bird.image.shape[2]
    found = _regions(None, clf, bird, 5)
    assert len(found) == len(e.concepts) > 0
    for region, concept in zip(found.numpy(), e.concepts, strict=True):
        shown = concept.mask.array()[::2, ::2]
        assert (region & shown).sum() / (region | shown).sum() > 0.9


@pytest.mark.parametrize(("words", "shown"), [([], 24), (["--perturbation-limit", "3"], 3)])
def test_the_command_shows_few_birds_to_methods_that_ask_often(
    words: list[str], shown: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def noted(*_: object, perturbation_limit: int, **__: object) -> None:
        asked.append(perturbation_limit)
        raise UsageError("enough")

    monkeypatch.setattr("saywhy.cli.eval_request.evaluate_aviary", noted)
    assert isinstance(
        CliRunner().invoke(app, ["eval", "--aviary", "--model", "aviary:cnn", *words]).exception, UsageError
    )
    assert asked == [shown]


def test_rows_of_fewer_birds_have_a_table_of_those_that_all_saw_without_the_planted_pictures(clf: Classifier) -> None:
    found = evaluate_aviary(
        clf,
        ["grad-cam", "occlusion"],
        ["epg", "watermark"],
        controls=[],
        limit=3,
        perturbation_limit=1,
        spoiled=2,
        seed=3,
    )
    same = shared(found)
    assert same is not None
    assert [c.name for c in same.columns] == ["epg"]
    assert {len(r.pictures) for r in same.rows} == {1}
    assert {len(r.pictures) for r in found.rows} == {1, 3}
    kept = found.row("grad-cam").pictures.index(same.rows[0].pictures[0])
    assert same.row("grad-cam").cells["epg"].mean == pytest.approx(found.row("grad-cam").cells["epg"].values[kept])
    assert "The 1 pictures that every row was measured on" in report(found, "markdown")
