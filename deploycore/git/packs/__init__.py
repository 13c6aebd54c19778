"""Packs of objects: receiving, indexing and reading them."""
