# The doors of the project; `make` alone lists them. YES=1 agrees to what setup wants to install.
PYTHON := .venv/bin/python
PYTEST := $(PYTHON) -m pytest
SECONDS := 900
FUZZED := frames packed pcap pcapng evaluator filters cards documents journals
CODE := analyzer generator nwscan

.DEFAULT_GOAL := help
.PHONY: help setup demo test quick lint lab lab-shell bench evaluator fuzz sanitize coverage lowest faults attack soak counter docs site notebooks pictures clean

help:  ## list the doors
	@echo "make DOOR, where DOOR is one of:"
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 14

setup:  ## install what is missing: Debian packages (asks first), .venv, the compiled modules, a kernel for the lab
	@python3 tools/prepare.py

demo: setup  ## the whole job, typed in a lab: a real guest, a flood, a filter, the proof, the way back
	@$(PYTHON) -m tests.lab demo

test: setup lint  ## everything: lint, all tests, the lab, coverage
	@$(PYTHON) tools/run_tests.py

quick: setup  ## the tests without the lab and the slow ones
	@$(PYTEST) -q -m "not lab and not slow"

lint: setup  ## ruff, mypy, the layers and doors of the packages
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy
	@$(PYTHON) -m mypy tests/lab tests/conftest.py tools
	@.venv/bin/lint-imports

lab: setup  ## bring a lab up and keep it until Ctrl-C; lab-shell in another terminal enters it
	@$(PYTHON) -m tests.lab up

lab-shell: setup  ## a shell inside a lab, to look around
	@$(PYTHON) -m tests.lab shell

bench: setup  ## files: nwscan beside the tools people use, into benchmarks/RESULTS.md (bench-NAME: benchmarks/NAME.py)
	@$(PYTHON) benchmarks/files.py

bench-%: setup
	@$(PYTHON) benchmarks/$*.py

evaluator: setup  ## the evaluator against libvirt and the kernel, ten times what the tests try
	@NWSCAN_LIBVIRT_TIMES=10 $(PYTEST) tests/lab/test_evaluator_libvirt.py -o log_cli=true --log-cli-level=INFO

fuzz: setup  ## hostile input for each reader, the decoder and the evaluator under sanitizers, SECONDS=900 each
	@for target in $(FUZZED); do echo "== $$target"; \
		$(PYTHON) tools/sanitize.py --fuzz $$target --seconds $(SECONDS) || exit 1; done

sanitize: setup  ## the compiled modules under AddressSanitizer and UndefinedBehaviorSanitizer
	@$(PYTHON) tools/sanitize.py

coverage: setup  ## make test, with coverage of the processes that it starts as well, the confined worker's too
	@NWSCAN_MEASURE_PROCESSES=1 $(PYTHON) tools/run_tests.py

lowest: setup  ## the quick tests with the lowest versions that pyproject.toml allows
	@$(PYTHON) tools/lowest.py

faults: setup  ## every fault at every step of every kind of plan, on a real libvirtd (make test has a part of them)
	@NWSCAN_FAULTS=all $(PYTEST) -q tests/lab/test_faults.py

counter: setup  ## build the eBPF classifier's object anew, which is kept beside its source
	@$(PYTHON) -m tools.tap_counter

attack: setup  ## two guests with root inside against nwscan, five minutes of every try; writes docs/attack.md
	@$(PYTHON) -m tests.lab.attack_record --record docs/attack.md

soak: setup  ## capture, top and export for half an hour while taps come and go; writes docs/soak.md
	@$(PYTHON) -m tests.soak --record

docs: setup  ## write the documents that are generated from the code
	@NWSCAN_REGENERATE=1 $(PYTEST) -q -k generated

site: setup  ## the site of the documentation in site/, by mkdocs; every warning is an error
	@$(PYTHON) tools/site.py

notebooks: setup  ## run the notebooks and write them with their output, as notebooks/*.ipynb
	@$(PYTHON) -W ignore tools/notebooks.py

pictures: setup  ## the pictures in docs/pictures: the HTML report by Chromium, each table and top in a lab
	@$(PYTHON) tools/pictures.py

clean:  ## remove what was built and fetched
	@rm -rf .venv .lab .sanitize .lowest build dist site *.egg-info .coverage* .of_processes* .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	@find $(CODE) captures tests tools -name __pycache__ -prune -exec rm -rf {} +
	@find $(CODE) \( -name '*.so' -o -name '*.c' ! -name '*.bpf.c' \) -delete
