"""A session engine over two stores, for a transition from one to the other while users stay logged in.

What a worker does with the session of a key: (a) is the authority, whose errors are raised, and (s) the shadow, whose
errors are logged and counted.

========  =======================  ==========================================  ==================================
phase     load                     save                                        delete
========  =======================  ==========================================  ==================================
old       OLD                      OLD                                         OLD (a), NEW (s)
dual_old  OLD                      update OLD (a), NEW (s), check OLD again    OLD (a), NEW (s), repeated until
                                                                               OLD stays without it
dual_new  NEW; on a miss OLD,      update NEW (a), OLD (s), check NEW again    NEW (a), OLD (s), repeated until
          added to NEW, and OLD                                                NEW stays without it
          is checked again
new       NEW                      NEW                                         as in dual_new
========  =======================  ==========================================  ==================================

Only create() adds a key to the authority; other saves update what is there. A deleted session can come back only from
the other side, which is why each deletion reaches both sides in every phase.

Workers of two phases run side by side during each deploy, forward or back:

====================  ================================================================================================
old and dual_old      OLD is authoritative for both. What workers in old save is missing or older in NEW until workers
                      in dual_old save it or the sessions are copied. So the copy belongs after the deploy of dual_old
                      and before that of dual_new. No deletion leaves anything in NEW.
dual_old, dual_new    Each worker writes both sides and then checks the one that it reads, so both sides end up equal.
                      Two concurrent saves of one session may each repair what the other wrote; workers in dual_new
                      give way, and one of the two saves stays, on both sides. A deletion checks whether a save of the
                      other phase has restored the session.
dual_new and new      NEW is authoritative for both. After a save in new, OLD may be older. It is read only for what
                      NEW does not have, and no deletion leaves a session there. If a cache evicts live sessions from
                      NEW, they come back as OLD last had them.
====================  ================================================================================================

The phase is read for each operation, not once for each request: sessions may live long in a worker, and no two workers
should be two phases apart. A change of phase between the load and the save of one request is safe: a session that was
loaded from OLD and is saved to NEW before it was ever there is added if OLD still has it.

In a database transaction of either side, the shadow is written after its end: what may be rolled back must not be
mirrored.
"""

from .store import SessionStore

__all__ = ["SessionStore"]
