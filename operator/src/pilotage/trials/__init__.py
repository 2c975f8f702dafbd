"""Simulated and recorded traffic through the gate: what would it say, how often is it wrong, how long does it take?

A `Setting` says what traffic is assumed, a `Scenario` what is the matter with the canary or with the labels; `trial`
plays one rollout of it through an `Analysis`, drawing every label by chance, and `tally` counts many of them. Beside
the gate, `peers` judges the same traffic the way point thresholds do. `replay` plays recorded blocks instead.

The truth of a simulated model is known: `truth` computes each metric from the model's probabilities, by formulas of
its own. Everything is a pure function of its arguments and a seed. Imports `pilotage.gate` and the standard library.
"""

from pilotage.trials.campaign import Campaign, Piece, Played, Row, Standing, gathered, pieces, play, world_of
from pilotage.trials.forecast import Forecast, alone, forecast, power_curve, together
from pilotage.trials.models import Model, Unreachable, from_confusion, from_recalls
from pilotage.trials.peers import PEERS, Peer, peer_trials
from pilotage.trials.questions import Question, questions_of
from pilotage.trials.replay import Recording, RecordingError, Replay, Turn, decode_recording, replayed
from pilotage.trials.rollouts import End, Trial, trial
from pilotage.trials.scenarios import Scenario, catalogue
from pilotage.trials.settings import AUDIT_SHARE, Pace, Setting
from pilotage.trials.tally import Rate, Tally, tally
from pilotage.trials.truth import value
from pilotage.trials.worlds import World, build

__all__ = [
    "AUDIT_SHARE",
    "PEERS",
    "Campaign",
    "End",
    "Forecast",
    "Model",
    "Pace",
    "Peer",
    "Piece",
    "Played",
    "Question",
    "Rate",
    "Recording",
    "RecordingError",
    "Replay",
    "Row",
    "Scenario",
    "Setting",
    "Standing",
    "Tally",
    "Trial",
    "Turn",
    "Unreachable",
    "World",
    "alone",
    "build",
    "catalogue",
    "decode_recording",
    "forecast",
    "from_confusion",
    "from_recalls",
    "gathered",
    "peer_trials",
    "pieces",
    "play",
    "power_curve",
    "questions_of",
    "replayed",
    "tally",
    "together",
    "trial",
    "value",
    "world_of",
]
