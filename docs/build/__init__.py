"""Builds the pages of the documentation site: `python -m docs.build FOLDER`, called by `make docs`."""
