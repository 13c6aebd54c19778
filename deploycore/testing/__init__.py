"""What authors of providers test with."""
