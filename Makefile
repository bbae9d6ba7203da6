# make run    starts the page on http://127.0.0.1:7860
# make test   lint, types and every test
# make clean  removes .venv and caches; checkpoints, runs and narrations stay
#
# Settings: PYTHON=python3.12 (what makes .venv), PIP_ARGS="..." (more options for pip install),
# PYTEST_ARGS="tests/test_floors.py -x" (what to test), WORKERS=4 (test processes at once;
# the browser's tests go one by one, for they need the whole machine).

PYTHON ?= python3
PIP_ARGS ?=
PYTEST_ARGS ?=
WORKERS ?= 2

VENV := .venv
IN_VENV := $(VENV)/bin
PIP_INSTALL := $(IN_VENV)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS)

# Runs apt-get where that needs no password; fails otherwise, so that what follows `||` says what to do.
APT_INSTALL = install_by_apt() { \
		command -v apt-get >/dev/null || return 1; \
		as=""; [ "$$(id -u)" = 0 ] || { sudo -n true 2>/dev/null || return 1; as="sudo"; }; \
		echo "Installing $$* through apt ..."; \
		$$as apt-get -qq update; \
		$$as env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$$@" >/dev/null; \
	}

.PHONY: run test lint clean

run: $(VENV)/.requirements
	$(IN_VENV)/python app.py

test: lint $(VENV)/.browser
ifeq ($(PYTEST_ARGS),)
	OMP_NUM_THREADS=1 $(IN_VENV)/python -m pytest -n $(WORKERS) --dist loadfile --ignore tests/browser
	$(IN_VENV)/python -m pytest tests/browser
else
	$(IN_VENV)/python -m pytest $(PYTEST_ARGS)
endif

lint: $(VENV)/.requirements-dev
	$(IN_VENV)/python -m ruff check .
	$(IN_VENV)/python -m mypy

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each file below .venv stands for a finished step: it is made last, so that a step cut short is done again,
# and a step done needs neither time nor network.
$(VENV)/.made:
	@command -v $(PYTHON) >/dev/null || { \
		echo "Python is not installed: install Python 3.11 or later, then run make again." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$$($(PYTHON) --version) is too old: install Python 3.11 or later and name it, as in: make PYTHON=python3.11" >&2; \
		exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { $(APT_INSTALL); install_by_apt python3-venv; } || { \
		echo "This Python cannot make a virtual environment: run 'sudo apt install python3-venv', then make again." >&2; \
		exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.requirements: requirements.txt $(VENV)/.made
	@echo "Installing requirements.txt into $(VENV) (minutes, the first time) ..."
	@$(PIP_INSTALL) -r requirements.txt
	@touch $@

$(VENV)/.requirements-dev: requirements-dev.txt $(VENV)/.requirements
	@echo "Installing requirements-dev.txt into $(VENV) ..."
	@$(PIP_INSTALL) -r requirements-dev.txt
	@touch $@

# A browser for the tests of the page: the system's Chromium, or one through apt, or playwright's own.
$(VENV)/.browser: $(VENV)/.requirements-dev
	@command -v chromium >/dev/null || { $(APT_INSTALL); install_by_apt chromium fonts-dejavu-core; } || \
		$(IN_VENV)/python -m playwright install chromium || { \
		echo "No browser for the tests: install Chromium (on Debian: 'sudo apt install chromium'), then make again." >&2; \
		exit 1; }
	@touch $@
