# Every target sets up what it needs: an environment per interpreter under
# .venvs/ and a build per interpreter under target/. PYTHON=... picks the
# interpreter, ARGS=... goes to the command at the end.

.DEFAULT_GOAL := help
export PYTHON

ENVIRONMENT := tools/python tools/environment.py
DEV := $(ENVIRONMENT) dev
# The binding has no tests of its own in Rust: it is tested from Python.
CARGO_TEST := cargo test --quiet --locked --workspace --exclude plait-py

.PHONY: help run test test-rust test-python test-all test-asyncio test-futures test-tornado loom san soak faults develop bench bench-auto bench-choice bench-loop bench-pool bench-tasks lint format package clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' Makefile

run: ## Run the tour: every method on real work, measured (ARGS=--full, --quick, ...)
	@echo "make run: sets up what is missing (a minute, the first time), then runs plait tour"
	@$(ENVIRONMENT) run plait tour $(ARGS)

test: ## Run the Rust and the Python tests
	@echo "make test: sets up what is missing (a minute, the first time), then tests Rust and Python"
	@$(DEV) $(CARGO_TEST)
	@$(DEV) tools/load test
	@$(DEV) python -m pytest --quiet $(ARGS)

test-rust: ## Run the Rust tests alone
	@$(DEV) $(CARGO_TEST) $(ARGS)

test-python: ## Run the Python tests alone (ARGS='-k pool -x', ...)
	@$(DEV) python -m pytest $(ARGS)

test-all: ## Run the Rust tests, and the Python tests under every CPython 3.11 to 3.14 found (ARGS=--newest-of-each, ...)
	@echo "make test-all: sets up what is missing, then tests Rust, and Python under each interpreter"
	@$(DEV) $(CARGO_TEST)
	@$(DEV) tools/load test
	@tools/python tools/test_all.py $(ARGS)

test-asyncio: ## Run CPython's own tests of asyncio on plait's loop (ARGS=test_events, '--loop asyncio', ...)
	@echo "make test-asyncio: sets up what is missing, then runs test.test_asyncio under each interpreter"
	@tools/python tools/test_asyncio.py $(ARGS)

test-futures: ## Run CPython's own tests of pools on plait's (ARGS=test_wait, '--pools standard', ...)
	@echo "make test-futures: sets up what is missing, then runs CPython's tests under each interpreter"
	@tools/python tools/test_futures.py $(ARGS)

test-tornado: ## Run Tornado's own tests on plait's loop (ARGS=tornado.test.web_test, '--loop asyncio', ...)
	@echo "make test-tornado: sets up what is missing, then runs tornado.test under each interpreter"
	@tools/python tools/test_tornado.py $(ARGS)

loom: ## Check the shared-memory rings in every order that their steps can take (minutes)
	@echo "make loom: model-checks plait-shm, in full unless LOOM_MAX_PREEMPTIONS is set"
	@$(DEV) tools/loom

san: ## Run the Rust and the Python tests under AddressSanitizer (needs a nightly Rust)
	@echo "make san: sets up what is missing (a checked build), then tests Rust and Python"
	@$(ENVIRONMENT) san python tools/san.py $(ARGS)

soak: ## Use the loop at random for SECONDS=600, and fail if anything is left (SEED=...)
	@echo "make soak: sets up what is missing, then uses the loop for $${SECONDS:-600} seconds"
	@$(DEV) env PLAIT_ALLOW_DEBUG=1 python tests/soak/soak.py

faults: ## Use the process pool at random for SECONDS=300 while everything around it fails (SEED=...)
	@echo "make faults: sets up what is missing, then uses the process pool for $${SECONDS:-300} seconds"
	@$(DEV) env PLAIT_ALLOW_DEBUG=1 python tests/soak/faults.py

develop: ## Make the environment to work in, and say where it is
	@echo "make develop: sets up what is missing, editable, with a debug build"
	@$(DEV) sh -c 'echo ". $$VIRTUAL_ENV/bin/activate"'

bench: ## Measure the thread pool beside its peers and bare threads (ARGS=--quick, row names, ...)
	@echo "make bench: sets up what is missing (an optimised build), then measures (a minute)"
	@$(ENVIRONMENT) bench python benches/bench_threads.py $(ARGS)

bench-pool: ## Measure the process pool beside its peers and bare memory (ARGS=--quick, row names, ...)
	@echo "make bench-pool: sets up what is missing (an optimised build), then measures (15 minutes)"
	@$(ENVIRONMENT) bench python benches/bench_pool.py $(ARGS)

bench-tasks: ## Measure parallel calls and task groups beside what else starts processes (ARGS=--quick, row names, ...)
	@echo "make bench-tasks: sets up what is missing (an optimised build), then measures (a minute)"
	@$(ENVIRONMENT) bench python benches/bench_tasks.py $(ARGS)

bench-loop: ## Measure the event loop beside its peers and bare servers (ARGS=--quick, row names, ...)
	@echo "make bench-loop: sets up what is missing (an optimised build), then measures (20 minutes)"
	@$(ENVIRONMENT) bench python benches/bench_loop.py $(ARGS)

bench-choice: ## Hold what plait chooses against what is fastest (ARGS=--quick, --loaded, --told, row names, ...)
	@echo "make bench-choice: sets up what is missing (an optimised build), then measures (8 minutes)"
	@$(ENVIRONMENT) bench python benches/bench_choice.py $(ARGS)

bench-auto: ## Measure what on="auto" costs beside the method that it chooses (ARGS=--rounds 5, row names, ...)
	@echo "make bench-auto: sets up what is missing (an optimised build), then measures (2 minutes)"
	@$(ENVIRONMENT) bench python benches/bench_auto.py $(ARGS)

lint: ## Check formatting, lints and types of Rust, Python and shell
	@echo "make lint: sets up what is missing, then checks Rust, Python and shell"
	@$(DEV) python tools/lint.py

format: ## Format Rust and Python
	@$(DEV) cargo fmt --all
	@$(DEV) ruff format --quiet
	@$(DEV) ruff check --quiet --fix

package: ## Build wheels as pip does, install them elsewhere and use them
	@echo "make package: builds with pip wheel under the oldest and newest CPython found, and tries them"
	@tools/python tools/check_package.py

clean: ## Remove everything that was generated
	@echo "make clean: removes environments, builds and caches"
	@rm -rf target .venvs dist build tour.svg .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@rm -f python/plait/_native.*.so
	@find python tests tools benches -name __pycache__ -type d -prune -exec rm -rf {} +
