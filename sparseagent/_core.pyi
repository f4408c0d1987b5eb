from collections.abc import Mapping, Sequence
from typing import Any, overload

from numpy.typing import NDArray

ACTIVATION_H: str
RANDOM_H: str
MAX_THREADS: int

class Plan:
    def __init__(
        self,
        data: bytes,
        isa: str,
        format: str,
        threads: int,
        tune: float,
        formats: Sequence[Sequence[str]],
        ns: Sequence[float],
        /,
    ) -> None: ...
    @overload
    def __call__(self, observations: Mapping[str, NDArray[Any]]) -> NDArray[Any]: ...
    @overload
    def __call__(self, observations: NDArray[Any], out: None = None) -> NDArray[Any]: ...
    @overload
    def __call__(self, observations: NDArray[Any], out: NDArray[Any]) -> None: ...
    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
        action_masks: Any = None,
        *,
        seed: int | None = None,
        step: int | None = None,
        rows: Any = None,
    ) -> tuple[NDArray[Any], Any]: ...
    def initial_state(self, batch: int | None = None) -> State: ...
    def step(
        self, observation: Any, state: Any = None, episode_start: Any = None
    ) -> tuple[dict[str, NDArray[Any]], Any]: ...
    def _sample(
        self,
        observation: Any,
        state: Any,
        episode_start: Any,
        deterministic: bool,
        action_masks: Any,
        seed: int | None,
        step: int | None,
        rows: Any,
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None, NDArray[Any], Any]: ...
    def outputs(self, observation: Any) -> dict[str, NDArray[Any]]: ...
    def time(self, observations: NDArray[Any], calls: int) -> NDArray[Any]: ...
    def prefetch(self) -> None: ...
    def _time_act(
        self, observations: NDArray[Any], calls: int, sample: bool, /
    ) -> NDArray[Any]: ...
    def _update(self, layers: Sequence[tuple[Any, ...]], numbers: NDArray[Any] = ...) -> None: ...
    @property
    def _choices(
        self,
    ) -> list[tuple[int, str, str, list[tuple[str, float | None, int]]]]: ...
    @property
    def _costs(self) -> dict[str, tuple[int, float]]: ...
    def _cuts(self, batch: int) -> list[tuple[str, int]]: ...
    @property
    def isa(self) -> str: ...
    @property
    def threads(self) -> int: ...

ACTIVATIONS: dict[str, float]
HEADS: tuple[str, ...]
MAX_DRAWS: int
MAX_FEATURES: int
MAX_INPUTS: int
MAX_NONZEROS: int
MAX_OPS: int
MAX_OUTPUTS: int
MAX_READS: int
MAX_WORK: int
MAX_STATES: int
MAX_RUNS: int
MAX_SLOTS: int
MAX_WIDTH: int

def activate(name: str, x: NDArray[Any], alpha: float = 0.0) -> NDArray[Any]: ...
def random_words(
    seed: int,
    step: int,
    rows: NDArray[Any],
    stream: int,
    draws: int,
    isa: str = "",
    first_block: int = 0,
) -> NDArray[Any]: ...
def normals(words: NDArray[Any], isa: str = "") -> NDArray[Any]: ...
def logarithms(x: NDArray[Any], isa: str = "") -> NDArray[Any]: ...
def isas() -> dict[str, tuple[bool, str, list[str], int]]: ...
def measure_peak(isa: str = "") -> float: ...
def reference(data: bytes, inputs: Sequence[NDArray[Any]], number: int = 0) -> NDArray[Any]: ...
def pack_for_lanes(
    inputs: int,
    runs: int,
    indptr: NDArray[Any],
    indices: NDArray[Any],
    lanes: int,
    free_rows: bool,
) -> tuple[int, NDArray[Any], NDArray[Any], NDArray[Any]]: ...
def reference_step(
    data: bytes, inputs: Sequence[NDArray[Any]], state: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]: ...

class State:
    shape: tuple[int, ...]
    def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray[Any]: ...
