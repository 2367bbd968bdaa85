"""A cache that moves from one backend to another: no value is lost, stale, or back after its deletion.

    phase      answers   a write goes to                       a read
    old        OLD       OLD                                   OLD
    dual_old   OLD       OLD; then the key is deleted in NEW   OLD
    dual_new   NEW       OLD, NEW; then OLD is checked         NEW; on a miss OLD, whose value is promoted to NEW
    new        NEW       NEW                                   NEW

Why this is safe, in short:

- In both dual phases OLD is written first, and NEW follows it. So workers in ``old``, ``dual_old`` and ``dual_new``
  agree through OLD, whichever of them a deploy has reached.
- ``dual_old`` deletes from NEW and never writes there. Two deletions need no order, and an empty NEW cannot hold stale
  values of what workers still in ``old`` write.
- A worker that puts a value in NEW, by a write or by a promotion, checks OLD afterwards. If OLD holds another value,
  NEW takes it over; if OLD holds none, the key is deleted from NEW. A worker that deletes does so in OLD and then in
  NEW: either it removes the value, or the check comes after its deletion in OLD. (It checks OLD once more, in case a
  copy from NEW to OLD is running.)
- A promotion is an ``add`` with the time to live that the value has left in OLD. If the backend does not report that,
  nothing is promoted.
- ``add`` succeeds if it does in both: OLD decides for workers in ``dual_old``, NEW for those in ``new``.
- ``incr`` counts in both. If the two results differ, NEW takes over OLD's number, unless it is fenced.
- A write that did not reach OLD in ``dual_new`` leaves a marker in NEW, and the first write in ``new`` sets a fence
  there: values of OLD that these bar are never believed. They are read before a promotion, when OLD is asked anyway.
  A worker that sets the fence waits until the promotions that began earlier are over.
- On the way back OLD is emptied behind the fence, and filled by a copy from NEW that overwrites nothing. A write that
  has reached OLD is not copied over. A change that finds no value in OLD first puts NEW's there, and a write that OLD
  does not hold afterwards is repeated. So OLD lacks nothing when the first worker writes in ``dual_old``, which lifts
  the fence: what is written there is believed in ``dual_new``.
- A value that is promoted while it is being deleted is removed again by the check that follows; until then it can be
  read. Two stores without a common lock cannot close this gap.
- A deletion that did not reach NEW in ``dual_old`` is remembered by the worker and repeated.
"""

from .cache import TransitionCache

__all__ = ["TransitionCache"]
