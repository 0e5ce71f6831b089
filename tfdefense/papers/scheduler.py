"""Makes all that a grid needs, in order; other machines may do the same in the same folder."""

import gc
import time
from collections.abc import Sequence

from tfdefense.attacks.core.compile_cache import forget
from tfdefense.errors import UserError, WorkFailed
from tfdefense.papers.cost import Cost, spoken
from tfdefense.papers.leases import lease
from tfdefense.papers.store import Store
from tfdefense.papers.targets import Artefact
from tfdefense.utils.file_lock import release_directory
from tfdefense.utils.progress import say

_WAIT_SECONDS = 10.0


def make_all(artefacts: Sequence[Artefact], store: Store, cost: Cost) -> None:
    """Makes those that are not there yet, each when what it needs is.

    What another machine is making is passed over, and waited for at the end. What cannot be made is named, and does
    not keep the rest from being made.

    Args:
      artefacts: in an order in which each comes after what it needs.
      store: where they lie.
      cost: what is left is told from it.

    Raises:
      WorkFailed: some could not be made.
    """
    waiting = [artefact for artefact in artefacts if not artefact.is_done(store)]
    total, failed = len(waiting), {}
    say(f"{len(artefacts) - total} of {len(artefacts)} artefacts are there; {total} to make.")
    while waiting:
        made = False
        for artefact in list(waiting):
            if artefact.is_done(store):  # Another machine's.
                waiting.remove(artefact)
                made = True
            elif broken := [need for need in artefact.needs() if need.key in failed]:
                failed[artefact.key] = f"{artefact.title}: needs {broken[0].title}"
                waiting.remove(artefact)
                made = True
            elif all(need.is_done(store) for need in artefact.needs()):
                with lease(artefact.path(store)) as mine:
                    if not mine:
                        continue
                    left = sum(cost.seconds(each) for each in waiting)
                    say(
                        f"[{total - len(waiting) + 1} of {total}, about {spoken(left)} left] {artefact.kind}: {artefact.title}"
                    )
                    reason = _made(artefact, store, cost)
                waiting.remove(artefact)
                made = True
                if reason:
                    failed[artefact.key] = f"{artefact.title}: {reason}"
                    say(f"Failed: {failed[artefact.key]}")
        if waiting and not made:
            titles = ", ".join(artefact.title for artefact in waiting[:3])
            say(f"Waiting for another machine: {titles}")
            time.sleep(_WAIT_SECONDS)
    if failed:
        raise WorkFailed(
            f"{len(failed)} of {total} could not be made: {'; '.join(list(failed.values())[:3])}"
        )


def _made(artefact: Artefact, store: Store, cost: Cost) -> str | None:
    """None, or why it could not be made."""
    if artefact.is_done(store):  # Between the first look and the lease, another machine made it.
        return None
    began = time.monotonic()
    try:
        artefact.make(store)
    except (UserError, WorkFailed) as error:
        return str(error)
    finally:
        release_directory(artefact.path(store))
        # The next artefact loads its networks anew; hundreds of these would fill the memory.
        forget()
        gc.collect()
    cost.made(artefact, time.monotonic() - began)
    return None
