"""The commands that write a Redis key under a condition, with an expiry that is never later than the given one."""

from __future__ import annotations

from ...clock import MICROSECONDS_PER_MILLISECOND
from ..base import Record
from .pipeline import Command

# SET takes a moment with PXAT only since Redis 6.2. Before that it takes the time left, to which the way to the server
# would be added; PEXPIREAT takes a moment since Redis 2.6.
_SET = b"""
if not redis.call('SET', KEYS[1], ARGV[1], ARGV[2]) then return false end
if ARGV[3] ~= '' then redis.call('PEXPIREAT', KEYS[1], ARGV[3]) end
return 1
"""
# Returns 1 if the key held what was seen and was changed. With an empty second argument the expiry is not compared. A
# tolerance means that the server lacks PEXPIRETIME, as all before Redis 7: the time left is added to its clock.
_COMPARE = b"""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] ~= '' then
  local expires
  if ARGV[6] == '0' then expires = redis.call('PEXPIRETIME', KEYS[1])
  else
    expires = redis.call('PTTL', KEYS[1])
    local time = redis.call('TIME')
    if expires >= 0 then expires = expires + time[1] * 1000 + math.floor(time[2] / 1000) end
  end
  if math.abs(expires - tonumber(ARGV[2])) > tonumber(ARGV[6]) then return 0 end
end
if ARGV[3] == '' then return redis.call('DEL', KEYS[1]) end
if ARGV[4] == '' then redis.call('SET', KEYS[1], ARGV[3])
elseif ARGV[5] == '' then
  redis.call('SET', KEYS[1], ARGV[3])
  redis.call('PEXPIREAT', KEYS[1], ARGV[4])
else redis.call('SET', KEYS[1], ARGV[3], ARGV[5], ARGV[4]) end
return 1
"""


def set_command(raw: bytes, record: Record, condition: bytes, *, has_pxat: bool) -> Command:
    """Return the command that sets the key ``raw`` if it is absent (``NX``) or present (``XX``).

    The reply is null if nothing was set.
    """
    moment = _milliseconds(record.expires)
    if not has_pxat:
        return b"EVAL", _SET, b"1", raw, record.raw, condition, moment
    return (b"SET", raw, record.raw, condition, *((b"PXAT", moment) if moment else ()))


def compare_command(
    raw: bytes, expected: tuple[bytes, bytes], new: Record | None, *, has_pxat: bool, tolerance: int
) -> Command:
    """Return the command that writes ``new``, or deletes the key, if it still has the expected value and expiry.

    The expiry is compared unless it is empty; ``tolerance`` is in microseconds, and 0 needs Redis 7. The reply is 1 if
    the key was changed.
    """
    value, moment = (b"", b"") if new is None else (new.raw, _milliseconds(new.expires))
    pxat = b"PXAT" if has_pxat else b""
    return b"EVAL", _COMPARE, b"1", raw, *expected, value, moment, pxat, _milliseconds(tolerance)


def _milliseconds(expires: int | None) -> bytes:
    return b"" if expires is None else b"%d" % (expires // MICROSECONDS_PER_MILLISECOND)
