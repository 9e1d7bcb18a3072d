# Two commands do all the set-up: `make run` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
HTML   := docs/_build/html
GPU_SECONDS ?= 540
GPU_OUT ?= runs
UV_INSTALL = UV_FIND_LINKS="$${UV_FIND_LINKS:-$$PIP_FIND_LINKS}" $(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt

.PHONY: run test suite coverage zoo check mutants thorough figures bench gpu proofs proofs-faults proofs-numbers docs clean
.DEFAULT_GOAL := run

run: $(VENV)/.base            ## the main job: certify the gap bound for every activation, then verify every claim
	$(BIN)/python -m lop_theory.gap --all
	$(BIN)/python -m lop_theory verify --fast

# Bytecode is kept, whatever the environment says: else every process that imports torch compiles it again, 2 to 5 s.
run suite coverage zoo thorough: export PYTHONDONTWRITEBYTECODE =
test: $(VENV)/.dev            ## every gate, and beside it (they use one core) the whole test suite
	$(MAKE) --no-print-directory -j 2 check suite

suite: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal $(PYTEST_ARGS)

coverage: $(VENV)/.dev        ## the suite again, half as slow once more, under its coverage floor: before a release
	$(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report=term $(PYTEST_ARGS)

zoo: $(VENV)/.dev $(VENV)/.vision ## every model of the zoo: widened, certified in float32 and float64, trained, detected
	ZOO=all OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 tests/zoo/test_zoo.py $(PYTEST_ARGS)
	ZOO=all OMP_NUM_THREADS=1 PYTHONPATH=$(VENV)/vision $(BIN)/python -m pytest -n 2 tests/zoo/test_vision.py $(PYTEST_ARGS)

check: $(VENV)/.dev           ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright --level error
	$(BIN)/lint-imports --no-cache

figures: $(VENV)/.dev         ## every figure into figures/
	$(BIN)/python -m paper_figs --all

mutants: $(VENV)/.dev         ## would the tests notice wrong code? a seeded sample of mutants, at most 15 minutes (MUTANTS="graph --sample 60")
	$(BIN)/python -m mutants $(MUTANTS)

thorough: $(VENV)/.dev        ## nightly: the property tests with 10,000 examples each (hours)
	HYPOTHESIS_PROFILE=thorough $(BIN)/python -m pytest -n 2 -m hypothesis --durations=20 $(PYTEST_ARGS)

bench: $(VENV)/.dev           ## speed ratios, measured in one run
	$(BIN)/python -m benchmarks

gpu: $(VENV)/.dev             ## on a machine with a CUDA device: its tests, the benchmark (3 minutes), GPU_SECONDS of the paper's grid on glyphs, one archive
	@$(BIN)/python -c "import sys, torch; sys.exit(0 if torch.cuda.is_available() else 'no CUDA device: make gpu is for a machine with one')" || exit 2
	$(BIN)/python -m pytest -n 0 tests/empirical/training/test_cuda.py
	$(BIN)/python -m benchmarks gpu
	$(BIN)/python -m empirical sweep paper-grid --source glyphs --budget $(GPU_SECONDS) --device cuda --out $(GPU_OUT) || [ $$? -eq 75 ]
	$(BIN)/python -m empirical sweep status --source glyphs --device cuda --out $(GPU_OUT)
	$(BIN)/python -m empirical pack $(GPU_OUT) $(GPU_OUT).zip --limit 40 || [ $$? -eq 1 ]  # checkpoints that do not fit are named

proofs: $(VENV)/.base         ## compile and audit the Coq proofs
	$(MAKE) -C proofs PYTHON=../$(BIN)/python

proofs-faults: $(VENV)/.dev   ## would the audit notice? every planted fault fails the audit of a small project
	$(MAKE) -C proofs PYTHON=../$(BIN)/python tools
	$(BIN)/python -m pytest -n 2 tests/coq $(PYTEST_ARGS)

proofs-numbers: $(VENV)/.base ## decorrelation strengths to six digits, proved (needs libcoq-interval)
	$(MAKE) -C proofs PYTHON=../$(BIN)/python numbers

docs: $(VENV)/.docs           ## documentation and the page of claims into docs/_build, then tests in a browser
	$(BIN)/python -m sphinx -q -j 2 -W --keep-going -b html docs $(HTML)
	mkdir -p $(HTML)/report
	$(BIN)/python -m lop_theory.report --html $(HTML)/report/index.html --errata $(HTML)/report/errata.md
	@if [ -x /usr/bin/chromium ]; then $(BIN)/python -m pytest tests/browser; \
	else echo "tests/browser not run: /usr/bin/chromium is missing (Debian: apt-get install chromium)"; fi
	@echo "open $(HTML)/index.html"

$(BIN)/uv:
	@command -v $(PYTHON) >/dev/null || { echo "missing: $(PYTHON) (Python 3.11 or newer); install it or set PYTHON=/path/to/python3"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than Python 3.11; set PYTHON=/path/to/python3.11"; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "missing: Python's venv module (Debian: apt-get install python3-venv)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q uv

$(VENV)/.base: pyproject.toml constraints.txt | $(BIN)/uv
	$(UV_INSTALL) -e .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/uv
	$(UV_INSTALL) -e ".[dev]"
	@touch $(VENV)/.base $@

$(VENV)/.vision: constraints.txt | $(BIN)/uv # beside the environment: a torchvision for CUDA breaks others' imports next to a CPU build of torch
	$(UV_INSTALL) --no-deps --target $(VENV)/vision torchvision timm
	@touch $@

$(VENV)/.docs: pyproject.toml constraints.txt | $(BIN)/uv
	$(UV_INSTALL) -e ".[docs]"
	@touch $(VENV)/.base $(VENV)/.dev $@

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .coverage* docs/_build docs/generated
