# `make demo` and `make test` work from a bare clone: each makes .venv and installs what is missing.
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))
PYTHON ?= $(shell for p in python3.12 python3.11 python3; do \
	$$p -c '$(FITS)' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable
EXTRAS := dev,extract,parquet,games,transformers,tune,ray,export,analysis,completion,docs
CORE := .venv/.core
INSTALLED := .venv/.installed

.PHONY: demo demo-video leaderboard test lint docs install clean

install: $(INSTALLED)

# What the demo needs. On Linux, PyTorch brings CUDA's libraries with it: about 5 GB, the first time.
$(CORE): pyproject.toml constraints.txt
	@$(or $(PYTHON),false) -c '$(FITS)' \
		|| { echo "snn-cace needs Python 3.11 or 3.12: make PYTHON=/path/to/python3.12"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing snn-cace into .venv: about 5 GB where PyTorch comes with CUDA, some minutes"
	$(PIP) . | grep --line-buffered -E "^(Collecting|Downloading|Installing|Successfully)" || true
	$(BIN)/python -c 'import snn_cace.comparison.run'
	touch $@

# sinabs asks for an older nir, which it does not need for its neurons.
$(INSTALLED): $(CORE)
	@echo "installing what tests, documentation and all extras need: about 1 GB more"
	$(PIP) '.[$(EXTRAS)]' --quiet
	$(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt --no-deps --quiet sinabs pbr
	touch $@

demo: $(CORE)
	$(BIN)/snn-cace compare --config configs/compare/avdigits.yaml --seeds 0 1 --output runs/demo

# A quarter of an hour on two cores: videos of games, their features, an ANN, an SNN and two controls with two seeds
# each, the report and attention maps.
demo-video: data/games/extraction.json
	$(BIN)/snn-cace compare --config configs/compare/games.yaml --seeds 0 1 --output runs/games
	test -d runs/games/attention || $(BIN)/snn-cace attention --checkpoint runs/games/ann/seed-0 \
		--beside runs/games/snn-guided/seed-0 --videos data/games-videos \
		--output runs/games/attention

data/games-videos/SHA256SUMS: | $(INSTALLED)
	$(BIN)/python examples/games/write_games.py data/games-videos

data/games/extraction.json: | data/games-videos/SHA256SUMS
	$(BIN)/snn-cace extract data/games-videos --output data/games --frames 1 --dtype float16

data/games-events/extraction.json: | data/games-videos/SHA256SUMS
	$(BIN)/snn-cace extract data/games-videos --output data/games-events --visual events --dtype float16

# Some hours on two cores: every network on three data sets, equally tuned. What was broken off goes on;
# OPTIONS="--launcher ray" runs it on a cluster.
leaderboard: data/games/extraction.json data/games-events/extraction.json
	for set in avdigits games games-events; do $(BIN)/snn-cace compare --config configs/compare/leaderboard-$$set.yaml \
		--output runs/leaderboard/$$set $(OPTIONS) || exit; done
	$(BIN)/python scripts/leaderboard.py runs/leaderboard

test: install
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

# The documentation, as pages for a browser: site/index.html.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo site/index.html

clean:
	rm -rf .venv runs build site *.egg-info .pytest_cache .ruff_cache .mypy_cache
