"""Connect a host, create an application, deploy it, and roll back, all from Python.

This example runs unchanged, with the Bitbucket sandbox: python examples/deploy_from_python.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from deploycore_bitbucket.sandbox import Sandbox
from pydantic import SecretStr

from deploycore import Application, DeploycoreError, DeployEvent, Installation, Settings


def tell(event: DeployEvent) -> None:
    """Print each event except git's progress."""
    if event.kind != "progress":
        print(f"  {event.phase:14} {event.text}")


def main() -> None:
    """Deploy a version that works, one that does not, and a third one; then roll back."""
    sandbox = Sandbox().with_demo_content()
    with tempfile.TemporaryDirectory() as directory, sandbox:
        place = Path(directory)
        connection = sandbox.connections[0]
        fields = connection.settings
        secrets = {name: value for name, value in fields.items() if isinstance(value, SecretStr)}
        others = {name: value for name, value in fields.items() if isinstance(value, str)}
        settings = Settings.from_environment({"DEPLOYCORE_HOME": str(place / "home")})
        with Installation(settings) as installation:
            installation.add_provider("work", "bitbucket", others, secrets)
            sandbox.publish(connection.owner, "site", "main", {"page": b"Hello\n"}, "Say hello")
            application = Application(
                name="site",
                provider="work",
                repository=f"{connection.owner}/site",
                ref="main",
                target=place / "live",
                health_check={"run": ["grep", "-q", "Hello", "page"], "retries": 0},
            )
            installation.apply([application])
            first = installation.deploy("site", requested_by="an example", listener=tell)
            print(f"deployed {first.commit}: {first.subject}")

            sandbox.publish(connection.owner, "site", "main", {"page": b"Oops\n"}, "Break it")
            try:
                installation.deploy("site", listener=tell)
            except DeploycoreError as error:
                print(f"not deployed: {error}")
            live = (place / "live" / "current" / "page").read_text()
            print(f"still live: {live.strip()}")

            sandbox.publish(connection.owner, "site", "main", {"page": b"Hello again\n"}, "Fix it")
            installation.deploy("site")
            installation.roll_back("site")
            for record in installation.store.deployments.list("site"):
                print(f"{record.id}  {record.kind:9} {record.state:12} {record.subject}")


if __name__ == "__main__":
    main()
