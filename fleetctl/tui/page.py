"""What every page of the dashboard has: a way to show a look, and something under its cursor."""

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

    def filter(self, text: str) -> None:
        """Show only what the text is found in (a regular expression; `!` before it: what it is not found in)."""

    def sort(self, letter: str) -> bool:
        """Sort by the column whose header begins with the letter; False: there is none."""
        return False
