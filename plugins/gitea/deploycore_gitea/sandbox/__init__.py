"""A sandbox of Gitea, for the demo, ``deploycore sandbox`` and the conformance kit.

This package has only what is specific to Gitea; deploycore's ``Sandbox`` does the rest. It responds
like Gitea 1.26: the fields come from Gitea's API description, the messages from Gitea's source
code.
"""

from deploycore.testing.pull_requests import PullRequest

from deploycore_gitea.sandbox.sandbox import GiteaSandbox

__all__ = ["GiteaSandbox", "PullRequest"]
