"""What can go wrong with local clouds, as the caller sees it.

    CloudsError
    ├── BuildFailed        a binary could not be built or found
    ├── NotRunning         the instance asked for is not there (any more)
    ├── AlreadyRunning     another owner holds this state directory
    ├── StartFailed        a component did not become ready; its last log lines are in the text
    ├── UnknownName        a cloud or component that this instance does not have
    └── HelmFailed         a chart was refused or did not become ready

Every text names what was asked for, what was found, and the remedy.
"""

from __future__ import annotations


class CloudsError(Exception):
    """Anything local clouds can report; the text is for the user, without a traceback."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class BuildFailed(CloudsError):
    """A control plane binary is missing and could not be made."""


class NotRunning(CloudsError):
    """No supervisor answers for this state directory."""


class AlreadyRunning(CloudsError):
    """A live supervisor owns this state directory."""


class StartFailed(CloudsError):
    """A component died or did not become ready before its deadline."""


class UnknownName(CloudsError, KeyError):
    """A cloud, component or program name that does not exist here."""


class HelmFailed(CloudsError):
    """Helm refused or could not finish."""
