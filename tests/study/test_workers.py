"""Searches that workers share: the same numbers bit for bit, and nothing starts in vain."""

import socket
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from circuitkit.cli.actions.discover import checkpoint_beside
from circuitkit.cli.app import app
from circuitkit.discovery.exact import ExactEdges
from circuitkit.discovery.exact_nodes import ExactNodes
from circuitkit.discovery.methods import METHODS, method_named
from circuitkit.discovery.search import in_order, prepared
from circuitkit.errors import MemoryBudgetError, MethodError, WorkerError
from circuitkit.interventions.work import Work
from circuitkit.metrics import LogitDifference
from circuitkit.prompts.columns import Columns, by_role
from circuitkit.study.search import discover
from circuitkit.study.settings import Settings, work_of
from circuitkit.study.subject import Request, subject_of
from circuitkit.study.workers import executor_of, require_memory
from circuitkit.work.checkpoint import open_checkpoint
from circuitkit.work.executors.asked import AskedWorkers
from circuitkit.work.executors.on_ray import RayCrew, require_reachable, shares
from tests.work.test_executors import results
from tests.work.worked import Squares, item

REQUEST = Request(task="planted-induction", model="planted-induction", n=6)
SETTINGS = Settings(method="exact", batch_size=4)


@pytest.fixture(scope="module")
def subject():
    return subject_of(REQUEST)


def bits(scores):
    return scores.values.numpy().tobytes()


def test_a_worker_gives_every_bit_of_one_process_at_all_positions_and_at_each(subject, tmp_path):
    alone = discover(subject, SETTINGS)
    columns, method = by_role(subject.splits.discovery), ExactEdges()
    pairs, seen = subject.splits.discovery, []
    with executor_of(subject, replace(SETTINGS, workers="1")) as executor:
        path = tmp_path / "kept.sqlite"
        settings = replace(SETTINGS, checkpoint=path)
        work = work_of(subject, settings, lambda *of: seen.append(of), executor)
        shared = method.score_edges(subject.model, pairs, subject.metric, work)
        parts = method.score_columns(subject.model, pairs, subject.metric, columns, work)
    assert bits(shared) == bits(alone)
    assert alone.values.abs().max() > 0.1
    assert seen[:2] == [(0, seen[0][1]), (1, seen[0][1])]
    # one process goes on from what workers kept, and has nothing left to do
    again = Work(
        subject.ablations["resample"], batch_size=4, checkpoint=path, executor=NobodyThere()
    )
    assert bits(method.score_edges(subject.model, pairs, subject.metric, again)) == bits(alone)
    work = work_of(subject, SETTINGS)
    single = method.score_columns(subject.model, pairs, subject.metric, columns, work)
    assert list(map(bits, single)) == list(map(bits, parts))
    assert len({bits(part) for part in parts}) > 1


def test_a_column_of_the_same_name_at_other_positions_is_other_work(subject, tmp_path):
    pairs, method = subject.splits.discovery, ExactEdges()
    whole = by_role(pairs)
    work = Work(checkpoint=tmp_path / "kept.sqlite")

    def scores(column):
        one = Columns(("same",), whole.masks[column : column + 1])
        return bits(method.score_columns(subject.model, pairs, subject.metric, one, work)[0])

    assert len({scores(column) for column in range(len(whole.names))}) > 1


class NobodyThere:
    """An executor that may only be asked for nothing."""

    def results(self, items, own):
        assert items == []
        return iter(())


class Backwards:
    """An executor of which the last item comes first."""

    def results(self, items, own):
        for each in reversed(items):
            yield each, own.compute(each)


@pytest.mark.parametrize("name", [n for n, kind in METHODS.items() if kind.is_divisible])
def test_scores_are_the_same_bits_in_whatever_order_items_come(subject, name):
    method, pairs = method_named(name), subject.splits.discovery.select(range(3))
    scores = [
        bits(method.score_edges(subject.model, pairs, LogitDifference(), work))
        for work in (Work(batch_size=2), Work(batch_size=2, executor=Backwards()))
    ]
    assert scores[0] == scores[1]


def test_what_comes_early_is_kept_before_what_is_late(subject, tmp_path):
    items = {f"item {n}": item(f"item {n}", n) for n in range(3)}
    maker, said = Squares(tmp_path), []
    with open_checkpoint(tmp_path / "c.sqlite", {}) as done:
        done.keep("item 1", [7.0])  # from a run before
        work = Work(executor=Backwards(), progress=lambda *of: said.append(of))
        found = [numbers for _, numbers in in_order(items, maker(0), done, work)]
        assert found == [[0.0], [7.0], [4.0]]
        assert done.result("item 2") == [4.0]
    assert said == [(0, 3), (1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("name", [n for n, kind in METHODS.items() if not kind.is_divisible])
def test_a_method_in_one_piece_refuses_workers(subject, name):
    with pytest.raises(MethodError, match=f"method '{name}': must be one whose work divides"):
        discover(subject, Settings(method=name, workers="2"))


def test_what_is_in_memory_alone_is_refused_by_workers(subject):
    with pytest.raises(WorkerError, match="must come from a request, as subject_of makes it"):
        discover(replace(subject, request=Request()), replace(SETTINGS, workers="2"))


def test_what_the_numbers_depend_on_is_what_workers_are_compared_by(subject):
    pairs, metric, exact = subject.splits.discovery, subject.metric, ExactNodes()

    def identity(method=exact, model=subject.model, pairs=pairs):
        return dict(prepared(method, model, pairs, metric, Work()).identity)

    own = identity()
    assert own["torch"] == torch.__version__
    assert own["device"] == "cpu"
    assert subject.model.digest in own["model"]
    assert own["prompts"] == pairs.digest
    others = [
        identity(model=replace(subject.model, digest="b3-other")),
        identity(pairs=pairs.select([0])),
        identity(method=ExactEdges()),
    ]
    assert [{k for k in own if each[k] != own[k]} for each in others] == [
        {"model"}, {"prompts"}, {"method"}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--method", "exact", "--workers", "0"], "--workers: must be a number from 1 to 1024"),
        (["--method", "exact", "--workers", "many"], "--workers: must be a number from 1 to 1024"),
        (["--method", "eap", "--workers", "2"], "must go with a method whose work divides (exact"),
        (["--method", "all", "--workers", "2"], "must go with a method whose work divides (exact"),
        (["--method", "exact", "--by", "role", "--edges", "9", "--workers", "2"], "without --by"),
    ],
)
def test_workers_that_cannot_work_are_refused_before_the_model_is_looked_for(words, says):
    asked = ["discover", "ioi", "--model", "no-such-model", *words]
    found = CliRunner().invoke(app, asked)
    assert found.exit_code == 2
    assert says in found.output


def test_run_by_default_refuses_workers_as_it_may_choose_what_does_not_divide():
    found = CliRunner().invoke(app, ["run", "ioi", "--model", "no-such-model", "--workers", "2"])
    assert "must go with a method whose work divides" in found.output


def test_the_number_of_workers_makes_no_other_search():
    names = {
        checkpoint_beside(Path("c.json"), REQUEST, replace(SETTINGS, workers=workers))
        for workers in ("", "2", "ray")
    }
    assert len(names) == 1


def test_too_many_workers_for_the_memory_are_refused_with_how_many_would_do(subject):
    weights = {p.data_ptr(): p for p in subject.model.bridge.original_model.parameters()}.values()
    each = 100 + sum(p.numel() * p.element_size() for p in weights)
    require_memory(subject.model, 3, 100, 3 * each)
    with pytest.raises(MemoryBudgetError, match="Ask for 2 at most"):
        require_memory(subject.model, 3, 100, 3 * each - 1)


@pytest.mark.parametrize(
    ("there", "n", "on_gpus", "share"),
    [
        ({"CPU": 8.0}, 0, False, (8, 0.0)),
        ({"CPU": 8.0}, 3, False, (3, 0.0)),
        ({"CPU": 8.0, "GPU": 2.0}, 0, True, (2, 1.0)),
        ({"CPU": 8.0, "GPU": 2.0}, 5, True, (5, 1 / 3)),
    ],
)
def test_a_cluster_is_shared_out_to_the_processor_and_the_part_of_a_gpu(there, n, on_gpus, share):
    assert shares(there, n, on_gpus=on_gpus) == share


@pytest.mark.parametrize(
    ("there", "n", "on_gpus"), [({"CPU": 2.0}, 3, False), ({}, 0, False), ({"CPU": 2.0}, 1, True)]
)
def test_more_workers_than_a_cluster_has_room_for_are_refused(there, n, on_gpus):
    with pytest.raises(WorkerError, match="must have a processor for each worker"):
        shares(there, n, on_gpus=on_gpus)


has_ray = pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra ray")


@has_ray
def test_a_cluster_that_does_not_answer_is_refused():
    with socket.socket() as held:  # a port that nobody listens at
        held.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(WorkerError, match=rf"must answer at '{address}', got ConnectionRef"):
            require_reachable(AskedWorkers(0, is_ray=True, address=address))


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is there")
def test_ray_is_asked_for_by_name_where_it_is_not_installed():
    found = CliRunner().invoke(app, ["discover", "ioi", "--method", "exact", "--workers", "ray"])
    assert "ray must be installed" in found.output


@has_ray
@pytest.mark.filterwarnings("ignore")
def test_actors_of_ray_compute_what_one_process_does_though_one_is_killed(tmp_path):
    maker, items = Squares(tmp_path), [item(f"item {n}", n, n + 1) for n in range(7)]
    items.insert(2, item("die once", 5))
    crew = RayCrew(AskedWorkers(2, is_ray=True), on_gpus=False)
    assert results(crew, maker, items) == {
        each: [float(n * n) for n in each.range] for each in items
    }
