"""Quantities mean what the API server means by them."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.kube.quantity import canonical_quantity, parse_quantity

QUANTITIES = st.builds(
    "{}{}".format,
    st.integers(-(10**6), 10**6),
    st.sampled_from(["", "m", "k", "M", "G", "Ki", "Mi", "Gi", "u", "n", "e3", "E-3"]),
)


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("0.5", "500m"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("512Ki", "512Ki"),
        ("1000", "1k"),
        ("0", "0"),
        ("0Mi", "0"),
        (".1", "100m"),
        ("100n", "100n"),
        ("0.1n", "1n"),
        ("2e3", "2e3"),
        ("-1.5", "-1500m"),
    ],
)
def test_is_written_as_the_server_writes_it(written: str, canonical: str) -> None:
    assert canonical_quantity(written) == canonical


@pytest.mark.parametrize("written", ["", "1 Gi", "Gi", "1KiB", "one", "1.2.3", "0x10", "1e"])
def test_what_is_no_quantity_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity; write a number"):
        parse_quantity(written)


def test_suffixes_are_exact() -> None:
    assert parse_quantity("1Gi") == 2**30
    assert parse_quantity("1m") == Fraction(1, 1000)
    assert parse_quantity("1E") == 10**18
    assert parse_quantity("1e2") == 100


@given(QUANTITIES)
def test_the_canonical_form_has_the_same_value(written: str) -> None:
    assert parse_quantity(canonical_quantity(written)) == parse_quantity(written)


@given(QUANTITIES)
def test_the_canonical_form_is_its_own_canonical_form(written: str) -> None:
    canonical = canonical_quantity(written)

    assert canonical_quantity(canonical) == canonical
