.PHONY: check lint types test site

check: lint types test

lint:
	ruff check .
	ruff format --check .

types:
	mypy

test:
	pytest -n auto

site:
	python docs/site.py
