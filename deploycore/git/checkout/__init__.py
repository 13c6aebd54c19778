"""From objects to files: trees, attributes, links, and the directory that is written."""
