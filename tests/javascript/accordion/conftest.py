"""A page with javascript/lcm.js on it; the test is the server."""

from pathlib import Path

import pytest

from tests.javascript.accordion.accordion_page import AccordionPage
from tests.javascript.conftest import page_of

HERE = Path(__file__).parent
SCRIPTS = (HERE / "page.js", HERE.parents[2] / "javascript" / "lcm.js")


@pytest.fixture(scope="session")
def document() -> str:
    return page_of(*SCRIPTS)


@pytest.fixture
def opened(visit, document):
    """`opened(query)`: a page on which nothing has happened yet."""
    return lambda query="": AccordionPage(visit(document, query))


@pytest.fixture
def page(opened) -> AccordionPage:
    """The page with both tabs answered."""
    page = opened()
    page.pass_time(100)
    page.answer_all()
    return page
