"""Repositories on disk: the cache, and what differs between two commits."""
