"""Who computes items: the numbers are those of one process, whoever dies or comes late."""

import os
import signal
import subprocess
import sys
import time
import types
from collections import deque
from pathlib import Path

import pytest

from circuitkit.errors import ActivationError, WorkerError
from circuitkit.work.executors.asked import AskedWorkers, asked_workers
from circuitkit.work.executors.crew import Died, Done, Failed, Ready, Workers
from circuitkit.work.executors.items import IN_PROCESS
from circuitkit.work.executors.local import LocalCrew
from tests.work.worked import Squares, item


@pytest.fixture(autouse=True)
def workers_find_the_tests(monkeypatch):
    """Let other processes import tests.work.worked, however pytest was started."""
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parents[2]), *sys.path])


class Scripted:
    """A crew without processes: it computes an item when asked for events, the last given first."""

    def __init__(self, identity="w"):
        self.prepared, self.given, self.most, self.log = {}, {}, 0, []
        self.identity, self.waiting = identity, deque()

    def start(self, worker, maker):
        self.log.append(("start", worker))
        self.prepared[worker] = maker(worker)
        self.given[worker] = []
        self.waiting.append(Ready(worker, {"weights": self.identity}))

    def send(self, worker, item):
        self.given[worker].append(item)
        self.log.append(("send", worker, item.what))
        self.most = max(self.most, len(self.given[worker]))

    def events(self):
        if self.waiting:
            return [self.waiting.popleft()]
        worker = max(w for w, items in self.given.items() if items)
        one = self.given[worker][0]
        if one.what == "die" or (one.what == "die once" and not self.died(one)):
            self.given.pop(worker)
            self.log.append(("died", worker, one.what))
            return [Died(worker, "exit code -9")]
        try:
            return [Done(worker, self.given[worker].pop(0), self.prepared[worker].compute(one))]
        except ActivationError as error:
            return [Failed(worker, error, one)]

    def died(self, item):
        return ("died", 0, item.what) in self.log or ("died", 1, item.what) in self.log

    def stop(self):
        self.log.append(("stop",))
        self.given.clear()


def results(crew, maker, items, n=2):
    with Workers(crew, maker, n) as executor:
        return dict(executor.results(items, maker(0)))


def test_workers_that_come_in_any_order_give_the_numbers_of_one_process(tmp_path):
    maker, items = Squares(tmp_path), [item(f"item {n}", n, n + 1) for n in range(9)]
    crew = Scripted()
    found = list(Workers(crew, maker, 3).results(items, maker(0)))
    assert [each for each, _ in found] != items  # they came in another order
    assert dict(found) == dict(IN_PROCESS.results(items, maker(0)))
    assert crew.most == 2  # in flight at a worker


def test_everyone_has_a_first_item_before_anyone_has_a_second(tmp_path):
    crew = Scripted()
    results(crew, Squares(tmp_path), [item("a"), item("b"), item("c")])
    assert [entry[1] for entry in crew.log if entry[0] == "send"][:2] == [0, 1]


def test_no_more_workers_are_started_than_there_are_items(tmp_path):
    crew = Scripted()
    assert results(crew, Squares(tmp_path), [item("only", 3)], n=5) == {item("only", 3): [9.0]}
    assert [entry for entry in crew.log if entry[0] == "start"] == [("start", 0)]


def test_a_worker_that_dies_is_started_again_and_both_its_items_are_given_out_anew(tmp_path):
    items = [item("a", 1), item("die once", 2), item("c", 3), item("d", 4)]
    (tmp_path / "die once").touch()  # this process shall not
    crew = Scripted()
    assert results(crew, Squares(tmp_path), items) == {
        each: [each.range[0] ** 2.0] for each in items
    }
    assert crew.log.count(("start", 1)) == 2
    assert len([entry for entry in crew.log if entry[0] == "send"]) == 6  # two of them twice


def test_an_item_in_which_three_workers_died_ends_the_work_by_its_name(tmp_path):
    crew = Scripted()
    with pytest.raises(WorkerError, match="got 3 that died in item 'die', the last with exit code"):
        results(crew, Squares(tmp_path), [item("a", 1), item("die", 2), item("c", 3)])
    assert crew.log[-1] == ("stop",)
    assert len([entry for entry in crew.log if entry[0] == "died"]) == 3


def test_an_item_that_fails_ends_the_work_at_once_with_its_own_error(tmp_path):
    crew, items = Scripted(), [item("fail"), *(item(f"item {n}", n) for n in range(20))]
    with pytest.raises(ActivationError, match="layer 3: activations must be finite") as error:
        results(crew, Squares(tmp_path), items)
    assert error.value.row == 7
    assert error.value.__notes__ == ["In worker 0, computing fail."]
    assert ("stop",) in crew.log


def test_workers_with_other_weights_are_refused_before_any_has_an_item(tmp_path):
    crew = Scripted(identity="other")
    with pytest.raises(WorkerError, match=r"weights: 'w' here, 'other' in the worker") as error:
        results(crew, Squares(tmp_path), [item("a", 1), item("b", 1)])
    assert "same versions" in str(error.value)
    assert not [entry for entry in crew.log if entry[0] == "send"]


def test_who_stops_listening_ends_the_workers(tmp_path):
    crew = Scripted()
    maker, items = Squares(tmp_path), [item("a", 1), item("b", 1)]
    found = Workers(crew, maker, 2).results(items, maker(0))
    next(found)
    found.close()
    assert crew.log[-1] == ("stop",)


def test_who_takes_the_last_item_keeps_the_workers_for_the_next(tmp_path):
    crew = Scripted()
    maker, items = Squares(tmp_path), [item("a", 1), item("b", 1)]
    executor = Workers(crew, maker, 2)
    for _ in range(2):
        found = executor.results(items, maker(0))
        assert {next(found)[0], next(found)[0]} == set(items)
        found.close()
    assert crew.log.count(("start", 0)) == 1
    assert ("stop",) not in crew.log


def test_processes_compute_what_one_process_does_though_one_is_killed(tmp_path):
    maker, items = Squares(tmp_path), [item(f"item {n}", n, n + 1) for n in range(7)]
    items.insert(2, item("die once", 5))
    with Workers(LocalCrew(), maker, 2) as executor:
        assert dict(executor.results(items, maker(0))) == {
            each: [float(n * n) for n in each.range] for each in items
        }
        again = [item("again", 3)]  # by the workers that are there
        assert list(executor.results(again, maker(0))) == [(again[0], [9.0])]
        with pytest.raises(ActivationError, match="layer 3"):
            list(executor.results([item("fail")], maker(0)))
    pids = [int(path.name[4:]) for path in tmp_path.glob("pid-*")]
    assert len(pids) >= 2  # and perhaps the one that was started again
    assert not [pid for pid in pids if is_alive(pid)]


@pytest.mark.parametrize(
    ("what", "says"),
    [("fail oddly", "Odd: odd"), ("no one there", "of the item's own")],
)
def test_an_error_that_says_too_little_by_itself_is_told_all_the_same(tmp_path, what, says):
    maker = Squares(tmp_path)
    with Workers(LocalCrew(), maker, 1) as executor, pytest.raises(Exception, match=says):
        list(executor.results([item(what)], maker(0)))


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0] != "Z"


DRIVER = """
import signal
import sys
from pathlib import Path
from circuitkit.work.executors.crew import Workers
from circuitkit.work.executors.local import LocalCrew
from tests.work.worked import Squares, item

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # who started us may ignore it
    maker = Squares(Path(sys.argv[1]))
    with Workers(LocalCrew(), maker, 2) as executor:
        list(executor.results([item("slow", n) for n in range(4)], maker(0)))
"""


def test_a_worker_that_cannot_read_what_prepares_it_says_why(monkeypatch):
    module = types.ModuleType("only_here")
    exec("class Maker:\n    def __call__(self, number): ...", vars(module))
    monkeypatch.setitem(sys.modules, "only_here", module)
    with (
        Workers(LocalCrew(), module.Maker(), 1) as executor,
        pytest.raises(ModuleNotFoundError, match="only_here"),
    ):
        list(executor.results([item("x", 1)], Squares(Path())(0)))


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="asks /proc who lives")
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_no_worker_outlives_the_process_that_started_it(tmp_path, sent):
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    command = [sys.executable, str(script), str(tmp_path)]
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, env=paths, start_new_session=True, stderr=subprocess.PIPE, text=True
    ) as driver:
        try:
            until(lambda: len(list(tmp_path.glob("pid-*"))) == 2)
            pids = [int(path.name[4:]) for path in tmp_path.glob("pid-*")]
            if sent == signal.SIGINT:
                os.kill(pids[0], sent)
                time.sleep(0.2)
                assert is_alive(pids[0])  # a worker does not hear it
                os.killpg(driver.pid, sent)  # as a terminal sends Ctrl-C
            else:
                driver.send_signal(sent)
            until(lambda: not any(map(is_alive, pids)))
            said = driver.communicate()[1]
        finally:
            driver.kill()
    assert said.count("Traceback") == (sent == signal.SIGINT)  # no worker's own


def until(happens) -> None:
    end = time.monotonic() + 30
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("", None),
        ("2", AskedWorkers(2)),
        ("ray", AskedWorkers(0, True)),
        ("ray:3", AskedWorkers(3, True)),
        ("ray:10.0.0.1:6379", AskedWorkers(0, True, "10.0.0.1:6379")),
        ("ray:8@ray://head:10001", AskedWorkers(8, True, "ray://head:10001")),
        ("ray:auto", AskedWorkers(0, True, "auto")),
    ],
)
def test_workers_are_asked_for_in_one_line(text, asked):
    assert asked_workers(text) == asked


@pytest.mark.parametrize(
    "text",
    ["0", "-1", "two", "1.5", "1025", "9" * 5000, " 2", "²", "2:3", "rays", "ray:", "ray:0"]
    + ["ray:x", "ray:2@", "ray:@a:1", "ray:a b:1", "Ray", "ray:0@h:1"],
)
def test_what_asks_for_no_workers_is_refused_with_what_would(text):
    with pytest.raises(WorkerError, match=r"--workers: must be a number from 1 to 1024, ray"):
        asked_workers(text)
