"""The server: webhooks from git hosts, a REST API, and metrics.

It is the extra ``deploycore[server]``. It stores each accepted request as a row, and a worker
processes it, in this process or another. Only ``deploycore serve`` imports this package.
"""
