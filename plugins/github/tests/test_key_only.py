"""Mode ``deploy-key``: its clone addresses, its hooks without the API, and the values that it
rejects.

``tests/test_refs_only.py`` tests the behavior that all kinds have in common.
"""

from deploycore.testing.contract.key_only import KeyOnlyMode
from deploycore.testing.webhooks import hmac_sha256


class TestDeployKey(KeyOnlyMode):
    kind = "github"
    ssh_url = "ssh://git@github.com/acme/shop.git"
    published = "github.com"
    page = "https://github.com/acme/shop"
    keys_page = "https://github.com/acme/shop/settings/keys"

    def signed(self):
        return {"x-hub-signature-256": f"sha256={hmac_sha256(self.secret, self.body)}"}
