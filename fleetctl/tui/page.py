"""What every page of the dashboard has: a way to show a look, and something under its cursor."""

from rich.text import Text
from textual.containers import Container

from fleetctl.views.looks import Look


class Page(Container):
    """One page. The app gives it looks; it tells what is selected."""

    crumb = ""
    """What the breadcrumb calls it."""

    def show(self, look: Look) -> None:
        """Draw this look."""

    def age(self, look: Look) -> None:
        """Draw what tells a time: nothing else is new in this look."""

    @property
    def subject(self) -> str:
        """What is selected, as in `service/chat`; empty: nothing."""
        return ""

    @property
    def text(self) -> Text | None:
        """All that the selected row says, where enter is to show that; None: enter goes in."""
        return None

    @property
    def filtered(self) -> bool:
        """Whether a filter is set."""
        return False

    def filter(self, text: str) -> None:
        """Show only what the text is found in (a regular expression; `!` before it: what it is not found in)."""

    def sort(self, letter: str) -> bool:
        """Sort by the column whose header begins with the letter; False: there is none."""
        return False
