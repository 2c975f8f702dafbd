"""Why a command ends without having done what was asked, and its exit code.

CommandFailed        1  the thing asked for cannot be done, or the rollout failed
├── Usage            2  the command line or the kubeconfig is wrong
├── TimedOut         3  --timeout passed
└── OutOfReach       4  the hub does not answer
"""

from __future__ import annotations


class CommandFailed(Exception):
    """Not done; the text says why and what to do."""

    code = 1


class Usage(CommandFailed):
    """The command line or the kubeconfig is wrong."""

    code = 2


class TimedOut(CommandFailed):
    """The time given was not enough."""

    code = 3


class OutOfReach(CommandFailed):
    """Nobody answered."""

    code = 4
