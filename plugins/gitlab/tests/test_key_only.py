"""Mode ``deploy-key``: where it clones from, what it can do without the API, and what it refuses.

What all kinds share is tested in ``tests/test_refs_only.py``.
"""

from deploycore.testing.contract.key_only import KeyOnlyMode


class TestDeployKey(KeyOnlyMode):
    kind = "gitlab"
    ssh_url = "ssh://git@gitlab.com/acme/shop.git"
    published = "gitlab.com"
    page = "https://gitlab.com/acme/shop"
    keys_page = "https://gitlab.com/acme/shop/-/settings/repository"

    def signed(self):
        return {"x-gitlab-token": self.secret.get_secret_value()}
