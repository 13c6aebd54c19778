"""Mode ``deploy-key``: where it clones from, what it can do without the API, and what it refuses.

What all kinds share is tested in ``tests/test_refs_only.py``.
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
