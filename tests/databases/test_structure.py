import time
from migrator.databases.copy import batch_migrate
from tests.databases.snapshots import *
from tests.testapp import rows
import pytest
def test_all(pair, databases):
    t=time.time()
    rows.fill(pair.source)
    t1=time.time()
    o = batch_migrate(source=pair.source,dest=pair.dest,labels=["testapp","testapp.Legacy"])
    t2=time.time()
    print(pair, t1-t, t2-t1, o.exit_code, len(o.plan.tables), o.verification)
    ts=tables("testapp")
    assert differences(snapshot(pair.source,ts),snapshot(pair.dest,ts))==[]
    print(time.time()-t2)
