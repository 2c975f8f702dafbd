"""From a prediction to a counted outcome: tokens, feedback requests, and the collector behind them.

A server pod issues a token with what it predicts (`Issuer`), takes labels at any replica (`FeedbackEndpoint`) and
hands them to its model's collector; `open_feedback` wires these for one pod, `Feedback.run` keeps them alive. The
collector, one process per model and cluster, is `pilotage_server.feedback.collector`; pods never import it.
"""

from pilotage_server.feedback.classes import MAX_CLASSES, Identity, IdentityRefused
from pilotage_server.feedback.endpoint import FeedbackEndpoint
from pilotage_server.feedback.forwarder import Forwarder
from pilotage_server.feedback.issuing import NOTHING, Asked, Issuer, Shadow
from pilotage_server.feedback.keys import KeyRing, KeysRefused
from pilotage_server.feedback.link import CollectorAddress, CollectorLink, CollectorUnavailable
from pilotage_server.feedback.numbers import QualityPage
from pilotage_server.feedback.pod import Feedback, open_feedback
from pilotage_server.feedback.registration import Registration
from pilotage_server.feedback.results import Result
from pilotage_server.feedback.settings import FeedbackRefused, FeedbackSettings
from pilotage_server.feedback.signing import TokenSigner
from pilotage_server.feedback.token import Unreadable, open_token

__all__ = [
    "MAX_CLASSES",
    "NOTHING",
    "Asked",
    "CollectorAddress",
    "CollectorLink",
    "CollectorUnavailable",
    "Feedback",
    "FeedbackEndpoint",
    "FeedbackRefused",
    "FeedbackSettings",
    "Forwarder",
    "Identity",
    "IdentityRefused",
    "Issuer",
    "KeyRing",
    "KeysRefused",
    "QualityPage",
    "Registration",
    "Result",
    "Shadow",
    "TokenSigner",
    "Unreadable",
    "open_feedback",
    "open_token",
]
