"""SSH: the keys that hosts have, and one command on a server; for git, and for nothing else.

Nothing of the user's own SSH is used: neither ``~/.ssh`` nor a configuration file, and an agent
only on request. Only ``session`` imports AsyncSSH, the package of the extra ``deploycore[ssh]``.
"""
