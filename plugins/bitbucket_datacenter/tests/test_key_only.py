"""Mode ``deploy-key``: its clone addresses, its hooks without the API, and the values that it
rejects.

``tests/test_refs_only.py`` tests the behavior that all kinds have in common.
"""

from deploycore.testing.contract.key_only import KeyOnlyMode
from deploycore.testing.webhooks import hmac_sha256


class TestDeployKey(KeyOnlyMode):
    kind = "bitbucket-datacenter"
    settings = {"url": "https://git.example.com/bitbucket"}
    ssh_url = "ssh://git@git.example.com:7999/acme/shop.git"
    page = "https://git.example.com/bitbucket/projects/acme/repos/shop"
    keys_page = (
        "https://git.example.com/bitbucket/plugins/servlet/ssh/projects/acme/repos/shop/keys"
    )

    def signed(self):
        return {"x-hub-signature": f"sha256={hmac_sha256(self.secret, self.body)}"}
