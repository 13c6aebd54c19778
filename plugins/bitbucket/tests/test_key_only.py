"""Mode ``deploy-key``: its clone addresses, its hooks without the API, and the values that it
rejects.

``tests/test_refs_only.py`` tests the behavior that all kinds have in common.
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
