"""Columns that look like data about people: by their name, and by what their texts are. Pure.

A hint for whoever answers for the data, never proof of absence: a number of a person is a number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_NAME = re.compile(
    r"e?mail|(tele)?phone|mobile|surname|((first|last|full|patient|customer)_?|fore)name|(ip_?)?address|ip|street|"
    r"birth_?(day|date)|date_?of_?birth|dob|ssn|social_?security_?number|passport(_?number)?|iban|credit_?card"
)
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_PHONE = re.compile(r"(\+|00)[\d ()/.-]{7,20}")
_IBAN = re.compile(r"[A-Z]{2}\d{2}[ A-Z0-9]{11,35}")
_ADDRESS = re.compile(r"(\d{1,3}\.){3}\d{1,3}|[0-9a-f]{0,4}(:[0-9a-f]{0,4}){3,7}", re.IGNORECASE)
_CARD = re.compile(r"\d(?:[ -]?\d){12,18}")


def looks_personal(name: str, texts: Sequence[str]) -> str:
    """Say what a column looks like ("email addresses"), or nothing. `texts`: some of its categories."""
    kinds = {"email addresses": _EMAIL, "phone numbers": _PHONE, "bank accounts": _IBAN, "IP addresses": _ADDRESS}
    for kind, pattern in kinds.items():
        if any(pattern.fullmatch(text) for text in texts):
            return kind
    if any(_CARD.fullmatch(text) and _luhn(text) for text in texts):
        return "card numbers"
    if _NAME.fullmatch(re.sub(r"[^a-z]+", "_", name.lower())):
        return "personal data, by its name"
    return ""


def _luhn(text: str) -> bool:
    """Check the last digit of a card number (ISO/IEC 7812-1)."""
    digits = [int(digit) for digit in text if digit.isdigit()][::-1]
    return sum(digits[::2] + [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]) % 10 == 0
