"""Scheduler that makes all targets of a grid in order; several machines may run it in one store."""

import gc
import time
import traceback
from collections.abc import Callable, Sequence

from tfdefense.attacks.core.compile_cache import clear_compile_cache
from tfdefense.errors import PreemptedError, UserError, WorkFailedError, short_reason
from tfdefense.papers.cost import CostEstimator
from tfdefense.papers.leases import lease
from tfdefense.papers.store import TargetStore
from tfdefense.papers.stored_target import StoredTarget
from tfdefense.utils.duration import duration_text
from tfdefense.utils.file_lock import release_directory
from tfdefense.utils.progress import print_line

_WAIT_SECONDS = 10.0
_SAVE_SECONDS = 600.0


def make_targets(
    targets: Sequence[StoredTarget],
    store: TargetStore,
    cost: CostEstimator,
    save: Callable[[], object] = lambda: None,
) -> None:
    """Make the targets that are missing, each as soon as its prerequisites exist.

    Targets that another machine is making are left to it, and waited for at the end. A target that
    fails does not stop the others.

    Args:
      targets: ordered so that each follows its prerequisites.
      store: the store of the targets.
      cost: estimates the remaining time.
      save: writes the finished targets; called after a target if ten minutes have passed.

    Raises:
      WorkFailedError: some targets could not be made.
    """
    waiting = [target for target in targets if not target.is_done(store)]
    total = len(waiting)
    failed: dict[str, str] = {}
    saved_at = time.monotonic()
    print_line(f"{len(targets) - total} of {len(targets)} targets exist; {total} to make.")
    while waiting:
        has_progress = False
        for target in list(waiting):
            if target.is_done(store):  # Made by another machine.
                pass
            elif broken := [need for need in target.prerequisites() if need.key in failed]:
                failed[target.key] = f"{target.title}: needs {broken[0].title}"
            elif all(need.is_done(store) for need in target.prerequisites()):
                with lease(target.path(store)) as is_leased:
                    if not is_leased:
                        continue
                    left = duration_text(sum(cost.seconds(each) for each in waiting))
                    number = total - len(waiting) + 1
                    print_line(
                        f"[{number} of {total}, about {left} left] {target.kind}: {target.title}"
                    )
                    reason = _make(target, store, cost)
                if reason:
                    failed[target.key] = f"{target.title}: {reason}"
                    print_line(f"Failed: {failed[target.key]}")
            else:
                continue
            waiting.remove(target)
            has_progress = True
            if time.monotonic() - saved_at >= _SAVE_SECONDS:
                _try(save)
                saved_at = time.monotonic()
        if waiting and not has_progress:
            titles = ", ".join(target.title for target in waiting[:3])
            print_line(f"Waiting for another machine: {titles}")
            time.sleep(_WAIT_SECONDS)
    if failed:
        reasons = "; ".join(list(failed.values())[:3])
        raise WorkFailedError(f"{len(failed)} of {total} targets could not be made: {reasons}")


def _try(save: Callable[[], object]) -> None:
    """Save; a failure stops nothing, because the caller saves again at the end."""
    try:
        save()
    except Exception as error:  # Full disks and damaged files have different types.
        print_line(f"Not saved: {short_reason(error)}")


def _make(target: StoredTarget, store: TargetStore, cost: CostEstimator) -> str | None:
    """Make a target; return None, or the reason why it could not be made."""
    if target.is_done(store):  # Another machine made it between the first check and the lease.
        return None
    was_begun = target.path(store).exists()
    start = time.monotonic()
    try:
        target.make(store)
    except (UserError, WorkFailedError) as error:
        return str(error)
    except PreemptedError:
        raise
    except Exception as error:  # Of TensorFlow, such as full memory. Other targets can be made.
        traceback.print_exc()
        return f"{type(error).__name__}: {short_reason(error)}"
    finally:
        release_directory(target.path(store))
        # Free the networks and compiled functions: those of hundreds of targets fill the memory.
        clear_compile_cache()
        gc.collect()
    if not was_begun:  # A resumed target takes only the rest of its time.
        cost.record(target, time.monotonic() - start)
    return None
