# Shortcuts for contributors. Each target calls a script or a program that also runs by itself.
.DEFAULT_GOAL := help
.PHONY: help install check format test nightly docs commands examples clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

install: ## create .venv with the package and the development tools
	bash -c 'set -euo pipefail; root="$(CURDIR)"; . scripts/environment; prepare_environment dev'

check: ## run ruff and mypy
	./scripts/check

format: install ## format all Python files
	.venv/bin/ruff format .

test: ## run the checks and the default tests
	./scripts/test

nightly: ## run the tests that need a browser, LibreOffice, PostgreSQL or emulators
	./scripts/test --numprocesses auto --dist loadfile -m "(nightly or browser or office) and not slow"

docs: install ## build the documentation into site/
	.venv/bin/pip install --quiet 'mkdocs>=1.6,<2'
	.venv/bin/mkdocs build --strict

commands: install ## regenerate docs/use/commands.md from the help texts
	.venv/bin/python scripts/write_commands.py

examples: install ## regenerate the example pages in reports/
	.venv/bin/python scripts/write_examples.py

clean: ## delete caches and built pages
	rm -rf site .mypy_cache .pytest_cache .ruff_cache
