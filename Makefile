.PHONY: check lint types test shapes site

check: lint types test shapes

lint:
	ruff check .
	ruff format --check .

types:
	mypy

test:
	pytest -n auto --dist worksteal

shapes:
	.ci/shapes

site:
	python docs/site.py
