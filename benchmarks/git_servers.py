"""Repositories that are the same on every machine, and a real server for them.

What a git benchmark measures depends on the repository and on the server as much as on the
client. So the repositories are built here, byte for byte the same each time (their hashes are
too), packed as a host keeps them, and served as hosts do it: by git's own ``http-backend``
behind nginx, whose access log counts the requests.

Sources: https://git-scm.com/docs/git-fast-import and https://git-scm.com/docs/git-http-backend
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import IO

__all__ = ["GIT_ENVIRONMENT", "Repository", "Server", "Shape", "build", "change", "copied", "serve"]

# Nothing of the user's configuration, no proxy, and the same messages everywhere.
GIT_ENVIRONMENT = {
    **os.environ,
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
    "NO_PROXY": "127.0.0.1",
    "no_proxy": "127.0.0.1",
}

_FIRST_SECOND = 1_700_000_000
_FILES_A_DIRECTORY = 50
_DIRECTORIES_AN_AREA = 32
_EXECUTABLE_EACH = 997
_NEAR_COPY_EACH = 8
_FILES_A_COMMIT = 5
_LINES = 20_000
_SMALLEST, _LARGEST = 1024, 8 * 1024
_LINKS = {
    "latest": "area00/module00",
    "area00/first": "module00/source_0.py",
    "area00/module00/up": "../../latest",
}
_WORKERS = 4

NGINX = """
daemon off; worker_processes 1; error_log {directory}/errors; pid {directory}/nginx.pid; {user}
events {{}}
http {{
  log_format one_line '$request_method $uri $status $bytes_sent';
  access_log {directory}/requests one_line;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      fastcgi_param SCRIPT_FILENAME {backend};
      fastcgi_param GIT_PROJECT_ROOT {root};
      fastcgi_param GIT_HTTP_EXPORT_ALL "";
      fastcgi_param GIT_PROTOCOL $http_git_protocol;
      fastcgi_param GIT_CONFIG_COUNT 1;
      fastcgi_param GIT_CONFIG_KEY_0 safe.directory;
      fastcgi_param GIT_CONFIG_VALUE_0 *;
      fastcgi_param PATH_INFO $uri;
      fastcgi_param REQUEST_METHOD $request_method;
      fastcgi_param QUERY_STRING $query_string;
      fastcgi_param CONTENT_TYPE $content_type;
      fastcgi_param HTTP_CONTENT_ENCODING $http_content_encoding;
      fastcgi_buffering off;
      fastcgi_read_timeout 600s;
      fastcgi_pass unix:{directory}/fcgi;
    }}
  }}
}}
"""


@dataclass(frozen=True)
class Shape:
    """What a built repository is like.

    Attributes:
        files: Regular files; three symbolic links come on top.
        commits: In the history of ``main``.
        branches: ``main`` included; each of the others is at another commit of the history.
        chain: How many deltas, at most, have to be applied for one file. ``None`` for what
            ``git repack`` makes of it; otherwise all files are alike, so that chains get as long.
    """

    files: int
    commits: int = 10
    branches: int = 1
    chain: int | None = None

    @property
    def name(self) -> str:
        """The directory's name."""
        chain = "" if self.chain is None else f"-{self.chain}-deltas"
        return f"{self.files}-files-{self.commits}-commits-{self.branches}-branches{chain}.git"


@dataclass(frozen=True)
class Repository:
    """A bare repository, and the branch to deploy from it."""

    path: Path
    branch: str = "main"

    @property
    def pack_bytes(self) -> int:
        """What its packs take on the disk."""
        return sum(each.stat().st_size for each in (self.path / "objects/pack").glob("*.pack"))

    def git(self, *arguments: str) -> str:
        """Run git in it; what it printed."""
        command = ["git", "-c", "safe.directory=*", "-C", str(self.path), *arguments]
        return subprocess.run(
            command, env=GIT_ENVIRONMENT, check=True, capture_output=True, text=True
        ).stdout

    @contextmanager
    def importing(self, *options: str) -> Iterator[IO[bytes]]:
        """A stream for ``git fast-import``, which ends with the context."""
        command = ["git", "-C", str(self.path), "fast-import", "--quiet", "--force", *options]
        with subprocess.Popen(command, env=GIT_ENVIRONMENT, stdin=subprocess.PIPE) as process:
            assert process.stdin is not None
            yield process.stdin
            process.stdin.close()
            if process.wait():
                raise SystemExit(f"git fast-import failed in {self.path}")


@dataclass(frozen=True)
class Server:
    """A running server of all repositories below one directory."""

    root: Path
    address: str
    log: Path

    def url(self, repository: Repository) -> str:
        """Where to clone it from."""
        return f"{self.address}/{repository.path.relative_to(self.root)}"

    def requests(self) -> int:
        """How many requests it has answered so far."""
        # nginx writes the line once the answer has left, which the client may have seen first.
        time.sleep(0.05)
        return len(self.log.read_bytes().splitlines())


def build(shape: Shape, root: Path) -> Repository:
    """Build a repository below ``root``, unless that has it already."""
    done = Repository(root / shape.name)
    if done.path.exists():
        return done
    half = Repository(root / f"{shape.name}.half")
    shutil.rmtree(half.path, ignore_errors=True)
    half.path.mkdir(parents=True)
    half.git("init", "--quiet", "--bare", "--initial-branch=main")
    with half.importing(f"--depth={50 if shape.chain is None else shape.chain}") as stream:
        _write_history(shape, stream)
    if shape.chain is None:
        half.git("repack", "-q", "-a", "-d", "-f")
    else:
        # The server sends chains no longer than this, whatever its packs hold.
        half.git("config", "pack.depth", str(max(shape.chain, 1)))
    half.git("pack-refs", "--all")
    half.path.rename(done.path)
    return done


def copied(path: Path, root: Path) -> Repository:
    """A copy of a bare repository below ``root``, since redeploying adds commits to it."""
    copy = Repository(root / "given.git")
    command = ["git", "clone", "--quiet", "--bare", str(path.resolve()), str(copy.path)]
    subprocess.run(command, env=GIT_ENVIRONMENT, check=True)
    return Repository(copy.path, copy.git("symbolic-ref", "--short", "HEAD").strip())


def change(repository: Repository, *, files: int, number: int) -> list[str]:
    """Commit changes to the branch, as a push to the server does.

    Args:
        files: How many to change, spread over the whole tree.
        number: What tells this change from others.

    Returns:
        The paths of the changed files.
    """
    listed = repository.git("ls-tree", "-r", "-z", repository.branch).split("\0")[:-1]
    rows = [(*line.split("\t")[0].split(), line.split("\t")[1]) for line in listed]
    regular = [row for row in rows if row[0] in ("100644", "100755")]
    chosen = regular[:: max(1, len(regular) // files)][:files]
    branch = f"refs/heads/{repository.branch}"
    with repository.importing() as stream:
        _write_commit(stream, branch, seconds=_FIRST_SECOND + 10_000_000 + number, follows=True)
        for mode, _, blob, path in chosen:
            old = repository.git("cat-file", "blob", blob)
            _write_file(stream, mode, path, f"{old}# change {number}\n".encode())
    return [path for *_, path in chosen]


@contextmanager
def serve(root: Path, directory: Path) -> Iterator[Server]:
    """Serve all bare repositories below ``root``.

    Args:
        directory: For what the server writes.

    Raises:
        SystemExit: A program is not installed, or does not start.
    """
    executables = subprocess.check_output(["git", "--exec-path"], text=True).strip()
    backend = Path(executables, "git-http-backend")
    missing = [name for name in ("nginx", "fcgiwrap") if not shutil.which(name)]
    if missing or not backend.exists():
        raise SystemExit(f"Install {', '.join(missing) or 'git-http-backend'} to run this.")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    user = "user root;" if os.getuid() == 0 else ""
    values = {"directory": directory, "root": root, "port": port, "user": user}
    (directory / "nginx.conf").write_text(NGINX.format(backend=backend, **values))
    (directory / "requests").touch()
    commands = (
        ["fcgiwrap", "-c", str(_WORKERS), "-s", f"unix:{directory}/fcgi"],
        ["nginx", "-p", str(directory), "-c", str(directory / "nginx.conf")],
    )
    # In sessions of their own, since fcgiwrap's workers survive the process that started them.
    started = [
        subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
        for command in commands
    ]
    try:
        _wait_for(port)
        yield Server(root, f"http://127.0.0.1:{port}", directory / "requests")
    finally:
        for each in reversed(started):
            os.killpg(each.pid, signal.SIGTERM)
            each.wait()


def _wait_for(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise SystemExit("nginx did not start")


def _write_history(shape: Shape, stream: IO[bytes]) -> None:
    text = _texts() if shape.chain is None else _similar_texts()
    _write_commit(stream, "refs/heads/main", seconds=_FIRST_SECOND, follows=False)
    for number in range(shape.files):
        _write_file(stream, _mode(number), _path(number), text(number, 0))
    for path, leads_to in _LINKS.items():
        _write_file(stream, "120000", path, leads_to.encode())
    for commit in range(1, shape.commits):
        _branch_off(shape, stream, commit)
        seconds = _FIRST_SECOND + 60 * commit
        _write_commit(stream, "refs/heads/main", seconds=seconds, follows=False)
        for step in range(_FILES_A_COMMIT):
            number = (commit * 7919 + step * 104_729) % shape.files
            _write_file(stream, _mode(number), _path(number), text(number, commit))


def _branch_off(shape: Shape, stream: IO[bytes], number: int) -> None:
    """Leave a branch at the newest commit so far."""
    if number < shape.branches:
        name = f"team-{number % 20}/{number}-what-it-is-about"
        stream.write(f"reset refs/heads/{name}\nfrom refs/heads/main\n\n".encode())


def _write_commit(stream: IO[bytes], branch: str, *, seconds: int, follows: bool) -> None:
    """Begin a commit.

    Args:
        follows: Whether it comes after what the repository, and not this stream, has there.
    """
    message = f"Commit of second {seconds}\n"
    stream.write(
        f"commit {branch}\n"
        f"committer Ada Lovelace <ada@example.com> {seconds} +0000\n"
        f"data {len(message)}\n{message}\n".encode()
    )
    if follows:
        stream.write(f"from {branch}^0\n".encode())


def _write_file(stream: IO[bytes], mode: str, path: str, content: bytes) -> None:
    stream.write(f"M {mode} inline {path}\ndata {len(content)}\n".encode() + content + b"\n")


def _path(number: int) -> str:
    directory = number // _FILES_A_DIRECTORY
    area, module = divmod(directory, _DIRECTORIES_AN_AREA)
    return f"area{area:02}/module{module:02}/source_{number}.py"


def _mode(number: int) -> str:
    return "100755" if number % _EXECUTABLE_EACH == 5 else "100644"


def _texts() -> Callable[[int, int], bytes]:
    """What a file holds, by its number and by the commit that changed it last."""
    lines = _lines()

    def text(number: int, commit: int) -> bytes:
        near_copy = number % _NEAR_COPY_EACH == _NEAR_COPY_EACH - 1
        random = Random(number - near_copy).random
        left = _SMALLEST + int((_LARGEST - _SMALLEST) * random() ** 2)
        chosen = []
        while left > 0:
            chosen.append(lines[int(random() * _LINES)])
            left -= len(chosen[-1])
        if near_copy:
            chosen[len(chosen) // 2] = f"# {number} differs from the one before\n"
        if commit:
            chosen[commit % len(chosen)] = f"# changed by commit {commit}\n"
        return "".join(chosen).encode()

    return text


def _similar_texts() -> Callable[[int, int], bytes]:
    """What a file holds where each is to be a small delta of the one before."""
    shared = "".join(_lines()[:100])
    return lambda number, commit: f"# {number} {commit}\n{shared}".encode()


def _lines() -> list[str]:
    """Lines that look, and compress, like those of programs."""
    random = Random("lines").random

    def one_of(words: list[str]) -> str:
        return words[int(random() * len(words))]

    syllables = [a + b for a in "bcdfglmnprst" for b in ("a", "e", "i", "or", "un", "ex")]
    words = ["".join(one_of(syllables) for _ in range(2 + i % 3)) for i in range(3000)]
    forms = [
        "{} = {}({}, {})\n",
        "if {} == {}.{}:\n",
        "def {}({}, {}):\n",
        "return {}\n",
        "# {} {} {} {} {}\n",
        "self.{} = {}[{!r}]\n",
        "\n",
    ]
    made = []
    for _ in range(_LINES):
        form = one_of(forms)
        indent = "    " * int(random() * 4) if form != "\n" else ""
        made.append(indent + form.format(*(one_of(words) for _ in range(5))))
    return made
