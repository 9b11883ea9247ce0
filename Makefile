# Every target sets up what it needs. PYTHON=python3.12 make test picks another interpreter.
PYTHON ?= python3
SUITE ?= trixie
SUITES ?=
V := .venv/bin
FLEET := tests/host/test_fleet.py tests/host/test_fleet_faults.py tests/host/test_fleet_verbs.py
.PHONY: compiled demo test test-debian lint bench bench-hosts kills host-kills chaos soak field bench-wppackages restore wppackages docs lock clean fleet release scorecard pythons

$(V)/gapless: requirements-dev.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(V)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.txt
	$(V)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

# As in an install: without it, each command that may not write beside the sources compiles them anew.
compiled: $(V)/gapless
	$(V)/python -m compileall -q src

demo: compiled
	$(V)/gapless demo

test: lint compiled  # the files of tests side by side, three on two processors: they wait more than they compute
	$(V)/pytest -n 3 --dist loadfile --durations 40 $(FLEET:%=--ignore %)

lint: $(V)/gapless
	$(V)/ruff check .
	$(V)/ruff format --check .
	$(V)/mypy
	$(V)/mypy ansible/plugins/modules  # by themselves: an action has its module's name
	$(V)/mypy ansible/plugins/action

test-debian: compiled  # as root: the host tests on another Debian, with the wheel; without what others than us serve and build with, and Caddy
	tests/host/debian.sh $(SUITE) $(CURDIR)/.debian/$(SUITE)
	LOWER=$(CURDIR)/.debian/$(SUITE) $(V)/pytest tests/host --ignore tests/host/test_servers.py \
	  --ignore tests/host/test_build_tools.py --ignore-glob 'tests/host/test_*prox*' \
	  --ignore tests/host/test_held_ports.py --ignore tests/host/test_wppackages.py --ignore tests/host/test_uploads.py \
	  --ignore tests/host/test_examples.py --deselect tests/host/test_libraries.py::test_node \
	  --deselect tests/host/test_quick_forms.py::test_bench_hosts --deselect tests/host/test_quick_forms.py::test_wppackages \
	  --deselect tests/host/test_quick_forms.py::test_field \
	  --deselect tests/host/test_hooks.py::test_metrics_through_node_exporters_directory_and_caddy

bench: compiled
	$(V)/python -m bench

bench-hosts: compiled  # as root
	$(V)/python -m bench.hosts

bench-wppackages: compiled  # wants wrk
	cd examples/wppackages && ../../$(V)/python -m wppackages.bench

restore: compiled  # as root
	$(V)/python -m bench.restore

wppackages: compiled  # as root
	$(V)/python -m bench.wppackages

fleet: compiled  # as root
	$(V)/pytest -n 2 --dist loadfile $(FLEET)
	$(V)/python -m bench.fleet
	$(V)/python -m bench.fleet_plans

kills: compiled
	$(V)/python -m bench.kills --count 200

host-kills: compiled  # as root
	$(V)/python -m bench.host_kills

chaos: compiled  # as root
	$(V)/python -m bench.chaos

scorecard: compiled  # installs the field into .scorecard; wants puma, node and start_server
	$(V)/python -m bench.scorecard

pythons: compiled  # every Python that there is; SUITES=forky, as root, is that Debian's, too
	$(V)/python -m bench.scorecard.pythons $(SUITES:%=--suite %)

soak: compiled  # as root
	$(V)/python -m bench.soak

field: compiled  # as root, with the registries of pip and npm
	$(V)/python -m bench.field

lock:  # pin every version and hash; names no package host
	$(PYTHON) -m venv .venv-lock && .venv-lock/bin/pip install -q uv
	.venv-lock/bin/uv pip compile -q pyproject.toml --extra serve --extra cli --extra fleet --group dev --generate-hashes \
	  --universal --python-version 3.11 --no-header --no-annotate --upgrade -o requirements-dev.txt
	rm -rf .venv-lock

release: test  # builds and checks what is published; publishing stays a decision of a person
	rm -rf dist
	$(V)/python -m hatchling build
	@ls dist
	@echo "Check CHANGELOG.md and the version, then: python -m twine upload dist/*, and git tag the version."

clean:
	rm -rf .venv .scorecard .mypy_cache .pytest_cache .ruff_cache .hypothesis

docs: $(V)/gapless
	$(V)/python docs/commands.py > docs/commands.md
	$(V)/python docs/man.py > docs/gapless.1
	$(V)/python docs/cases.py
	$(V)/python docs/exposure.py
