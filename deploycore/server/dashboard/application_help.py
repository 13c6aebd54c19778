"""The help for the fields of an application's form.

The descriptions of the declaration's fields refer to values of YAML, such as ``null``. A form has
check boxes and empty inputs instead, so it has its own texts.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["HELP"]

HELP: Mapping[str, str] = {
    "name": "The name of the application: up to 63 letters, digits, dots, dashes and underscores.",
    "provider": "The git host, with the credentials to read from it.",
    "repository": "`owner/repository`, or the address of the repository on the git host.",
    "ref": "Name of a branch or tag, or the full hash of a commit.",
    "submodules": "Fetch the repository's submodules too.",
    "lfs": "Download files that are in Git LFS. Otherwise a release has their pointer files.",
    "target": "Absolute path of a directory on the server that no other application uses."
    " deploycore creates it. The live release is then at `current` in this directory.",
    "shared": "Paths that all releases share, such as uploads. One on each line; a directory ends"
    " with `/`.",
    "keep": "Number of commits whose releases stay on disk for a rollback (default: 5).",
    "steps": "Commands that run in the release's directory, one on each line. No shell interprets"
    " them: pipes and `&&` do not work here.",
    "build": "Run when the files of the new release are in place.",
    "before_activate": "Run after all build steps. If one fails, the live release does not change.",
    "after_activate": "Run when the new release is live. If one fails, the previous release is"
    " made live again.",
    "health_check": "Checks that a new release works. If the check fails, the previous release is"
    " made live again. Leave both fields empty for no check.",
    "health_url": "The release works if a GET request to this URL returns a status from 200 to 299"
    " (or the declaration's `status`). Redirects are not followed.",
    "health_command": "The release works if this command ends with status 0. No shell interprets"
    " it.",
    "auto_deploy": "Deploy new commits as soon as deploycore finds them. If this is off, pushes"
    " and polls deploy nothing, and outcomes are not reported.",
    "push": "Deploy when the application's webhook reports a push.",
    "poll": "How new commits are found without a webhook: `auto` (poll if no webhook delivers),"
    " `off`, or the number of seconds between polls.",
    "report_status": "Show the outcome of a deployment at its commit on the git host.",
    "watch": "Skip a deployment if no file that matches one of these patterns changed since"
    " the live commit. One pattern on each line, as in `.gitignore`.",
}
"""The help for each field of the form, and for each section."""
