"""The guards of all logins and hosts, which the connection tests of all environments share."""

from collections.abc import Callable, Iterable, Mapping

from monitor.adapters.store import Change
from monitor.core.attempt import Attempt, login_of
from monitor.core.guards import Guard, Suspension
from monitor.core.instants import redated
from monitor.polling.environment_state import STEP, EnvironmentState
from monitor.polling.settings import Clock


class GuardBook:
    """The guards of logins (`user@host:port`) and hosts (`host:port`), for all environments.

    Where other replicas have them, too, whoever writes first counts: `lost` are those that one of
    ours was to change meanwhile, and has not.
    """

    def __init__(
        self, clock: Clock, save: Callable[[Change], None], *, shared: bool = False
    ) -> None:
        """Begin with none; `save` takes every change; `shared` with other replicas."""
        self.environments: dict[str, EnvironmentState] = {}
        self.left = dict[str, Suspension]()  # by base URL, of environments that are gone
        self._clock, self._save, self._shared = clock, save, shared
        self._known: dict[str, Guard] = {}
        self.lost = set[str]()
        self._offset = clock.wall() - clock.elapsed()

    def restore(self, known: Mapping[str, Guard]) -> None:
        """Take those of before the start: what was under way then counts as failed."""
        now = self._clock.wall()
        restored = {key: redated(one.restored(), latest=now) for key, one in known.items()}
        self._known = restored | self._known

    def take_over(self, known: Mapping[str, Guard], begun: Iterable[Attempt]) -> None:
        """Take them as they are stored.

        Tests that `begun` and never ended count as failed; others are another replica's.
        """
        for key, guard in known.items():
            self._known[key] = guard.with_known(self._known.get(key, Guard()))
        for attempt in begun:
            for key in (attempt.login, attempt.server):
                if self._known.get(key, Guard()).under_way == attempt.at:
                    self[key] = self._known[key].restored()

    def adopt(self, key: str, guard: Guard) -> None:
        """Take a guard as another replica has stored it: what was to be stored of ours was not."""
        self._known[key] = guard.with_known(self._known.get(key, Guard()))
        self.lost.add(key)

    def free(self, attempt: Attempt) -> None:
        """Forget whose the login and the host of an attempt were: it is over, or about to begin."""
        self.lost -= {attempt.login, attempt.server}

    def __getitem__(self, key: str) -> Guard:
        """Return a guard; its instants go along with the steps of our clock."""
        offset = self._clock.wall() - self._clock.elapsed()
        step, self._offset = offset - self._offset, offset
        if abs(step) > STEP:
            self._known = {key: redated(one, by=step) for key, one in self._known.items()}
            self._save(Change(guards=dict(self._known)))
        return self._known.get(key, Guard())

    def __setitem__(self, key: str, guard: Guard) -> None:
        """Put a guard in force, and have it stored.

        While a test is under way only its result counts, or whoever has it could not write that:
        what the record says meanwhile it says again.
        """
        known = self._known.get(key, Guard())
        if self._shared and known.under_way is not None and guard.under_way == known.under_way:
            return
        if guard != known:
            self._known[key] = guard
            self._save(Change(guards={key: guard}))

    def campaigns_on(self, login: str) -> int:
        """Return how many campaigns have this login, whichever environment they are in."""
        entries = (one for state in self.environments.values() for one in state.entries.values())
        configs = (entry.status.last_known.config for entry in entries)
        return sum(config is not None and login_of(config) == login for config in configs)

    def suspended(self, base_url: str) -> Suspension | None:
        """Return why no test may be run at a platform; None: they may."""
        states = self.environments.values()
        here = (one for one in states if one.settings.environment.base_url == base_url)
        found = next((s for one in here if (s := one.status.tests.suspended)), None)
        return found or self.left.get(base_url)

    def leave(self, name: str) -> None:
        """Take that an environment is gone; no edit ends a suspension for the others there."""
        state = self.environments.pop(name)
        if (suspended := state.status.tests.suspended) is not None:
            self.left[state.settings.environment.base_url] = suspended
