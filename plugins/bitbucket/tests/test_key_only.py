"""Mode ``deploy-key``: where it clones from, what it can do without the API, and what it refuses.

What all kinds share is tested in ``tests/test_refs_only.py``.
"""

from deploycore.testing.contract.key_only import KeyOnlyMode
from deploycore.testing.webhooks import hmac_sha256


class TestDeployKey(KeyOnlyMode):
    kind = "bitbucket"
    ssh_url = "ssh://git@bitbucket.org/acme/shop.git"
    published = "bitbucket.org"
    page = "https://bitbucket.org/acme/shop"
    keys_page = "https://bitbucket.org/acme/shop/admin/access-keys/"

    def signed(self):
        return {"x-hub-signature": f"sha256={hmac_sha256(self.secret, self.body)}"}
