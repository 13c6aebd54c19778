"""A git server over HTTP: addresses, connections, and the protocol as far as a fetch needs it."""
