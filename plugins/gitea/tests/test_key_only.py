"""Mode ``deploy-key``: where it clones from, what it can do without the API, and what it refuses.

What all kinds share is tested in ``tests/test_refs_only.py``.
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
