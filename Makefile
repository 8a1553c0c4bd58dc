# terraprobe: `make run` rebuilds the quickstart, `make test` checks everything.
# Both work with Python >= 3.11, make and git alone; the first use installs the locked environment.
PYTHON ?= python3
VENV := .venv
CORES ?= all
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help run test test-long lint report lock clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

# uv itself is pinned by hash; the stamp is a copy of the lock it installed, so a changed lock reinstalls.
$(VENV)/installed.lock: requirements.lock envs/uv.lock pyproject.toml
	@echo "terraprobe: installing the locked environment into $(VENV) (once, about a minute)"
	@$(PYTHON) -c 'import sys; sys.exit("terraprobe needs Python >= 3.11, found " + sys.version.split()[0] + "; set PYTHON=/path/to/python3.11 or newer") if sys.version_info < (3, 11) else None'
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r envs/uv.lock
	@$(VENV)/bin/uv pip sync --quiet --python $(VENV)/bin/python --require-hashes requirements.lock envs/uv.lock
	@$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --no-deps --no-build-isolation --editable .
	@cp requirements.lock $@
