"""Probabilities small enough to travel in a token, and what they say once the label is known.

Three forms, by the number of classes K, each rounded at random so that sums over many rows stay unbiased:

- K = 2: the log-odds of the second class in [−16, 16] as u16: steps of 0.0005;
- K ≤ 32: −ln p in 1/16 nat as u8 per class, capped at 255 (p < 1.2e-7);
- K > 32: the 16 likeliest classes, likeliest first, as pairs (class, −ln p as above), then −ln of what is left.

A probability near 1 is read as 1 − the others: −ln p in 1/16 nat would tell 0.99 from 0.95 by a coin.
Only `encoder` needs NumPy, and only signers call it.
"""

import math
import random
import string
import struct
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pilotage_server.quality.buckets import MAX_LOSS_MICRO, MICRO, SCORE_EDGES, loss_micro, score_bucket

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MANY_CLASSES: Final = 32
TOP: Final = 16
LETTERS: Final = string.ascii_letters[:50].encode()
"""Score buckets 0 … 49 as they travel in messages: one letter each."""
_PER_NAT: Final = 16.0
_LEAST: Final = 1.3e-7
_SPAN: Final = 16.0
_STEPS: Final = 65_535 / (2 * _SPAN)
_P: Final = tuple(math.exp(-step / _PER_NAT) for step in range(256))
_LETTER_OF: Final = bytes(LETTERS[score_bucket(p)] for p in _P)
_LOSS_OF: Final = tuple(loss_micro(step / _PER_NAT) for step in range(256))
_U16: Final = struct.Struct(">H")
_FEW: Final = 4
"""Rows below which Python's floats are faster than seven calls to NumPy."""
_dither: Final = random.random

Encode = Callable[["NDArray[np.floating]"], bytes]


@dataclass(frozen=True, slots=True)
class Scores:
    """What one labelled row adds: log loss and Brier score in whole millionths, and one letter per class.

    `loss` is −ln p of the true class, p clipped at 1e-3; `brier` the sum of squared differences, halved for two
    classes; `buckets` the score bucket of every class, in class order, as `LETTERS`.
    """

    loss: int
    brier: int
    buckets: str


def row_bytes(classes: int) -> int:
    """Bytes of one row's probabilities in a token."""
    if classes == 2:
        return 2
    return classes if classes <= MANY_CLASSES else 2 * TOP + 1


def is_readable(row: bytes, classes: int) -> bool:
    """Whether these bytes can be the probabilities of so many classes."""
    return len(row) == row_bytes(classes) and (classes <= MANY_CLASSES or max(row[: 2 * TOP : 2]) < classes)


def encoder(classes: int) -> Encode:
    """What turns probabilities [rows, classes] into `rows × row_bytes(classes)` bytes."""
    if classes == 2:
        return _encode_two
    return _encode_few if classes <= MANY_CLASSES else _encode_many


def scores(row: bytes, classes: int, given: int) -> Scores:
    """What the label `given` (a class index) says of a row's probabilities. About 3 µs for ten classes."""
    if classes == 2:
        return _scores_of_two(row, given)
    if classes <= MANY_CLASSES:
        return _scores_of_few(row, given)
    return _scores_of_many(row, classes, given)


def _encode_two(probabilities: "NDArray[np.floating]") -> bytes:
    if len(probabilities) < _FEW:
        return b"".join(_odds(first, second) for first, second in probabilities.tolist())
    import numpy

    logs = numpy.log(numpy.maximum(probabilities, 1e-9))
    steps = (logs[:, 1] - logs[:, 0] + _SPAN) * _STEPS + numpy.random.random(len(logs))
    found: bytes = numpy.clip(steps, 0, 65_535).astype(">u2").tobytes()
    return found


def _odds(first: float, second: float) -> bytes:
    odds = math.log(max(second, 1e-9)) - math.log(max(first, 1e-9))
    return _U16.pack(min(max(int((odds + _SPAN) * _STEPS + _dither()), 0), 65_535))


def _encode_few(probabilities: "NDArray[np.floating]") -> bytes:
    if len(probabilities) < _FEW:
        return bytes(_step(p) for row in probabilities.tolist() for p in row)
    import numpy

    scaled = numpy.maximum(probabilities, _LEAST)
    numpy.log(scaled, out=scaled)
    scaled *= -_PER_NAT
    scaled += numpy.random.random(scaled.shape)
    numpy.minimum(scaled, 255.0, out=scaled)
    scaled[probabilities < _LEAST] = 255.0
    steps: bytes = scaled.astype(numpy.uint8).tobytes()
    return steps


def _encode_many(probabilities: "NDArray[np.floating]") -> bytes:
    import numpy

    order = numpy.argsort(-probabilities, axis=1, kind="stable")[:, :TOP]
    found = bytearray()
    for row, top in zip(probabilities, order, strict=True):
        likeliest = row[top].tolist()
        for index, p in zip(top.tolist(), likeliest, strict=True):
            found += bytes((index, _step(p)))
        found.append(_step(max(0.0, 1.0 - math.fsum(likeliest))))
    return bytes(found)


def _step(p: float) -> int:
    return int(_dither() - _PER_NAT * math.log(p)) if _LEAST < p < 1.0 else (0 if p >= 1.0 else 255)


def _scores_of_two(row: bytes, given: int) -> Scores:
    odds = _U16.unpack(row)[0] / _STEPS - _SPAN
    # log1p keeps its digits where 1 − p would lose them.
    loss = math.log1p(math.exp(-odds if given == 1 else odds))
    p = 1.0 / (1.0 + math.exp(-odds))
    missed = 1.0 - p if given == 1 else p
    return Scores(loss_micro(loss), round(missed * missed * MICRO), _letters_of_two(odds))


def _letters_of_two(odds: float) -> str:
    # The first class has the negative of these log-odds; −0.3 belongs to the bucket that begins there.
    return (
        LETTERS[bisect_right(SCORE_EDGES, -odds)].to_bytes() + LETTERS[bisect_right(SCORE_EDGES, odds)].to_bytes()
    ).decode()


def _scores_of_few(row: bytes, given: int) -> Scores:
    p = [_P[step] for step in row]
    likeliest = row.index(min(row))
    others = math.fsum(p) - p[likeliest]
    letters = row.translate(_LETTER_OF)
    loss = _LOSS_OF[row[given]]
    if others < 0.5:
        p[likeliest] = sure = 1.0 - others
        letters = letters[:likeliest] + LETTERS[score_bucket(sure)].to_bytes() + letters[likeliest + 1 :]
        if given == likeliest:
            loss = loss_micro(-math.log1p(-others))
    return Scores(loss, _brier(math.fsum(map(_square, p)), p[given]), letters.decode())


def _scores_of_many(row: bytes, classes: int, given: int) -> Scores:
    p = [_P[row[-1]] / (classes - TOP)] * classes
    if row[-1] == 255:
        p = [0.0] * classes
    for at in range(0, 2 * TOP, 2):
        p[row[at]] = _P[row[at + 1]]
    likeliest = row[0]
    others = math.fsum(p) - p[likeliest]
    if others < 0.5:
        p[likeliest] = 1.0 - others
    letters = bytes(LETTERS[score_bucket(one)] for one in p).decode()
    loss = loss_micro(-math.log(p[given])) if p[given] > 0 else MAX_LOSS_MICRO
    return Scores(loss, _brier(math.fsum(map(_square, p)), p[given]), letters)


def _square(p: float) -> float:
    return p * p


def _brier(squares: float, true: float) -> int:
    return max(0, round((squares - 2.0 * true + 1.0) * MICRO))
