"""The documentation's figures and tables of screening are those of the code."""

import pytest

from support.screening_page import PAGE, TABLES, marked


@pytest.mark.parametrize("name", TABLES)
def test_the_page_says_what_the_code_says(name: str) -> None:
    """`just screen-report --write` writes them."""
    assert marked(PAGE.read_text(encoding="utf-8"), name) == TABLES[name]().strip()
