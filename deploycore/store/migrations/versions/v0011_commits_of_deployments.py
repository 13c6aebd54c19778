"""Indexes that find the last deployment of a release or commit, and the rollbacks from a commit."""

from alembic import op

revision = "0011"
down_revision = "0010"

# Versions before 0007 did not write down which commit was live before a deployment.
_FILL = """
UPDATE deployments SET previous_commit = (
    SELECT max(made."commit") FROM deployments made
    WHERE made.application = deployments.application
    AND made.release = deployments.previous AND made.kind = 'deploy'
) WHERE previous_commit IS NULL AND previous IS NOT NULL AND kind = 'rollback'
"""


def upgrade() -> None:
    """Create the indexes, and fill in which commit older rollbacks went back from."""
    op.execute(_FILL)
    op.drop_index("ix_deployments_application_release", "deployments")
    for columns in (
        ("application", "release", "kind", "state", "id"),
        ("application", "commit", "state", "id"),
        ("application", "previous_commit", "state", "id"),
    ):
        op.create_index(f"ix_deployments_{'_'.join(columns)}", "deployments", columns)
