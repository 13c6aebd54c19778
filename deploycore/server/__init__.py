"""The server: git hosts tell it of pushes, programs ask it over REST, monitoring reads metrics.

An extra, ``deploycore[server]``. It accepts and answers; what is accepted is a row in the store,
and the work on it is a worker's, here or elsewhere. Only ``deploycore serve`` imports it.
"""
