# `make demo` and `make test` work from a bare clone: each makes .venv and installs what is missing.
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))
PYTHON ?= $(shell for p in python3.12 python3.11 python3; do \
	$$p -c '$(FITS)' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: demo demo-video test lint docs install clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(or $(PYTHON),false) -c '$(FITS)' \
		|| { echo "snn-cace needs Python 3.11 or 3.12: make PYTHON=/path/to/python3.12"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,extract,games,transformers,tune,ray,export,analysis,docs]'
	touch $@

demo: install
	$(BIN)/snn-cace compare --config configs/compare/avdigits.yaml --seeds 0 1 --output runs/demo

# Eleven minutes on two cores: videos of games, their features, an ANN and an SNN, the report and attention maps.
demo-video: install
	test -f data/games/extraction.json || { \
		$(BIN)/python examples/games/write_games.py data/games-videos && \
		$(BIN)/snn-cace extract data/games-videos --output data/games --frames 1 --dtype float16; }
	$(BIN)/snn-cace compare --config configs/compare/games.yaml --output runs/games
	test -d runs/games/attention || $(BIN)/snn-cace attention --checkpoint runs/games/ann/seed-0 \
		--beside runs/games/snn-guided/seed-0 --videos data/games-videos \
		--output runs/games/attention

test: install
	$(BIN)/python -m pytest -n 2 --dist loadfile

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
