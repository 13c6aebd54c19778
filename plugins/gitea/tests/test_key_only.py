"""Mode ``deploy-key``: its clone addresses, its hooks without the API, and the values that it
rejects.

``tests/test_refs_only.py`` tests the behavior that all kinds have in common.
"""

from deploycore.testing.contract.key_only import KeyOnlyMode
from deploycore.testing.webhooks import hmac_sha256


class TestDeployKey(KeyOnlyMode):
    kind = "gitea"
    settings = {"url": "https://codeberg.org"}
    ssh_url = "ssh://git@codeberg.org/acme/shop.git"
    published = "codeberg.org"
    page = "https://codeberg.org/acme/shop"
    keys_page = "https://codeberg.org/acme/shop/settings/keys"

    def signed(self):
        return {"x-gitea-signature": hmac_sha256(self.secret, self.body)}
