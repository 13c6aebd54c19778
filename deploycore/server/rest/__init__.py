"""The REST API: its table of operations, and what runs them."""
