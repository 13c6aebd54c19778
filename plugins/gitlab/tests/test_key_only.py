"""Mode ``deploy-key``: its clone addresses, its hooks without the API, and the values that it
rejects.

``tests/test_refs_only.py`` tests the behavior that all kinds have in common.
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
