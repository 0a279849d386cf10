"""Graphs of concepts and the student that decides by them: nodes, edits, message passing, what is said of a picture."""

import json
from dataclasses import replace
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from typer.testing import CliRunner

import oracles
from saywhy import Classifier, Explainer, Preprocess, load_classifier
from saywhy.cli import app
from saywhy.collection import Item, find_images
from saywhy.concepts.finding import find_concepts, with_layers
from saywhy.concepts.looking import bank_point
from saywhy.concepts.making import make_bank
from saywhy.errors import InputError, UsageError
from saywhy.intervene import hide
from saywhy.parts import Fitting
from saywhy.passes import counting
from saywhy.reasoning import distilling, part, reasoner
from saywhy.reasoning.adapting import Trial, correction, edits_to_ask
from saywhy.reasoning.distilling import KINDS, edits_of, grouped, mapped, slots_of, split, tabled, taught
from saywhy.reasoning.interpreting import interpreted, probabilities, scored
from saywhy.reasoning.nodes import Mapped, Nodes, displaced, exchanged, hidden, nodes_of, place
from saywhy.reasoning.reasoner import Reasoner, digest
from saywhy.reasoning.student import RELATIONS, Student
from saywhy.render.html import html
from saywhy.render.text import text as text_of
from saywhy.seen import look
from test_concepts import SMALL, Patches, patchy

FEW = replace(distilling.LEARNING, epochs=12)
PLAIN = Preprocess(size=(32, 32), resize=None, mean=(0, 0, 0), std=(1, 1, 1))


@pytest.fixture(scope="module")
def clf():
    return Classifier(Patches().eval(), classes=("red", "other"), preprocess=PLAIN, layer="pool")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Forty pictures, half with red in them, the others with green, all with blue."""
    folder = tmp_path_factory.mktemp("photos")
    for n in range(40):
        Image.fromarray(patchy([("red", "green")[n % 2], "blue"], n)).save(folder / f"{n:02}.png")
    return folder


@pytest.fixture(scope="module")
def bank(clf, photos):
    return make_bank(clf, find_images(photos), SMALL)[0]


@pytest.fixture(scope="module")
def table(clf, bank, photos):
    return tabled(clf, bank, find_images(photos), (0, 1), 0, lambda step: None)[0]


@pytest.fixture(scope="module")
def fitted(clf, bank, photos):
    """An explainer with a bank and a student."""
    made = part.fit(clf, find_images(photos), Fitting("student", parts={"concepts": bank}))
    return Explainer(clf, {"concepts": bank, "graph": made.part}), made


def drawn(k=5, m=3, S=4, D=6, seed=0, relations="relative"):
    """A student whose weights are drawn, all of them, and nodes of which some are absent."""
    random = torch.Generator().manual_seed(seed)
    slots = torch.stack([torch.randperm(k, generator=random)[:S] for _ in range(m)])
    student = Student(slots, k, D, m, relations)
    with torch.no_grad():
        for weight in student.parameters():
            weight.copy_(torch.randn(weight.shape, generator=random) * 0.2)
    places = torch.rand(k, 3, generator=random) * 0.2
    left = torch.tensor([1.0, 0.5, 0.0, 1.0, 1.0])[:k]
    return student.eval(), Nodes(torch.randn(k + 1, D, generator=random), places, left)


def told(student, nodes, edges=None):
    return probabilities(student, nodes, nodes.left[None], None if edges is None else edges[None])[0]


# --------------------------------------------------------------------------------------------------
# Nodes and edits.


def test_nodes_hold_what_the_layers_hold_where_each_concept_is(clf, bank):
    images, _ = clf.prepare([clf.read(patchy(["red", "blue"], 3))])
    tap = clf.tap(images, ["pool"])
    labels = torch.full((32, 32), -1)
    labels[2:14, 2:10], labels[20:30, 4:30] = 0, 1
    nodes = nodes_of(bank, tap, labels)
    maps = tap.maps("pool")[0]
    for j, features in enumerate(nodes.features):
        own = labels == (j if j < len(bank) else -1)
        weights = own.reshape(16, 2, 16, 2).float().mean(dim=(1, 3))
        expected = (maps * weights).sum(dim=(1, 2)) / weights.sum().clamp_min(1e-6)
        assert torch.allclose(features, expected, atol=1e-5)
    assert nodes.here == [0, 1]
    assert nodes.places[0].tolist() == pytest.approx([6 / 32, 8 / 32, 96 / 1024])
    assert nodes.places[2:].abs().sum() == 0 and place(labels == 99).tolist() == [0, 0, 0]


class Nothing:
    """A bank of one concept that is nowhere, in the layers that banks of a classifier are made of."""

    def __init__(self, clf):
        self.layer, self.cells, self.seen = bank_point(clf).path, self, []
        self.layers = [clf.point.path]

    def __len__(self):
        return 1

    def shares(self, tap):
        self.seen.append({name: tap.maps(name)[0].detach() for name in (self.layer, *self.layers)})
        return torch.tensor([0.0, 1.0])[:, None, None].expand(2, 4, 4)


def test_a_picture_is_looked_at_alike_when_a_student_is_taught_and_when_it_is_asked(tmp_path):
    """Its activations run twice in some blocks: by their name alone the later ones would be meant."""
    clf = load_classifier("efficientnet-lite0")
    Image.fromarray(patchy(["red", "blue"], 0)).resize((224, 224)).save(tmp_path / "one.png")
    bank = Nothing(clf)
    mapped(clf, bank, Item(tmp_path / "one.png"))
    seen = look(clf, clf.read(tmp_path / "one.png"))
    assert set(bank.seen[0]) == {bank.layer, clf.point.path} and bank.layer != clf.point.path
    for name, maps in bank.seen[0].items():
        assert torch.equal(maps, seen.tap.maps(name)[0])


def of_layers(first, *others):
    """A bank, as far as it says where it looks."""
    return SimpleNamespace(layer=first, cells=SimpleNamespace(layers=others))


def test_layers_that_were_not_tapped_are_looked_at_where_their_name_says_which_is_meant(clf):
    seen = look(clf, clf.read(patchy(["red"], 1)))
    other = look(replace(clf, layer="relu"), clf.read(patchy(["red"], 1)))
    assert set(other.tap.points) == {"relu"} and with_layers(of_layers("relu"), other.tap) is other.tap
    assert torch.equal(with_layers(of_layers("pool", "relu"), other.tap).maps("pool"), seen.tap.maps("pool"))


def test_of_a_module_that_runs_twice_the_output_that_was_tapped_is_meant_and_no_other_is_guessed():
    clf = load_classifier("efficientnet-lite0")
    seen = look(clf, clf.read(np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)))
    fine, last = seen.tap.points
    assert seen.tap.points[fine].call.count == 1 and seen.tap.points[last].call.count == 2
    found = with_layers(of_layers(fine, "_conv_head"), seen.tap)
    assert torch.equal(found.maps(fine), seen.tap.maps(fine)) and "_conv_head" in found.points
    elsewhere = clf.tap(seen.tap.images, ["_conv_head"])
    with pytest.raises(UsageError, match="which runs 2 times in a pass"):
        with_layers(of_layers(fine), elsewhere)


def known(seed=0, k=4):
    """A picture of noise with three concepts in it, as boxes."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.full((32, 32), -1)
    labels[4:10, 4:10], labels[4:10, 20:28], labels[20:30, 6:12] = 0, 1, 2
    places = torch.stack([place(labels == j) for j in range(k)])
    features = torch.randn(k + 1, 5, generator=random)
    return Mapped(torch.rand(3, 32, 32, generator=random), labels, Nodes(features, places, (places[:, 2] > 0).float()))


def test_a_hidden_concept_is_painted_over_and_gone():
    one = known()
    edit = hidden(one, [0, 2])
    gone = (one.labels == 0) | (one.labels == 2)
    assert torch.equal(edit.picture[:, ~gone], one.picture[:, ~gone])
    expected = oracles.inpaint_fill(one.picture.numpy(), (~gone).float().numpy(), 0)
    assert np.allclose(edit.picture.numpy()[:, gone.numpy()], expected[:, gone.numpy()], atol=1e-5)
    assert edit.nodes.left.tolist() == [0, 1, 0, 0] and edit.nodes.here == [1]


def test_a_displaced_concept_lies_elsewhere_and_covers_what_was_there():
    one = known()
    edit = displaced(one, 0, 1, 18)  # three of its six columns come to lie on concept 1, in five of its six rows
    assert torch.equal(edit.picture[:, 5:11, 22:28], one.picture[:, 4:10, 4:10])
    assert not torch.equal(edit.picture[:, 4:10, 4:10], one.picture[:, 4:10, 4:10])
    assert edit.nodes.left[:3].tolist() == pytest.approx([1, 1 - 5 * 6 / 48, 1])
    assert edit.nodes.places[0].tolist() == pytest.approx([25 / 32, 8 / 32, 36 / 1024])
    assert torch.equal(edit.nodes.features, one.nodes.features)
    out = displaced(one, 0, 0, 25)
    assert out.nodes.left[0] == pytest.approx(3 / 6) and out.nodes.places[0, 2] == pytest.approx(18 / 1024)


def test_an_exchanged_concept_is_the_other_one_at_its_place():
    one, other = known(), known(1)
    edit = exchanged(one, 0, other, 3) if other.nodes.here == [0, 1, 2, 3] else exchanged(one, 0, other, 0)
    assert torch.equal(edit.picture[:, 4:10, 4:10], other.picture[:, 4:10, 4:10])
    assert torch.equal(edit.nodes.features[0], other.nodes.features[0])
    assert torch.equal(edit.nodes.features[1:], one.nodes.features[1:])
    another = exchanged(one, 2, other, 1)  # of another form: its middle is where that of the old one was
    assert another.nodes.left.tolist() == [1, 1, 0, 0]
    assert another.nodes.places[1, :2].tolist() == pytest.approx(one.nodes.places[2, :2].tolist(), abs=0.5 / 32)


def test_edits_are_drawn_by_the_picture_and_of_every_kind():
    one, donor = known(), known(1)
    first, again = edits_of(one, donor, 0), edits_of(one, donor, 0)
    assert {e.kind for e in first} == set(KINDS) and first[0].kind == "image"
    assert all(torch.equal(a.picture, b.picture) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a.picture, b.picture) for a, b in zip(first, edits_of(one, donor, 1), strict=True))
    assert {e.kind for e in edits_of(one, None, 0)} == set(KINDS) - {"exchanged"}
    empty = replace(one, labels=torch.full((32, 32), -1), nodes=one.nodes.without(range(4)))
    assert [e.kind for e in edits_of(empty, donor, 0)] == ["image"]


# --------------------------------------------------------------------------------------------------
# The student.


@pytest.mark.parametrize("relations", RELATIONS)
def test_the_student_is_the_plain_message_passing_of_the_source(relations):
    student, nodes = drawn(relations=relations)
    gates = torch.rand(5, 5, generator=torch.Generator().manual_seed(4))
    for edges in (None, gates):
        scores = oracles.graph_reasoning(student, nodes.features, nodes.places, nodes.left, edges)
        assert torch.allclose(told(student, nodes, edges), scores.softmax(0).double(), atol=1e-5)


def test_what_is_gated_away_is_nowhere():
    student, nodes = drawn()
    other = replace(nodes, features=nodes.features.clone(), places=nodes.places.clone())
    other.features[2], other.places[2] = 7.0, torch.tensor([0.9, 0.9, nodes.places[2, 2]])
    assert torch.allclose(told(student, nodes), told(student, other)), "concept 2 is absent"
    moved = replace(nodes, places=nodes.places.clone())
    moved.places[0, :2] += 0.3
    assert not torch.allclose(told(student, nodes), told(student, moved), atol=1e-4)
    closed = torch.ones(5, 5)
    closed[0], closed[:, 0] = 0, 0
    assert torch.allclose(told(student, nodes, closed), told(student, moved, closed)), "its edges are closed"
    alone, _ = drawn(relations="none")
    assert torch.allclose(told(alone, nodes), told(alone, moved)), "nodes alone know no place"


def test_relations_do_not_know_where_in_the_picture_all_are():
    shift = torch.tensor([0.2, -0.1, 0])
    for relations in ("relative", "absolute"):
        student, nodes = drawn(relations=relations)
        same = torch.allclose(
            told(student, nodes), told(student, replace(nodes, places=nodes.places + shift)), atol=1e-6
        )
        assert same == (relations == "relative")


def test_what_nodes_and_edges_add_is_gradient_times_embedding():
    student, nodes = drawn()
    shares = torch.cat([nodes.places[:, 2], (1 - nodes.places[:, 2].sum())[None]])
    states, evidence = student.read(nodes.features, shares, torch.arange(6))
    found = student.graphs(states[None], evidence[None], nodes.places[None], nodes.left[None])
    graphs = replace(found, nodes=found.nodes.detach().requires_grad_(), edges=found.edges.detach().requires_grad_())
    own, lines = student.slices(graphs)
    for c in range(3):
        of_nodes, of_edges = torch.autograd.grad(
            student.fused(graphs)[0, c], [graphs.nodes, graphs.edges], retain_graph=True
        )
        assert torch.allclose(own[..., c], (of_nodes * graphs.nodes).sum(-1), atol=1e-5)
        assert torch.allclose(lines[..., c], (of_edges * graphs.edges).sum(-1), atol=1e-5)
        whole = own[..., c].sum() + lines[..., c].sum() + graphs.evidence[..., c].sum() + student.fuse.bias[c]
        assert float(whole.detach()) == pytest.approx(float(student.fused(graphs)[0, c].detach()), abs=1e-4)


def test_no_answer_depends_on_what_else_is_asked():
    student, nodes = drawn()
    lefts = torch.stack([nodes.left, nodes.without([0]).left, nodes.without([3, 4]).left])
    together = probabilities(student, nodes, lefts)
    for row, left in zip(together, lefts, strict=True):
        assert torch.allclose(row, told(student, replace(nodes, left=left)), atol=1e-7)


def test_contributions_are_what_changes_when_it_is_taken_away():
    student, nodes = drawn()
    made = Reasoner(student, (0, 1, 2), "f", "b")
    h = interpreted(made, nodes, 1, versus=2)
    slots = student.slots[1].tolist()
    assert h.here == tuple(j for j in slots if nodes.left[j] > 0) and set(h.here) | set(h.absent) == set(slots)
    full = told(student, nodes)
    assert h.probability == pytest.approx(float(full[1]))
    for i, j in enumerate(h.here):
        left = told(student, nodes.without([j]))
        assert float(h.nodes[i]) == pytest.approx(float(full[1] - left[1]), abs=1e-6)
        assert float(h.nodes_versus[i]) == pytest.approx(float(full[1] - full[2] - left[1] + left[2]), abs=1e-6)
    for pair in combinations(h.here, 2):
        closed = torch.ones(5, 5)
        closed[pair[0], pair[1]] = closed[pair[1], pair[0]] = 0
        left = told(student, nodes, closed)
        assert h.edges[pair] == pytest.approx(float(full[1] - left[1]), abs=1e-6)
        assert h.edges_versus[pair] == pytest.approx(float(full[1] - full[2] - left[1] + left[2]), abs=1e-6)
    nothing = told(student, nodes.without(h.here))
    assert float(h.shares.sum()) == pytest.approx(float(full[1] - nothing[1]), abs=1e-6)
    assert interpreted(made, nodes, 1).nodes_versus is None
    none = interpreted(made, nodes.without(range(5)), 1)
    assert none.here == () and len(none.nodes) == 0 and none.edges == {}


# --------------------------------------------------------------------------------------------------
# Teaching.


def test_the_student_learns_what_the_classifier_answers(table, bank):
    student, figures = taught(table, slots_of(table, 2), 0)
    assert figures["fidelity"]["image"]["agreement"] == 1
    assert figures["fidelity"]["edits"]["agreement"] > 0.9 and figures["fidelity"]["edits"]["r2"] > 0.5
    again, same = taught(table, slots_of(table, 2), 0)
    assert same == figures and all(
        torch.equal(a, b) for a, b in zip(student.parameters(), again.parameters(), strict=True)
    )
    torch.manual_seed(99)
    before = torch.get_rng_state()
    other, _ = taught(table, slots_of(table, 2), 1)
    assert torch.equal(torch.get_rng_state(), before), "nobody else's random numbers are drawn"
    assert not torch.equal(student.first.weight, other.first.weight)


def test_a_class_is_told_by_what_costs_it_most(table, bank):
    slots = slots_of(table, 2, 2)
    lost = torch.zeros(2, len(bank))
    for owner in range(40):
        own = [n for n in range(len(table.owners)) if table.owners[n] == owner]
        whole = own[0]
        c = int(table.answers[whole].argmax())
        for n in own:
            if KINDS[table.kinds[n]] == "hidden":
                j = [i for i in range(len(bank)) if table.left[n, i] < table.left[whole, i]]
                lost[c, j] += table.answers[whole, c] - table.answers[n, c]
    assert slots[0, 0] == lost[0].argmax() and lost[0].max() > 5
    assert slots.shape == (2, 2) and len(set(slots[1].tolist())) == 2


def test_without_edits_it_does_not_know_them(table, bank):
    """What distilling on interventions is for."""
    error = {
        way: taught(table, slots_of(table, 2), 0, interventions=way)[1]["fidelity"]["edits"]["divergence"]
        for way in (True, False)
    }
    assert error[True] < 0.7 * error[False]


def test_a_table_holds_what_the_classifier_said(clf, bank, photos, table):
    items = find_images(photos)[:3]
    donor = row = None
    at = 0
    for n, item in enumerate(items):
        one = mapped(clf, bank, item)
        for edit in edits_of(one, donor, 0):
            answer = grouped(clf.to_probabilities(clf.logits(edit.picture[None])), (0, 1))[0]
            assert torch.allclose(table.answers[at], answer, atol=1e-5)
            assert table.owners[at] == n and KINDS[table.kinds[at]] == edit.kind
            row = table.rows[at].clamp_min(0)
            seen = edit.nodes.left > 0
            assert torch.equal(table.features[row[:-1][seen]], edit.nodes.features[:-1][seen])
            assert torch.equal(table.left[at], edit.nodes.left) and torch.equal(table.places[at], edit.nodes.places)
            at += 1
        donor = one
    again = tabled(replace(clf, batch_size=3), bank, items, (0, 1), 0, lambda step: None)[0]
    assert torch.allclose(again.answers, table.answers[: len(again.answers)], atol=1e-6)


def test_others_are_one_answer():
    p = torch.tensor([[0.5, 0.2, 0.2, 0.1]])
    assert grouped(p, (0, 2)).tolist() == [pytest.approx([0.5, 0.2, 0.3])]
    assert grouped(p, (0, 1, 2, 3)).tolist() == p.tolist()


@pytest.mark.parametrize("count", [1, 3, 9, 10, 40])
def test_pictures_that_are_measured_on_were_not_learned_from(count):
    mine, held, test = (set(rows.tolist()) for rows in split(count, 0))
    assert mine | held | test == set(range(count)) and all((mine, held, test))
    assert count < 10 or not (mine & held or mine & test or held & test)


# --------------------------------------------------------------------------------------------------
# A student of one picture.


def asked_of(student, nodes, here, seed=0):
    """Answers that were drawn: to the picture and without each of the concepts that are here."""
    random = torch.Generator().manual_seed(seed)
    lefts = torch.stack([nodes.left, *(nodes.without([j]).left for j in here)])
    return lefts, torch.randn(len(lefts), student.fuse.out_features, generator=random).softmax(1)


def test_an_adapted_student_answers_as_the_classifier_did():
    student, nodes = drawn()
    here = (0, 1, 4)
    lefts, answers = asked_of(student, nodes, here)
    told_before = probabilities(student, nodes, lefts)
    added = correction(scored(student, nodes, lefts), answers, nodes.left, here)
    other = student.corrected(added)
    assert torch.allclose(probabilities(other, nodes, lefts), answers.double(), atol=1e-5)
    assert torch.equal(probabilities(student, nodes, lefts), told_before), "the student itself is as it was"
    assert added[[2, 3]].abs().sum() == 0, "what was not asked about says what it said"
    together = nodes.without([0, 4]).left[None]
    own, new = scored(student, nodes, together)[0], scored(other, nodes, together)[0]
    plain = added[-1] + nodes.left[1] * added[1] + nodes.left[3] * added[3]
    assert torch.allclose(new - own, plain, atol=1e-5), "what concepts do together is the student's own"
    assert {name for name, _ in other.named_buffers()} == {*student.state_dict(), "correction"} - {
        name for name, _ in student.named_parameters()
    }


def test_what_is_less_probable_than_one_in_ten_thousand_is_not_told_apart():
    student, nodes = drawn()
    lefts, _ = asked_of(student, nodes, (0, 1))
    answers = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1e-9, 0.0], [0.5, 0.5, 0.0]])
    added = correction(scored(student, nodes, lefts), answers, nodes.left, (0, 1))
    assert torch.isfinite(added).all()
    assert torch.allclose(probabilities(student.corrected(added), nodes, lefts).float(), answers, atol=3e-4), (
        "and no answer is off by more"
    )


@pytest.mark.parametrize("classes", [3, 100, 400])
def test_however_many_classes_there_are_what_was_measured_is_told(classes):
    student, nodes = drawn(m=classes)
    lefts, _ = asked_of(student, nodes, (0, 1))
    answers = torch.full((3, classes), 1e-9)
    answers[:, 0] = torch.tensor([0.9, 0.5, 0.2])
    answers[:, 1] = 1 - answers[:, 0]
    added = correction(scored(student, nodes, lefts), answers, nodes.left, (0, 1))
    assert torch.allclose(probabilities(student.corrected(added), nodes, lefts).float(), answers, atol=0.01)


@pytest.mark.parametrize("p", range(9))
def test_the_classifier_is_asked_ten_times_at_most_each_concept_first(p):
    here = tuple(range(20, 20 + p))
    single, several = edits_to_ask(here, 7)
    assert single == [(j,) for j in here]
    assert len(several) == min(10 - p, 2**p - p - 1) and len(set(several)) == len(several)
    assert all(len(some) > 1 and set(some) <= set(here) for some in several)
    assert edits_to_ask(here, 7) == (single, several)
    assert p < 4 or edits_to_ask(here, 8) != (single, several)


@pytest.mark.parametrize(
    ("edits", "error", "faithful"), [(3, 0.05, True), (3, 0.15, False), (1, 0.0999, True), (0, 0.0, False)]
)
def test_a_student_is_faithful_where_it_was_tried_and_was_not_far_off(edits, error, faithful):
    held = torch.full((edits,), 0.5, dtype=torch.float64)
    found = Trial((), torch.zeros(1, 2), ((0, 1),) * edits, held + error, held)
    assert found.faithful == faithful
    assert found.error == (pytest.approx(error) if edits else None)


# --------------------------------------------------------------------------------------------------
# One picture.


def test_the_record_tells_the_graph_of_each_class_and_how_faithful_it_is(clf, fitted):
    explainer, _ = fitted
    with counting() as meter:
        e = explainer.explain(patchy(["red", "blue"], 50))
    with counting() as plain:
        Explainer(clf, {"concepts": explainer.parts["concepts"]}).explain(patchy(["red", "blue"], 50))
    assert meter.forward_passes - plain.forward_passes <= 10
    found = e.parts["graph"]
    assert found["faithful"] and found["error"] <= found["limit"]
    first = found["hypotheses"][0]
    here = [n for n in first["nodes"] if n["present"]]
    assert found["knock_outs"] == len(here) > 1
    assert found["judged_by"] == min(10 - len(here), 2 ** len(here) - len(here) - 1)
    assert [h["class_name"] for h in found["hypotheses"]] == ["red", "other"]
    best = max(first["nodes"], key=lambda n: n["contribution"])
    assert best["present"] and best["contribution"] > 0.3 and best["place"]
    assert 0.5 < best["importance"] <= 1
    others = [n for n in first["nodes"] if n is not best]
    assert all(abs(n["contribution"]) < 0.2 for n in others), "blue is seen and counts for nothing"
    assert all(n["contribution"] == 0 and n["importance"] is None for n in first["nodes"] if not n["present"])
    assert e.to_dict()["parts"]["graph"] == json.loads(json.dumps(found))


def test_what_the_classifier_says_without_a_concept_is_measured(clf, fitted):
    explainer, _ = fitted
    picture = patchy(["red", "blue"], 51)
    seen = look(clf, clf.read(picture))
    bank = explainer.parts["concepts"]
    found = find_concepts(bank, seen)
    e = explainer.explain(picture)
    for c, graph in enumerate(e.parts["graph"]["hypotheses"]):
        for node in graph["nodes"]:
            if not node["present"]:
                assert node["measured"] is None
                continue
            keep = (found.labels != bank.ids.index(node["concept"]))[None]
            after = clf.to_probabilities(clf.logits(hide(seen.image, keep, "inpaint")))[0, c]
            lost = float(seen.probabilities[c] - after)
            assert node["measured"] == pytest.approx(lost, abs=1e-4)
            assert node["contribution"] == pytest.approx(lost, abs=1e-3), "what was measured is what is told"
            assert node["importance"] == pytest.approx(min(1, max(0, lost) / float(seen.probabilities[c])), abs=1e-3)


def test_of_a_concept_that_was_not_tried_nothing_was_measured(fitted):
    explainer, _ = fitted
    made = explainer.parts["graph"]
    k = made.student.concepts
    slots = torch.tensor([[j for j in range(k) if j != 0][:2], [0, 1]])
    student = replace(made, student=narrowed(made.student, slots))
    found = Explainer(explainer.clf, {**explainer.parts, "graph": student}).explain(patchy(["red", "blue"], 50))
    tried = {n["concept"] for n in found.parts["graph"]["hypotheses"][0]["nodes"] if n["present"]}
    for graph in found.parts["graph"]["hypotheses"]:
        for node in graph["nodes"]:
            assert (node["measured"] is not None) == (node["concept"] in tried and node["present"])
            assert (node["importance"] is None) == (node["measured"] is None)


def narrowed(student, slots):
    """A new student of these concepts of each class."""
    made = Student(slots, student.concepts, len(student.mean), student.fuse.out_features)
    return made.eval().requires_grad_(False)


def shown(e, renderer=text_of):
    return renderer(e).decode()


def test_text_and_page_show_the_graph_or_say_why_not(fitted):
    explainer, _ = fitted
    e = explainer.explain(patchy(["red", "blue"], 52))
    text, page = shown(e), shown(e, html)
    assert "Graph of red, by a student that decides as the classifier does here" in text
    assert page.count("<svg") >= 2 and "How its concepts stand together" in page and "not checked by moving" in page
    for changed, said in (
        ({"error": 0.3}, "the student is not faithful here (30 points off in"),
        ({"error": None, "judged_by": 0}, "too few of its concepts are here to try the student by"),
    ):
        graph = {**e.parts["graph"], "faithful": False, **changed}
        wrong = e.model_copy(update={"parts": {**e.parts, "graph": graph}})
        assert said in shown(wrong) and said in shown(wrong, html) and "by the student</h3>" not in shown(wrong, html)


def test_a_student_that_answers_otherwise_is_called_unfaithful(clf, fitted):
    explainer, _ = fitted
    student, _ = drawn(len(explainer.parts["concepts"]), 2, 2, explainer.parts["graph"].student.mean.numel(), seed=2)
    strange = replace(explainer.parts["graph"], student=student)
    e = Explainer(clf, {**explainer.parts, "graph": strange}).explain(patchy(["red", "blue"], 53))
    assert not e.parts["graph"]["faithful"]
    assert e.concepts, "what was measured on the classifier is told all the same"


def test_a_saved_student_is_the_same(clf, fitted, tmp_path):
    explainer, made = fitted
    explainer.save(tmp_path / "mine")
    before = torch.get_rng_state()
    again = Explainer.load(tmp_path / "mine", clf)
    assert torch.equal(torch.get_rng_state(), before), "nobody else's random numbers are drawn"
    picture = patchy(["green", "blue"], 54)
    assert again.explain(picture).parts["graph"] == explainer.explain(picture).parts["graph"]
    card = json.loads((tmp_path / "mine" / "explainer.json").read_text())["parts"]["graph"]["card"]
    assert card["fidelity"]["image"]["agreement"] == 1 and "2 classes" in made.summary
    (tmp_path / "mine" / "graph.safetensors").write_bytes(b"no weights")
    with pytest.raises(InputError, match="student of graphs"):
        Explainer.load(tmp_path / "mine", clf)


def test_what_does_not_fit_is_refused(clf, bank, photos, fitted, tmp_path):
    items, explainer = find_images(photos), fitted[0]
    with pytest.raises(UsageError, match="--parts concepts,graph"):
        part.fit(clf, items, Fitting("student"))
    with pytest.raises(UsageError, match="exclude nothing"):
        part.fit(replace(clf, activation="sigmoid"), items, Fitting("student", parts={"concepts": bank}))
    with pytest.raises(UsageError, match="two classes"):
        part.fit(clf, items, Fitting("student", parts={"concepts": replace(bank, classes={0: "red"})}))
    with pytest.raises(InputError, match="none of 1 pictures"):
        part.fit(clf, [Item(tmp_path / "none.png")], Fitting("student", parts={"concepts": bank}))
    strange = replace(explainer.parts["graph"], bank="another")
    with pytest.raises(UsageError, match="another bank"):
        Explainer(clf, {"concepts": bank, "graph": strange}).explain(patchy(["red"], 1))
    with pytest.raises(UsageError, match="decides as the classifier"):
        reasoner.save(replace(explainer.parts["graph"], fingerprint="other"), tmp_path)
        reasoner.load(
            tmp_path, {**reasoner.save(replace(explainer.parts["graph"], fingerprint="other"), tmp_path)}, "mine"
        )
    assert Explainer(clf, {"graph": explainer.parts["graph"]}).explain(patchy(["red"], 1)).parts.get("graph") is None
    assert digest(bank) != digest(replace(bank, basis=replace(bank.basis, vectors=bank.basis.vectors + 1)))


class More(Patches):
    """With a class that no picture is of."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 3)
        self.head.weight.data = F.pad(Patches().head.weight.data, (0, 0, 0, 1))
        self.head.bias.data = torch.tensor([0.0, 2.0, -1.0])


def test_a_class_that_the_student_does_not_know_is_left_out(photos, monkeypatch):
    monkeypatch.setattr(distilling, "LEARNING", replace(FEW, epochs=2))
    clf = Classifier(More().eval(), classes=("red", "other", "third"), preprocess=PLAIN, layer="pool")
    explainer = Explainer.fit(clf, find_images(photos)[:12], ["graph", "concepts"])
    assert list(explainer.made) == ["concepts", "graph"], "whatever the order in which they are asked for"
    assert explainer.parts["graph"].student.fuse.out_features == 3, "two classes and all others"
    e = explainer.explain(patchy(["red", "blue"], 55), target="third")
    assert "graph" not in e.parts
    e = explainer.explain(patchy(["red", "blue"], 55), target="red", versus="third")
    assert [h["class_name"] for h in e.parts["graph"]["hypotheses"]] == ["red", "other"]
    assert all(n["contrast"] is None or not n["present"] for n in e.parts["graph"]["hypotheses"][0]["nodes"])


def test_an_interrupted_fit_gives_the_same_student(clf, bank, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(distilling, "LEARNING", replace(FEW, epochs=6))
    items, file = find_images(photos)[:16], tmp_path / "graph.checkpoint.safetensors"
    whole = part.fit(clf, items, Fitting("student", parts={"concepts": bank})).part

    def stop(step):
        if step.startswith("teaching the student graphs: epoch 3"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        part.fit(clf, items, Fitting("student", parts={"concepts": bank}, checkpoint=file, tell=stop))
    steps = []
    made = part.fit(clf, items, Fitting("student", parts={"concepts": bank}, checkpoint=file, tell=steps.append))
    assert file in made.leftovers and len(made.leftovers) == 2
    graphs = [step for step in steps if step.startswith("teaching the student graphs")]
    assert not any(step.startswith("asking") for step in steps), "nothing is asked again"
    assert [step.split(",")[0][-1] for step in graphs] == ["3", "4", "5"]
    with pytest.raises(UsageError, match="another run: pictures"):
        part.fit(clf, items[:-1], Fitting("student", parts={"concepts": bank}, checkpoint=file))
    assert all(
        torch.equal(a, b) for a, b in zip(whole.student.parameters(), made.part.student.parameters(), strict=True)
    )


def test_the_command_fits_and_explains(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(distilling, "LEARNING", replace(FEW, epochs=2))
    (tmp_path / "squares.py").write_text(
        "from test_concepts import Patches\n\ndef make():\n    return Patches().eval()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    model = ["--model", "squares:make", "--size", "32", "--resize", "0", "--mean", "0", "--std", "1", "--layer", "pool",
             "--activation", "softmax"]  # fmt: skip
    folder = str(tmp_path / "mine")
    made = CliRunner().invoke(app, ["fit", str(photos), "--parts", "graph,concepts", "-o", folder, *model])
    assert made.exit_code == 0, made.output
    assert "a student of 2 classes" in made.output
    Image.fromarray(patchy(["red", "blue"], 56)).save(tmp_path / "one.png")
    shown = CliRunner().invoke(app, ["explain", str(tmp_path / "one.png"), "--explainer", folder, *model])
    assert shown.exit_code == 0, shown.output
    assert "Graph of class 0" in shown.output
    alone = CliRunner().invoke(app, ["fit", str(photos), "--parts", "graph", "-o", str(tmp_path / "no"), *model])
    assert isinstance(alone.exception, UsageError) and "--parts concepts,graph" in str(alone.exception)
