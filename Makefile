# The commands of this repository. Each sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help setup demo test sim check audit format proto bench lab chaos soak clean

help:            ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## */  make \1\t/' | expand -t 16

setup: $(VENV)/.ready  ## the virtual environment, with everything installed in it

$(VENV)/.ready: pyproject.toml
	@echo "setting up $(VENV) (once, about a minute)"
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; set PYTHON=")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

proto: setup     ## regenerate core/rookery/v1 from proto/
	@$(BIN)/python -m grpc_tools.protoc -Iproto \
	  --plugin=protoc-gen-mypy=$(BIN)/protoc-gen-mypy --plugin=protoc-gen-mypy_grpc=$(BIN)/protoc-gen-mypy_grpc \
	  --python_out=core --grpc_python_out=core --mypy_out=quiet:core --mypy_grpc_out=quiet:core proto/rookery/v1/*.proto

format: setup    ## format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

check: proto     ## format, lint, types, import rules, generated code
	@git diff --exit-code --stat -- core/rookery/v1 || { echo "core/rookery/v1 was not what proto/ says; commit what make proto made"; exit 1; }
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy core manager agent proxy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python packaging/audit_dependencies.py --gently

audit: setup     ## known vulnerabilities of dependencies, where the data for that can be reached
	@$(BIN)/python packaging/audit_dependencies.py

# Engines first, and alone; the rest mostly waits, so it runs side by side: three at a time keep two cores busy.
ENGINES := tests/cluster $(wildcard tests/contract/test_runtime*)
test: setup      ## all tests that this machine can run
	@$(BIN)/pytest $(ENGINES); first=$$?; \
	 $(BIN)/pytest -n 3 --dist worksteal $(ENGINES:%=--ignore=%) && exit $$first

sim: setup       ## simulated days of a whole cluster: SEED=… replays one, DAYS=… WEATHER=… PLANT=… (docs/simulation.md)
	@PYTHONHASHSEED=0 PYTHONPATH=tests/simulation $(BIN)/python -m world $(if $(SEED),--seed $(SEED)) \
	  --days $(or $(DAYS),$(if $(SEED),1,60)) --jobs $(or $(JOBS),2) $(if $(WEATHER),--weather "$(WEATHER)") $(if $(PLANT),--plant $(PLANT))

demo: setup      ## a cluster, an app, a node that dies; RUNTIME=docker or RUNTIME=process picks the kind
	@$(BIN)/python compose/demo.py --runtime $(or $(RUNTIME),auto)

bench: setup     ## our figures beside the peers'; needs root and engines, takes some 20 minutes
	@PYTHONPATH=tests/cluster $(BIN)/python bench/deploy.py
	@PYTHONPATH=tests/cluster $(BIN)/python bench/recover.py
	@PYTHONPATH=tests/cluster $(BIN)/python bench/rollout.py
	@PYTHONPATH=tests/cluster $(BIN)/python bench/autoscale.py
	@PYTHONPATH=tests/cluster $(BIN)/python bench/cli.py
	@$(BIN)/python bench/tls.py

lab: setup       ## several hosts on this machine with a cluster on them, and faults to do to it; HOSTS=3
	@cd tests/cluster && ../../$(BIN)/python -m rig lab $(or $(HOSTS),3)

chaos: setup     ## a storm of faults on four real engines; SECONDS=300 SEED=1
	@cd tests/cluster && ../../$(BIN)/python chaos.py $(or $(SECONDS),300) $(SEED)

soak: setup      ## mixed load on a proxy while endpoints come and go: SECONDS=600
	@$(BIN)/python bench/proxy/soak.py --seconds $(or $(SECONDS),600)

clean:           ## remove what the other commands made
	@if [ -x $(BIN)/python ]; then $(BIN)/python compose/demo.py --remove-images || true; fi
	@rm -rf compose/wheels $(VENV) .audit .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
