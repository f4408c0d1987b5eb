"""The benchmark's own checks: what must get no time gets none, and numbers mean what they say."""

from __future__ import annotations

import dataclasses
import importlib
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sparseagent as sa
from bench import goal_table, tables, tick
from bench.cell import Entry, Setting, enter, measure_cell
from bench.contenders import (
    PEERS,
    Contender,
    UnsupportedError,
    Variant,
    contenders,
    onnx_runtime,
)
from bench.goals import judge, verdicts
from bench.grid import Grid, best_peer, crossover
from bench.machine import Machine, compiler_flags
from bench.masks import DEAD_SHARE, GROUP
from bench.nets import ALIGNMENT, NETS, Case, Net, aligned, file_case, observations, random_case
from bench.programs import PROGRAMS
from bench.programs import case as program_case
from bench.report import main as report
from bench.results import Cell, Row, append, latest, read
from bench.run import isa_name
from bench.run import main as run
from bench.study_tables import sections
from bench.timing import percentile
from bench.trained import main as trained
from bench.verify import Expected, WrongResultError, verify

TINY = Net("S", (8, 16, 4), "tanh")
SETTING = Setting(Machine("cpu", "os", "3", "commit", 0), sa.kernels()[0].name, 0.01, 0, 0.0)


@pytest.fixture(autouse=True)
def _cores_as_before() -> Iterator[None]:
    """Runs pin the process; the next test has its cores back."""
    allowed = os.sched_getaffinity(0)
    yield
    os.sched_setaffinity(0, allowed)


def reference_variant(case: Case, change: Callable[[Any], Any], *, exact: bool = False) -> Variant:
    """The exact reference with its outputs changed by `change`."""
    from sparseagent.reference import forward_exact

    last = [np.zeros(0, np.float32)]

    def call(x: Any) -> None:
        last[0] = change(forward_exact(case.policy.program, x))

    return Variant(
        "reference", lambda x: x, call, lambda: last[0], exact=case.policy if exact else None
    )


def fake(name: str, prepare: Callable[..., tuple[Variant, ...]], missing: str = "") -> Contender:
    return Contender(name, "all", lambda: missing, lambda: "fake 1", prepare)


def entry_of(case: Case, contender: Contender) -> Entry:
    arrays = observations(case, 2)
    return enter(contender, case, 2, arrays, Expected(case, arrays))


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("net", NETS.values(), ids=list(NETS))
def test_random_masks_have_the_exact_count(net: Net, sparsity: float) -> None:
    for layer in random_case(net, sparsity).policy.layers:
        out, width = layer.shape
        assert layer.nnz == round((1 - sparsity) * out * width)


def test_blocks_and_lanes_keep_whole_groups() -> None:
    for rows in (4, 16):
        for layer in random_case(NETS["M"], 0.9, pattern=f"block{rows}x1").policy.layers:
            kept = layer.dense_weight() != 0
            for start in range(0, len(kept), rows):
                block = kept[start : start + rows]
                assert np.array_equal(block.any(axis=0), block.all(axis=0))
            assert layer.sparsity == pytest.approx(0.9, abs=0.04)
    for layer in random_case(NETS["L"], 0.9, pattern="lanes").policy.layers:
        kept = layer.dense_weight() != 0
        for start in range(0, kept.shape[1], GROUP):
            width = min(GROUP, kept.shape[1] - start)
            assert set(kept[:, start : start + width].sum(axis=1)) == {max(1, 3 * width // GROUP)}


def test_erk_keeps_the_budget_and_leaves_neurons_dead() -> None:
    net = NETS["M"]
    layers = random_case(net, 0.9, pattern="erk").policy.layers
    weights = sum(math.prod(layer.shape) for layer in layers)
    assert sum(layer.nnz for layer in layers) == round(0.1 * weights)
    assert layers[-1].sparsity == 0.0  # the output layer stays whole
    # In proportion to in + out: (17 + 256) to (256 + 256).
    assert layers[0].nnz / layers[1].nnz == pytest.approx(273 / 512, rel=1e-3)
    kept = layers[1].dense_weight() != 0
    lengths = kept.sum(axis=1)
    assert (lengths == 0).sum() >= round(DEAD_SHARE * 256)
    assert (kept.sum(axis=0) == 0).sum() >= round(DEAD_SHARE * 256)
    assert lengths.std() > 0.5 * lengths.mean()  # uneven: 0.26 for even chances


def test_unknown_pattern_is_named() -> None:
    with pytest.raises(ValueError, match=r"pattern: expected one of random.*'nm'"):
        random_case(TINY, 0.5, pattern="nm")


def test_cases_and_observations_repeat() -> None:
    one, other = random_case(TINY, 0.5), random_case(TINY, 0.5)
    for a, b in zip(one.policy.layers, other.policy.layers, strict=True):
        assert np.array_equal(a.dense_weight(), b.dense_weight())
    first = observations(one, 1)
    assert len(first) == 64
    assert np.array_equal(np.stack(first), np.stack(observations(other, 1)))
    assert all(array.ctypes.data % ALIGNMENT == 0 for array in first)
    assert aligned((3, 5)).ctypes.data % ALIGNMENT == 0


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, 0.999])
def test_bad_sparsity_is_named(sparsity: float) -> None:
    with pytest.raises(ValueError, match="sparsity"):
        random_case(TINY, sparsity)


def test_a_policy_file_is_timed_on_its_own_observations(tmp_path: Path) -> None:
    case = random_case(TINY, 0.5)
    step = sa.Observation.normalise(np.ones(8), np.full(8, 4.0), eps=0.0, clip=10.0)
    trained = sa.SparsePolicy(sa.chain(case.policy.layers, step), sa.Argmax())
    raw = np.arange(24, dtype=np.float32).reshape(3, 8) - 4
    trained.with_golden(raw).save(tmp_path / "lander.safetensors")
    loaded = file_case(tmp_path / "lander.safetensors")
    assert (loaded.net, loaded.source) == ("lander", "file")
    assert loaded.policy.observation.is_identity
    rows = np.concatenate(observations(loaded, 4))
    assert {tuple(row) for row in rows} == {tuple(row) for row in (raw - 1) / 2}


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("name", contenders())
def test_every_contender_computes_the_policy(name: str, activation: str, batch: int) -> None:
    contender = contenders()[name]
    if contender.missing():
        pytest.skip(contender.missing())
    case = random_case(Net("S", (7, 33, 18, 3), activation), 0.6)
    arrays = observations(case, batch)
    expected = Expected(case, arrays)
    variants = contender.prepare(case.policy, batch)
    assert variants
    for variant in variants:
        assert verify(variant, [variant.wrap(x) for x in arrays], expected) <= 1e-5


def test_peers_name_an_activation_they_do_not_know() -> None:
    case = random_case(TINY, 0.5)
    layers = (dataclasses.replace(case.policy.layers[0], activation="silu"), case.policy.layers[1])
    policy = sa.SparsePolicy(sa.chain(layers, case.policy.observation))
    for contender in PEERS:
        if not contender.missing():
            with pytest.raises(UnsupportedError, match="silu"):
                contender.prepare(policy, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y: y * np.float32(1.001), "error"),
        (lambda y: y + np.float32(np.nan), "error"),
        (lambda y: y[:1], "expected float32"),
        (lambda y: y.astype(np.float64), "expected float32"),
        (lambda y: np.roll(y, 1, axis=0), "error"),
    ],
)
def test_wrong_outputs_get_no_time(change: Callable[[Any], Any], message: str) -> None:
    case = random_case(TINY, 0.5)
    entry = entry_of(case, fake("wrong", lambda *_: (reference_variant(case, change),)))
    assert entry.track is None
    assert message in entry.status


def test_ours_must_have_the_exact_bits() -> None:
    case = random_case(TINY, 0.5)
    arrays = observations(case, 2)
    expected = Expected(case, arrays)

    def nudge(y: Any) -> Any:
        return np.nextafter(y, np.float32(np.inf))

    assert verify(reference_variant(case, lambda y: y, exact=True), arrays, expected) < 1e-6
    assert verify(reference_variant(case, nudge), arrays, expected) < 1e-6
    with pytest.raises(WrongResultError, match="bits"):
        verify(reference_variant(case, nudge, exact=True), arrays, expected)


def test_a_contender_that_breaks_leaves_the_others_their_times() -> None:
    case = random_case(TINY, 0.5)

    def broken(*_: Any) -> tuple[Variant, ...]:
        raise RuntimeError("no such kernel\ndetails")

    good = fake("good", lambda *_: (reference_variant(case, lambda y: y),))
    rows = measure_cell(case, 2, [fake("bad", broken), good, fake("gone", broken, "x")], SETTING)
    status = {row.contender: row.status for row in rows}
    assert status == {
        "bad": "failed: RuntimeError: no such kernel",
        "good": "ok",
        "gone": "unavailable: x",
    }
    timed = rows[1]
    assert timed.calls >= 3
    assert timed.p50_ns > 0
    assert timed.ns_per_observation == timed.p50_ns / 2
    flop = 2 * case.policy.nnz * 2
    assert timed.gflops == pytest.approx(flop / timed.p50_ns)
    assert timed.peak_share_stored == pytest.approx(
        timed.peak_share * case.weights / case.policy.nnz
    )
    assert math.isnan(rows[0].p50_ns)


def test_percentiles_need_enough_calls() -> None:
    assert percentile(range(1, 102), 0.5) == 51
    assert percentile(range(1, 102), 0.99) == 100
    assert math.isnan(percentile(range(49), 0.99))
    assert math.isnan(percentile([], 0.5))


def row(contender: str, p50_ns: float, sparsity: float = 0.5, **changes: Any) -> Row:
    numbers = {field.name: 1.0 for field in dataclasses.fields(Row) if field.type == "float"}
    texts = {field.name: "x" for field in dataclasses.fields(Row) if field.type == "str"}
    counts = {field.name: 1 for field in dataclasses.fields(Row) if field.type == "int"}
    facts = {"net": "S", "source": "random", "status": "ok", "contender": contender}
    values: dict[str, Any] = {**numbers, **texts, **counts, **facts, **changes}
    return Row(**{**values, "p50_ns": p50_ns, "sparsity": sparsity})


@pytest.mark.parametrize("name", list(PROGRAMS))
def test_a_peer_computes_every_program(name: str) -> None:
    pytest.importorskip("onnxruntime")
    case = program_case(name, 0.95)
    arrays = observations(case, 3)[:1]
    expected = Expected(case, arrays)
    assert enter(onnx_runtime.CONTENDER, case, 3, arrays, expected).status == "ok"
    if not case.policy.program.is_chain():
        other = enter(contenders()["numpy"], case, 3, arrays, expected)
        assert "chains of layers alone" in other.status


def test_rows_survive_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    first = row("numpy", 5.5, p99_ns=math.nan, variant='dot, "fast"', time="1")
    again = row("numpy", 4.5, time="2")
    append(path, [first, row("litert", 3.0, time="1")])
    append(path, [again])
    assert [str(r) for r in read(path)] == [
        str(r) for r in (first, row("litert", 3.0, time="1"), again)
    ]
    newest = latest(read(path))[Cell("S", "random", 0.5, 1, "x")]
    assert list(newest) == ["numpy"]  # rows of another run of the cell do not mix in
    assert newest["numpy"].p50_ns == 4.5
    path.write_text("other,columns\n1,2\n")
    with pytest.raises(ValueError, match="another version"):
        read(path)
    with pytest.raises(ValueError, match="another version"):
        append(path, [first])


def test_tables_say_where_we_lose() -> None:
    rows = [
        row("sparseagent-auto", 2000.0),
        row("sparseagent-dense", 1000.0),
        row("sparseagent-csr", 2000.0),
        row("numpy", 1500.0),
        row("litert", 100.0, status="wrong"),
        row("sparseagent-auto", 1000.0, 0.9),
        row("sparseagent-dense", 2000.0, 0.9),
        row("sparseagent-csr", 1000.0, 0.9),
        row("numpy", 3000.0, 0.9),
    ]
    grid = Grid.of(latest(rows), None)
    cell = grid.cell("S", "random", 0.5, 1)
    peer = best_peer(cell)
    assert peer is not None
    assert peer.contender == "numpy"  # a faster one without a valid result does not count
    lost = tables.losses(grid).splitlines()
    assert len(lost) == 2
    assert "numpy 1.50 us, ours 2.00 us (0.75x)" in lost[0]
    assert "our dense 1.00 us (0.50x)" in lost[1]
    assert crossover(grid, "S", "random", 1) == pytest.approx(0.7)
    assert "2.00x, 3.00x numpy" in tables.speedups(grid)
    assert "litert: wrong" in tables.without_time(grid)


def test_run_resumes_and_report_reads_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.csv"
    arguments = ["--nets", "S", "--sparsities", "0", "0.9", "--batches", "1", "--seconds", "0.02"]
    arguments += ["--contenders", "sparseagent-auto", "sparseagent-csr", "sparseagent-dense"]
    arguments += ["numpy", "--out", str(path)]
    assert run(arguments) == 0
    assert len(read(path)) == 8
    assert all(r.ok for r in read(path))
    assert run(arguments) == 0
    assert "2 cells, 2 already there" in capsys.readouterr().out
    assert len(read(path)) == 8
    # What somebody else's CPU or other sources did does not count.
    ours = path.read_text()
    others: list[dict[str, Any]] = [{"cpu": "other"}, {"commit": "other"}]
    for changes in others:
        other = [dataclasses.replace(r, **changes) for r in read(path)]
        path.unlink()
        append(path, other)
        assert run(arguments) == 0
        assert "2 cells, 0 already there" in capsys.readouterr().out
        assert len(read(path)) == 16
        assert sum(map(len, latest(read(path)).values())) == 8
        path.write_text(ours)
    (tmp_path / "tails.csv").touch()
    for name in ("tails", "study_cartpole_weights"):
        (tmp_path / f"{name}.png").touch()
    assert report(["--csv", str(path), "--figures", str(tmp_path)]) == 0
    assert "![tails](tails.png)" in (tmp_path / "report.md").read_text()
    assert "study_cartpole_weights" not in (tmp_path / "report.md").read_text()
    assert "sparseagent-csr" in (tmp_path / "summary.md").read_text()
    assert "## Where we lose" in (tmp_path / "report.md").read_text()
    assert (tmp_path / "latency_batch1.png").read_bytes().startswith(b"\x89PNG")


def test_goals_take_the_worst_cell_and_name_the_peer(tmp_path: Path) -> None:
    rows = [
        row("sparseagent-auto", 100.0, 0.9, net="M", batch=1),
        row("sparseagent-dense", 221.0, 0.9, net="M", batch=1),
        row("numpy", 700.0, 0.9, net="M", batch=1),
        row("litert", 499.0, 0.9, net="M", batch=1),
    ]
    append(tmp_path / "results.csv", rows)
    (tmp_path / "tails.csv").write_text("net,batch,rise\nM,17,0.1\nM,33,0.2\nM,16,0.9\nM,40,\n")
    found = {verdict.goal: verdict for verdict in verdicts(tmp_path)}
    dense = found["M, 0.9, batch 1: against our dense"]
    assert (dense.reached, dense.measured) == (True, "2.21x (M 0.9 B=1)")
    peer = found["M, 0.9, batch 1: against the best peer"]
    assert (peer.reached, peer.measured) == (False, "4.99x (M 0.9 B=1, litert)")
    assert found["L, 0.9, batch 1: against our dense"].reached is None
    (rise,) = (verdict for goal, verdict in found.items() if "rise" in goal)
    assert (rise.reached, rise.measured) == (False, "0.2 (M B=33)")


def test_a_goal_with_missing_cells_is_not_reached_yet() -> None:
    good, bad, missing = (2.0, "a"), (1.0, "b"), (math.nan, "c")
    results = [judge("", 1.5, f, str).reached for f in ([good], [good, missing], [bad, missing])]
    assert results == [True, None, False]
    assert judge("", 1.5, [good, bad], str, at_most=True).reached is False


def test_the_goals_find_their_cells_in_the_selection() -> None:
    def cells(part: goal_table.Selection) -> set[tuple[str, str, float, int]]:
        return {
            (net, part.source, sparsity, batch)
            for net in part.nets
            for sparsity in part.sparsities
            for batch in part.batches
        }

    measured = set().union(*map(cells, goal_table.SELECTION))
    speeds = [goal.where for goal in goal_table.SPEEDS]
    shares = [goal.where for goal in goal_table.SHARES]
    for where in (goal_table.DENSE, *speeds, *shares):
        assert cells(where) <= measured


STUDIES = ("tails", "jitter", "tick", "update", "orders", "crossover", "threads", "neighbour")


@pytest.mark.parametrize("study", STUDIES)
def test_studies_write_their_rows_and_the_report_shows_them(study: str, tmp_path: Path) -> None:
    short = {
        "tails": ["--nets", "S", "--batches", "16", "17", "--seconds", "0.02"],
        "jitter": ["--nets", "S", "--calls", "50", "--cold-calls", "20"],
        "tick": ["--nets", "S", "--ticks", "3"],
        "update": ["--nets", "S", "--seconds", "0.02"],
        "orders": ["--nets", "S", "--seconds", "0.02"],
        "crossover": ["--nets", "S", "--sparsities", "0", "0.9", "--batches", "1"],
        "threads": ["--nets", "S", "--batches", "64", "--seconds", "0.02"],
        "neighbour": ["--net", "S", "--sparsities", "0.9", "--batches", "64", "--seconds", "0.02"],
    }[study]
    if study == "crossover":
        short += ["--seconds", "0.02"]
    if study in ("threads", "neighbour") and len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two cores")
    path = tmp_path / f"{study}.csv"
    places = ["--out", str(path), "--figures", str(tmp_path)]
    assert importlib.import_module(f"bench.{study}").main([*short, *places]) == 0
    assert path.stat().st_size > 0
    titles = {"tails": "Every batch size", "jitter": "Jitter and cold calls"}
    titles |= {"tick": "A control loop"}
    titles |= {"update": "New weights in place", "orders": "Foreign orders"}
    titles |= {"crossover": "Crossover", "threads": "Two threads"}
    titles |= {"neighbour": "Two threads beside a busy neighbour"}
    assert "Not measured" not in sections(tmp_path)[titles[study]]
    if study not in ("update", "orders", "neighbour"):
        assert (tmp_path / f"{study}.png").read_bytes().startswith(b"\x89PNG")


def test_a_tick_prepares_before_it_and_times_the_call_alone() -> None:
    """The call starts at its tick, never before; what prepares it and other work take no time."""
    case = random_case(NETS["S"], 0.9)
    happened: list[tuple[str, int]] = []
    variant = Variant("", lambda x: x, lambda x: note("call"), lambda: np.zeros((1, 4), np.float32))

    def note(what: str) -> None:
        happened.append((what, time.perf_counter_ns()))
        if what != "call":
            time.sleep(0.0002)

    times = {way: np.zeros(6, np.int64) for way in tick.WAYS}
    arrays = observations(case, 1)[:2]
    runner = tick.Runner(variant, arrays, lambda: note("ready"), times, dict.fromkeys(tick.WAYS, 0))
    tick.collect({"fake": runner}, 600_000, lambda: note("work"))
    assert [what for what, _ in happened[:8]] == ["call"] * 8  # the tight loop and its warm-up
    assert [what for what, _ in happened[-18:]] == ["work", "ready", "call"] * 6
    starts = [at for what, at in happened[-18:] if what == "call"]
    assert min(np.diff(starts)) > 0.5 * tick.PERIOD_NS
    assert all(0 < np.median(spent) < 150_000 for spent in times.values())
    assert runner.late["sleep"] == 6
    assert runner.late["tight"] == 0


def test_ours_prepares_by_prefetch_and_peers_by_a_call() -> None:
    case = random_case(NETS["S"], 0.9)
    runners = tick.prepare(NETS["S"], 0.9, isa_name(None), 1)
    assert (
        runners["sparseagent-auto"].prepare == runners["sparseagent-auto"].variant.keep[0].prefetch
    )
    arrays = observations(case, 1)
    seen: list[Any] = []
    fake_peer = Variant("", lambda x: x, seen.append, lambda: arrays[0])
    tick.preparation(fake_peer, arrays)()
    assert seen[0] is arrays[-1]


def test_a_scheduler_is_given_back() -> None:
    before = os.sched_getscheduler(0)
    if tick.fifo_permitted():
        with tick.scheduled("fifo"):
            assert os.sched_getscheduler(0) == os.SCHED_FIFO
    assert os.sched_getscheduler(0) == before


def test_trained_names_policies_by_their_path(tmp_path: Path) -> None:
    for seed in ("0", "1"):
        folder = tmp_path / "study" / seed
        folder.mkdir(parents=True)
        random_case(TINY, 0.5).policy.save(folder / "policy.safetensors")
    out = tmp_path / "trained.csv"
    arguments = [str(tmp_path / "study"), "--batches", "1", "--seconds", "0.02", "--out", str(out)]
    assert trained([*arguments, "--contenders", "sparseagent-auto", "sparseagent-dense"]) == 0
    assert {(r.net, r.source, r.ok) for r in read(out)} == {
        ("0/policy", "file", True),
        ("1/policy", "file", True),
    }


def test_flags_come_from_the_build_files() -> None:
    flags = compiler_flags("avx512").split()
    assert "-ffp-contract=off" in flags
    assert "-mavx512f" in flags
    assert "-march=native" not in flags
    assert "-mavx512f" not in compiler_flags("avx2").split()
