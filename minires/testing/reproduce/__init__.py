"""Snippets: a few lines of Python that show a wrong derivative in a fresh interpreter."""
