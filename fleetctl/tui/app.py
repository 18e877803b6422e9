"""`fleetctl top`: the dashboard. It reads the store and nothing else; what changes goes through the commands."""

import asyncio
import time
from collections.abc import Sequence
from typing import ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.events import Event, Key, MouseEvent, Paste, Resize
from textual.filter import LineFilter, NoColor
from textual.geometry import Size
from textual.widgets import Static

from fleetctl.errors import FleetError
from fleetctl.tui.acting import Setting
from fleetctl.tui.command_line import Commanding
from fleetctl.tui.crumbs import crumb_line
from fleetctl.tui.keys import KEYS, LEAVING, keys_line
from fleetctl.tui.plainness import AsciiOnly, SixteenColours
from fleetctl.tui.sizes import TooSmall, classes_of, is_tiny
from fleetctl.views.looks import Look, Source
from fleetctl.views.past import Past

SEEK_S: Final = 60.0
"""What `[` and `]` go back and forth in the past."""
PLAYED_SPEED: Final = 10.0
AGES_S: Final = 5.0
"""Where nothing has changed, ages are drawn again so often."""
AWAY_LOOKS: Final = 5
"""While nobody looks at this terminal, only every so many looks are taken."""


class Top(Commanding):
    """The dashboard over one Source."""

    CSS_PATH = "app.tcss"
    TITLE = "fleetctl top"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(key.key, key.action, key.what, show=False, priority=key.first) for key in KEYS
    ]

    def __init__(self, source: Source, setting: Setting) -> None:
        super().__init__(source, setting)
        self._plain = setting.colours != "all"
        # Textual takes an empty NO_COLOR for a wish, and answers one with greys.
        self.no_color = setting.colours == "none"
        self._drawn_with: list[LineFilter] = []
        if self._plain:
            self.theme = "ansi-dark"
            self._drawn_with.append(NoColor() if self.no_color else SixteenColours())
        if setting.ascii_only:
            self._drawn_with.append(AsciiOnly())
        self._shown_at = 0.0
        self._drawn = False
        """False: what has changed since is not drawn yet, because something else stands above the page."""
        self._away = 0
        self._crumb = Static(id="crumb")
        self._small = TooSmall()
        self._keys = Static(id="keys")
        self._reading = False
        self._width = 80
        self._tiny = False
        self._foot = Text()
        self.failure = ""
        """Why the last look failed; empty: it did not."""

    def compose(self) -> ComposeResult:
        yield self._small
        yield self._crumb
        with Container(id="pages"):
            yield self._pages[0]
        yield self._command
        yield self._keys

    def on_mount(self) -> None:
        self._fit(self.size)
        self.set_interval(self._setting.interval_s, self._tick)
        self.look_again()

    def get_line_filters(self) -> Sequence[LineFilter]:
        return [*super().get_line_filters(), *self._drawn_with]

    def on_app_blur(self) -> None:
        self._away = 1

    def on_app_focus(self) -> None:
        if self._away:
            self._away = 0
            self.look_again()

    async def on_event(self, event: Event) -> None:
        """Where nothing is seen, nothing may be done: neither a dialog's keys nor the mouse's."""
        if self._tiny and isinstance(event, Key | MouseEvent | Paste):
            if isinstance(event, Key) and event.key in LEAVING:
                self.exit()
            return
        await super().on_event(event)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Above a dialog no key reaches the page below, not even those that come before the widget in focus."""
        if self.screen.is_modal and action in _ACTIONS:
            return False
        return super().check_action(action, parameters)

    def action_help_quit(self) -> None:
        """Ctrl-C, which leaves every other program of a terminal."""
        self.exit()

    def on_resize(self, resized: Resize) -> None:
        self._fit(resized.size)

    def _fit(self, size: Size) -> None:
        self._width = size.width
        screen = self.screen_stack[0]
        for name, holds in classes_of(size).items():
            screen.set_class(holds, name)
        screen.set_class(self._plain, "-plain")
        self._tiny = is_tiny(size)
        self._small.say(size)
        self.frame()

    # looks

    def _tick(self) -> None:
        if self._away:
            self._away += 1
        if self._away % AWAY_LOOKS == 0:
            self.look_again()

    def look_again(self) -> None:
        """One read at a time; what is asked for meanwhile is answered by the next."""
        if not self._reading:
            self._reading = True
            self.run_worker(self._read_now(), group="look", exit_on_error=False)

    async def _read_now(self) -> None:
        """In a thread: a slow store must not hold up a key."""
        look: Look | None = None
        failure = ""
        try:
            look = await asyncio.to_thread(self._source.look)
        except FleetError as error:
            failure = error.message + (f"; {error.hint}" if error.hint else "")
        finally:
            self._reading = False
        self._take(look, failure)
        if look is not None and not look.whole:
            self.look_again()

    def _take(self, look: Look | None, failure: str) -> None:
        self.failure = failure
        if look is not None:
            before, self._look = self._look, look
            if before is None or _differ(before, look):
                self._shown_at = time.monotonic()
                self._drawn = not self.screen.is_modal
                if self._drawn:
                    self.page.show(look)
            elif not self.screen.is_modal and (not self._drawn or time.monotonic() - self._shown_at >= AGES_S):
                self._shown_at = time.monotonic()
                if self._drawn:
                    self.page.age(look)
                else:
                    self._drawn = True
                    self.page.show(look)
        self.frame()

    def frame(self) -> None:
        self._crumb.update(
            crumb_line(
                self._look,
                [page.crumb for page in self._pages],
                context=self._setting.context,
                read_only=self._setting.read_only,
                width=self._width,
                playing=isinstance(self._source, Past) and self._source.speed > 0,
            ),
            layout=False,
        )
        if self.choices is not None:
            foot = self.choices
        elif self.failure:
            foot = Text(f" ✗ the store cannot be read: {self.failure}", style="bold red")
        else:
            past = isinstance(self._source, Past)
            foot = keys_line(read_only=self._setting.read_only, past=past, width=self._width)
        if foot != self._foot:
            self._foot = foot
            self._keys.update(foot)

    # the past

    def action_seek(self, direction: int) -> None:
        if isinstance(self._source, Past):
            self._source.seek(direction * SEEK_S)
            self.look_again()

    def action_play(self) -> None:
        if isinstance(self._source, Past):
            self._source.speed = 0.0 if self._source.speed else PLAYED_SPEED
            self.look_again()


_ACTIONS = frozenset(key.action.partition("(")[0] for key in KEYS) - {"quit"}


def _differ(before: Look, now: Look) -> bool:
    """Whether there is anything to draw beside the time."""
    return (
        before.view is not now.view
        or before.services is not now.services
        or before.events is not now.events
        or before.whole != now.whole
    )
