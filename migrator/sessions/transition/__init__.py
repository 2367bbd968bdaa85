"""A session engine over two stores, for a change from one to the other while people stay logged in.

What a worker does with the session of a key, (a) the authority, whose errors are raised, (s) the shadow, whose errors
are logged and counted:

========  =======================  ==========================================  ==================================
phase     load                     save                                        end
========  =======================  ==========================================  ==================================
old       OLD                      OLD                                         OLD (a), NEW (s)
dual_old  OLD                      over OLD's (a), NEW (s), look at OLD again  OLD (a), NEW (s), both until OLD
                                                                               is still without it
dual_new  NEW; on a miss OLD, put  over NEW's (a), OLD (s), look at NEW again  NEW (a), OLD (s), both until NEW
          into NEW if absent                                                   is still without it
          there, OLD again
new       NEW                      NEW                                         as in dual_new
========  =======================  ==========================================  ==================================

Nothing but create() makes a key in the authority, and saves write over what is there. A session that was ended can come
back only from the other side, which is why each end reaches both sides in every phase.

Workers of two phases side by side, as during each deploy, forth or back:

====================  ================================================================================================
old and dual_old      OLD decides for both. What the first save is not in NEW, or is older there, until the second
                      save it or the sessions are copied: so the copy belongs after the deploy of dual_old, and before
                      that of dual_new. No end leaves anything in NEW.
dual_old, dual_new    Each worker writes both sides and looks again at the one it believes, so the sides end equal. Two
                      saves of one session at once may each repair what the other wrote; workers in dual_new give way,
                      and one of the two saves stays, on both sides. An end looks again whether a save of the other
                      phase has brought the session back.
dual_new and new      NEW decides for both. OLD may be older after a save of the second, and is asked only for what NEW
                      does not have: no end leaves it there to be found. A cache that drops live sessions from NEW has
                      them come back as OLD last had them.
====================  ================================================================================================

The phase is read for each operation and not once for each request, for sessions may live long in a worker, and no two
workers should be two phases apart. A change of phase between the load and the save of one request is safe: what was
loaded from OLD and is saved to NEW before it was ever there is put there if OLD still has it.

Within a database transaction of either side the shadow waits for its end, for what may be rolled back must not be
followed.
"""

from .store import SessionStore

__all__ = ["SessionStore"]
