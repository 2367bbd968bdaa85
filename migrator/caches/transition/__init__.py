"""A cache that changes from one backend to another without a value lost, stale or back from the dead.

    phase      answers   a write goes to                          a read
    old        OLD       OLD                                      OLD
    dual_old   OLD       OLD; then the key is deleted from NEW    OLD
    dual_new   NEW       OLD, NEW; then OLD is looked at again    NEW; what it lacks OLD, and NEW takes it over
    new        NEW       NEW                                      NEW

Why nothing goes wrong, in short:

- In both dual phases OLD is written first and is what NEW follows. So workers in ``old``, ``dual_old`` and
  ``dual_new`` agree by way of OLD, whichever of them a deploy has reached.
- ``dual_old`` deletes from NEW and never writes there: two deletions need no order, and what workers still in
  ``old`` write unseen cannot be stale in a NEW that holds nothing.
- Whoever puts something in NEW, by a write or by a promotion, looks at OLD afterwards. Another value there is taken
  over; none there, and NEW gives the key up. A deleter deletes in OLD, then in NEW: either he removes what was put
  there, or the look comes after his deletion in OLD. (He looks at OLD once more, for a copy from NEW to OLD that is
  under way.)
- A promotion is an ``add`` with the time that the value has left in OLD. Where that cannot be told, it is none.
- ``add`` is decided by both: by OLD for workers in ``dual_old``, by NEW for those in ``new``; it succeeds where both
  did.
- ``incr`` counts in both. Two equal answers need no look; others, and NEW takes OLD's number over, unless it is
  fenced.
- A write that did not reach OLD in ``dual_new`` leaves a mark in NEW, and one in ``new`` has put up a fence there:
  values of OLD that these bar are never believed. They are read on the way of a promotion, where OLD is asked
  anyway. Who puts the fence up waits until the promotions that were begun before are over.
- What is promoted while it is deleted is taken back by the look that follows; for that moment it can be read. Two
  stores without a lock for both cannot close it.
- A deletion that did not reach NEW in ``dual_old`` is remembered by the worker and made up for.
"""

from .cache import TransitionCache

__all__ = ["TransitionCache"]
