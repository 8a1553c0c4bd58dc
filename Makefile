# terraprobe: `make run` rebuilds the quickstart, `make test` checks everything.
# Both work with Python >= 3.11, make and git alone; the first use installs the locked environment.
VENV := .venv
BENCH_VENV := .venv-bench
# Found before .venv/bin is put first: a set-up that was cut off may have left a broken python there.
PYTHON ?= $(shell command -v python3)
PYTHON := $(PYTHON)
CORES ?= all
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

WHAT_IT_IS := terraprobe: quickstart = demonstration on real Sentinel-2 scenes and a simulated Earth; the papers = --configfile studies/<paper>.yaml

.DEFAULT_GOAL := help
.PHONY: help say-what run report test test-long slurm-test bench-store bench-train bench-acquire bench-scale lint lock clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

# uv itself is pinned by hash; the stamp is a copy of the lock it installed, so a changed lock reinstalls.
$(VENV)/installed.lock: requirements.lock envs/uv.lock pyproject.toml
	@echo "terraprobe: installing the locked environment into $(VENV) (once, about a minute)"
	@$(PYTHON) -c 'import sys; sys.exit("terraprobe needs Python >= 3.11, found " + sys.version.split()[0] + "; set PYTHON=/path/to/python3.11 or newer") if sys.version_info < (3, 11) else None'
	@$(VENV)/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r envs/uv.lock
	@$(VENV)/bin/uv pip sync --quiet --compile-bytecode --python $(VENV)/bin/python --require-hashes requirements.lock envs/uv.lock
	@$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --no-deps --no-build-isolation --editable .
	@cp requirements.lock $@

run: say-what $(VENV)/installed.lock  ## rebuild the quickstart: real Sentinel-2 scenes and a simulated Earth, to a report
	@snakemake --cores $(CORES) --quiet rules host --rerun-incomplete

say-what:
	@echo "$(WHAT_IT_IS)"

report: $(VENV)/installed.lock  ## write the quickstart's report anew from what is finished
	@snakemake --cores $(CORES) --quiet rules host --forcerun write_report

test: $(VENV)/installed.lock  ## all tests
	@python -m pytest -n auto --maxprocesses 4 --dist loadfile

test-long: $(VENV)/installed.lock  ## the tests that CI runs reduced, in full: kill and fuzz loops
	@TERRAPROBE_LONG=1 python -m pytest -m long -s

# SLURM starts jobs as root alone; where its packages are missing they are installed.
slurm-test: $(VENV)/installed.lock  ## the pipeline on a private SLURM cluster on this machine, Debian and root alone
	@python -m pytest -m slurm -s --no-header -p no:cacheprovider tests/slurm

# Peers of the store and of the networks have an environment of their own, which nothing else installs.
$(BENCH_VENV)/installed.lock: envs/bench.lock $(VENV)/installed.lock
	@echo "terraprobe: installing the benchmarks' peers into $(BENCH_VENV) (once, about a minute)"
	@$(VENV)/bin/uv venv --quiet --clear --python $(VENV)/bin/python $(BENCH_VENV)
	@$(VENV)/bin/uv pip sync --quiet --python $(BENCH_VENV)/bin/python --require-hashes envs/bench.lock
	@cp envs/bench.lock $@

# Memory that NumPy frees stays with the process, for every reader alike: otherwise each batch pays for fresh pages.
bench-store: $(BENCH_VENV)/installed.lock  ## measure the chip store against its peers, about three minutes
	@MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=4000000000 OMP_NUM_THREADS=1 \
		PYTHONPATH=workflow $(BENCH_VENV)/bin/python -m benchmarks.store

# Not limited to one thread: a GPU's host and a CPU's cores are measured whole.
bench-train: $(BENCH_VENV)/installed.lock  ## measure training steps of bioclim and rsbyol beside torchvision's and lightly's, about six minutes
	@PYTHONPATH=workflow $(BENCH_VENV)/bin/python -m benchmarks.train

bench-acquire: $(VENV)/installed.lock  ## measure checked downloads beside plain ones, about a minute
	@PYTHONPATH=workflow python -m benchmarks.acquire

bench-scale: $(VENV)/installed.lock  ## measure how cutting, embedding and forests grow with the number of chips
	@OMP_NUM_THREADS=1 PYTHONPATH=workflow python -m benchmarks.scale

lint: $(VENV)/installed.lock  ## ruff, mypy, snakefmt, snakemake --lint
	@ruff check .
	@ruff format --check .
	@mypy
	@snakefmt --check Snakefile workflow/rules
	@snakemake --lint

lock: $(VENV)/installed.lock  ## resolve the dependencies anew
	@uv pip compile pyproject.toml --extra dev --universal --generate-hashes --no-emit-index-url --no-annotate \
		--custom-compile-command "make lock" --quiet --upgrade --output-file requirements.lock
	@uv pip compile pyproject.toml --extra bench --universal --generate-hashes --no-emit-index-url --no-annotate \
		--constraints requirements.lock \
		--custom-compile-command "make lock" --quiet --upgrade --output-file envs/bench.lock

clean:  ## remove results, downloads and the environments
	rm -rf results resources/downloads .snakemake $(VENV) $(BENCH_VENV)
