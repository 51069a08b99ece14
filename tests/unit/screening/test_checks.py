"""Check digits, held against the examples of the documents that define them."""

import pytest

from callgate.screening.checks import ean, iban_holds, iso7064_mod11_10, luhn, verhoeff


@pytest.mark.parametrize("digits", ["79927398713", "4111111111111111", "378282246310005", "18", "0"])
def test_luhn_holds(digits: str) -> None:
    assert luhn(digits)


@pytest.mark.parametrize("digits", ["79927398710", "4111111111111112", "19"])
def test_luhn_does_not_hold(digits: str) -> None:
    assert not luhn(digits)


@pytest.mark.parametrize(
    "iban", ["GB82WEST12345698765432", "DE89370400440532013000", "NO9386011117947", "FR1420041010050500013M02606"]
)
def test_check_digits_of_the_registrys_examples_hold(iban: str) -> None:
    assert iban_holds(iban)
    assert not iban_holds(iban[:-1] + ("0" if iban[-1] != "0" else "1"))


def test_ean_holds() -> None:
    assert ean("4006381333931")
    assert not ean("4006381333930")


def test_verhoeff_holds() -> None:
    assert verhoeff("2363")
    assert not any(verhoeff(f"236{digit}") for digit in "012456789")


def test_iso_7064_holds() -> None:
    assert iso7064_mod11_10("86095742719")
    assert not iso7064_mod11_10("86095742718")
