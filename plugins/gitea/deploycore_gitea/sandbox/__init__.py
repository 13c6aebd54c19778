"""A Gitea on loopback: for the demo, for ``deploycore sandbox``, and for the conformance kit.

Only what Gitea alone has is here; all the rest is deploycore's ``Sandbox``. It answers as Gitea
1.26 does: its fields are those of the definitions in Gitea's own description of the API, and its
messages those of Gitea's sources.
"""

from deploycore.testing.pull_requests import PullRequest

from deploycore_gitea.sandbox.sandbox import GiteaSandbox

__all__ = ["GiteaSandbox", "PullRequest"]
