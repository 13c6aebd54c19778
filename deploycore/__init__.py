"""A small deployment core: from a git host to files on a machine, through provider plugins."""
