# Everything runs in a virtual environment of its own, made on first use from Python alone.
#
#   make demo     the main job: train, prune, convert, compile, roll out, compare
#   make test     the whole test suite
#
# PYTHON=python3.12 make test   uses another interpreter;  VENV=... another place for the environment.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
SOURCES := pyproject.toml constraints.txt CMakeLists.txt $(wildcard cmake/*) \
           $(shell find csrc sparseagent -name '*.py' -o -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.pyi')
NATIVE := build/native
ARM := build/aarch64
CMAKE := $(abspath $(BIN))/cmake
CASES ?= 60
# Of the reader's seeded fuzz test: some seconds.
READER_CASES ?= 20000
GOLDEN := tests/runtime/golden
# Seconds for each cell of the matrix and of the goals.
BENCH_SECONDS ?= 6
ARM_CASES ?= 12
# What `make fuzz` throws at, and for how many seconds each.
FUZZ ?= policy zip core reader
FUZZ_SECONDS ?= 300

.DEFAULT_GOAL := help
.PHONY: help demo test test-python test-native test-neon sanitize fuzz fuzz-reader lint format bench bench-quick wheel clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# --- environments --------------------------------------------------------------------------------

$(BIN)/python:
	@echo "== creating the virtual environment $(VENV)"
	$(PYTHON) -m venv $(VENV)

# One stamp per set of extras: $(VENV)/.train, .dev, .bench. A changed source installs again.
$(VENV)/.%: $(SOURCES) | $(BIN)/python
	@echo "== building and installing sparseagent[$*] (the first time downloads torch: minutes)"
	$(PIP) install --quiet --constraint constraints.txt ".[$*]"
	@touch $@

# --- the main job --------------------------------------------------------------------------------

demo: $(VENV)/.train ## train a CartPole agent, prune it to 0.95, compile it, compare it (minutes)
	@echo "== training, pruning and testing; results go to runs/demo"
	$(BIN)/sparseagent run --env CartPole-v1 --algo ppo --sparsity 0.95 --out runs/demo

# --- tests ---------------------------------------------------------------------------------------

test: test-native test-neon test-python ## run the whole test suite

test-python: $(VENV)/.dev ## the Python tests, against the installed package
	@echo "== Python tests"
	SPARSEAGENT_NATIVE_BUILD=$(abspath $(NATIVE)) $(BIN)/pytest --durations=10
	@echo "== the benchmark's own checks"
	$(BIN)/pytest bench/test_harness.py

test-native: $(VENV)/.dev ## the C++ tests: exactness on every ISA of this machine, hostile files
	@echo "== C++ exactness test"
	@mkdir -p build
	$(CMAKE) -S . -B $(NATIVE) -DSPARSEAGENT_PYTHON=OFF -DSPARSEAGENT_TESTS=ON -DSPARSEAGENT_WERROR=ON > $(NATIVE).log 2>&1 || (cat $(NATIVE).log; false)
	$(CMAKE) --build $(NATIVE) --parallel 2
	$(NATIVE)/exactness $(CASES)
	$(NATIVE)/fuzz_reader $(READER_CASES) 1 0 $(GOLDEN)/*.safetensors

# The digests of both machines over the same cases must be equal: the same bits on x86-64 and Arm.
test-neon: test-native ## the same, cross-compiled for AArch64 under qemu (skipped where it is absent)
	@if command -v aarch64-linux-gnu-g++ > /dev/null && command -v qemu-aarch64-static > /dev/null; then \
	  echo "== C++ exactness test for AArch64 under qemu"; \
	  $(CMAKE) -S . -B $(ARM) -DSPARSEAGENT_PYTHON=OFF -DSPARSEAGENT_TESTS=ON -DSPARSEAGENT_WERROR=ON \
	    -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64-linux-gnu.cmake > $(ARM).log && \
	  $(CMAKE) --build $(ARM) --parallel 2 && \
	  qemu-aarch64-static -L /usr/aarch64-linux-gnu $(ARM)/exactness $(ARM_CASES) | tee $(ARM).out && \
	  $(NATIVE)/exactness $(ARM_CASES) > $(NATIVE).out && \
	  test "$$(grep digest $(ARM).out)" = "$$(grep digest $(NATIVE).out)" && \
	  echo "the same digest as on $$(uname -m)"; \
	else echo "== AArch64 test skipped: needs aarch64-linux-gnu-g++ and qemu-aarch64-static"; fi

# Tests of memory and time: a sanitizer takes its own share of both.
UNSANITIZED := cost_of_a_file memory_limit exit interrupts

sanitize: $(VENV)/.dev ## runtime tests under the address and undefined-behaviour sanitizers
	@echo "== sanitizer build"
	rm -rf build/sanitize && $(PIP) install --quiet --no-deps --target build/sanitize . \
	  --config-settings=cmake.define.SPARSEAGENT_SANITIZE=address,undefined \
	  --config-settings=cmake.define.SPARSEAGENT_CUDA=OFF
	PYTHONPATH=$(abspath build/sanitize) ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 PYTHONMALLOC=malloc \
	  LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libstdc++.so)" \
	  $(BIN)/pytest tests/runtime tests/fuzz tests/test_minimal.py -p no:cacheprovider -k "not [zip]" \
	  $(foreach name,$(UNSANITIZED),--ignore=tests/runtime/test_$(name).py)

# Another seed each time, which it prints; what it finds lies in build/fuzz. FUZZ=core alone, or any of them;
# FUZZ_SECONDS=inf never ends. Sanitizers: as above, with tests/fuzz/fuzz.py in place of pytest.
fuzz: $(VENV)/.dev ## hostile input for the policy readers, the zip reader and the core (FUZZ_SECONDS each)
	$(if $(filter reader,$(FUZZ)),@$(MAKE) --no-print-directory fuzz-reader)
	@for target in $(filter-out reader,$(FUZZ)); do \
	  $(BIN)/python tests/fuzz/fuzz.py $$target --seconds $(FUZZ_SECONDS) $(if $(SEED),--seed $(SEED)) || exit 1; done

# The core's reader alone, under sanitizers: by libFuzzer where there is Clang, else case after case of one
# seed. What it finds lies in build/fuzz; a sanitizer has said why.
READER_SECONDS := $(if $(filter inf,$(FUZZ_SECONDS)),0,$(FUZZ_SECONDS))
READER_OPTIONS := -DSPARSEAGENT_PYTHON=OFF -DSPARSEAGENT_SANITIZE=address,undefined
CLANG := $(firstword $(foreach name,clang++ clang++-19 clang++-18 clang++-17 clang++-16 clang++-15 clang++-14,$(shell command -v $(name))))
fuzz-reader: $(VENV)/.dev
	@mkdir -p build/fuzz/reader
ifdef CLANG
	$(CMAKE) -S . -B build/fuzz-clang $(READER_OPTIONS) -DSPARSEAGENT_FUZZ=ON -DCMAKE_CXX_COMPILER=$(CLANG) > build/fuzz-clang.log
	$(CMAKE) --build build/fuzz-clang --target fuzz_reader --parallel 2
	build/fuzz-clang/fuzz_reader -max_total_time=$(READER_SECONDS) $(if $(SEED),-seed=$(SEED)) -max_len=65536 -timeout=20 \
	  -artifact_prefix=build/fuzz/ build/fuzz/reader $(GOLDEN)
else
	$(CMAKE) -S . -B build/fuzz-native $(READER_OPTIONS) -DSPARSEAGENT_TESTS=ON > build/fuzz-native.log
	$(CMAKE) --build build/fuzz-native --target fuzz_reader --parallel 2
	timeout $(READER_SECONDS) build/fuzz-native/fuzz_reader 1000000000 $(or $(SEED),$(shell date +%s)) 0 $(GOLDEN)/*.safetensors; [ $$? = 124 ]
endif

# --- quality -------------------------------------------------------------------------------------

lint: $(VENV)/.dev ## formatters (checking only), linters, type checker
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $$(git ls-files '*.cpp' '*.h' '*.hpp' '*.cu')
	$(BIN)/mypy

format: $(VENV)/.dev ## format all sources
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $$(git ls-files '*.cpp' '*.h' '*.hpp' '*.cu')

# --- benchmarks and packages ---------------------------------------------------------------------

# Cells that this machine has measured at this commit are not measured again. STUDY=runs/studies also
# times every trained policy below that folder.
bench: $(VENV)/.bench ## the full benchmark: matrix, studies, goals, report (about 90 minutes, idle core)
	$(BIN)/python -m bench.run --seconds $(BENCH_SECONDS)
	$(BIN)/python -m bench.run --seconds $(BENCH_SECONDS) --goals
	$(BIN)/python -m bench.run --seconds $(BENCH_SECONDS) --goals --isa avx2 --contenders sparseagent-auto sparseagent-dense
	$(BIN)/python -m bench.run --seconds $(BENCH_SECONDS) --pattern erk --sparsities 0.9 0.95 --batches 1 32 512
	$(if $(STUDY),$(BIN)/python -m bench.trained $(STUDY))
	$(BIN)/python -m bench.crossover
	$(BIN)/python -m bench.tails
	$(BIN)/python -m bench.jitter
	$(BIN)/python -m bench.tick
	$(BIN)/python -m bench.update
	$(BIN)/python -m bench.orders
	-$(BIN)/python -m bench.call_overhead
	-$(BIN)/python -m bench.threads
	-$(BIN)/python -m bench.neighbour
	$(BIN)/python -m bench.training
	-$(BIN)/python -m bench.robot
	$(BIN)/python -m bench.goals
	$(BIN)/python -m bench.report

bench-quick: $(VENV)/.bench ## a small part of it (minutes)
	$(BIN)/pytest bench --benchmark-only

wheel: $(BIN)/python ## build the wheel into dist/
	$(PIP) wheel --no-deps --wheel-dir dist .

clean: ## remove builds and the virtual environment; runs/ stays
	rm -rf build dist $(VENV)
