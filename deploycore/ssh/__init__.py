"""SSH for git: the keys of servers, and one command on a server.

The user's own SSH settings are not used: neither ``~/.ssh`` nor a configuration file. An agent is
used only on request. Only ``session`` imports AsyncSSH, the package of the extra
``deploycore[ssh]``.
"""
