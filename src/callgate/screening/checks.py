"""Check digits: what tells a number of some kind from any other number."""

from collections.abc import Sequence
from typing import Final


def luhn(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B: every second digit from the right counts twice, and then the sum of its digits."""
    doubled = digits[-2::-2].translate(_DOUBLED)
    return (sum(map(int, digits[-1::-2])) + sum(map(int, doubled))) % 10 == 0


_DOUBLED: Final = str.maketrans("0123456789", "0246813579")


def iban_holds(iban: str) -> bool:
    """ISO 7064, MOD 97-10, as ISO 13616 uses it; letters and digits in upper case."""
    turned = iban[4:] + iban[:4]
    return int("".join(str(int(character, 36)) for character in turned)) % 97 == 1


def weighted(digits: str, weights: Sequence[int]) -> int:
    """The sum of the digits, each times its weight."""
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=False))


def ean(digits: str) -> bool:
    """GS1 General Specifications, 7.9: weights 3 and 1 from the right, without the check digit."""
    return (sum(map(int, digits[-1::-2])) + 3 * sum(map(int, digits[-2::-2]))) % 10 == 0


def iso7064_mod11_10(digits: str) -> bool:
    """ISO/IEC 7064, hybrid system MOD 11,10."""
    product = 10
    for digit in digits[:-1]:
        product = ((int(digit) + product) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == int(digits[-1])


def verhoeff(digits: str) -> bool:
    """J. Verhoeff, Error Detecting Decimal Codes (1969): the dihedral group of ten elements."""
    check = 0
    for place, digit in enumerate(reversed(digits)):
        check = _product(check, _permuted(int(digit), place))
    return check == 0


def _product(left: int, right: int) -> int:
    """Of the group D5: rotations 0 to 4, reflections 5 to 9."""
    if left < 5:
        return (left + right) % 5 if right < 5 else 5 + (left + right) % 5
    return 5 + (left - right) % 5 if right < 5 else (left - right) % 5


def _permuted(digit: int, place: int) -> int:
    for _ in range(place % 8):
        digit = _PERMUTATION[digit]
    return digit


_PERMUTATION: Final = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)
