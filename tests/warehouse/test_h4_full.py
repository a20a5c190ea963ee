import sys, os, json, logging, time, resource
sys.path[:0]=['/work/main/tests','/work/main/tests/warehouse']
from pathlib import Path
from datetime import UTC, date, datetime
import pytest
from feature_tables import *
CUT_OFF = datetime(2026, 11, 1, 2, tzinfo=UTC); AS_OF_DATE = date(2026, 10, 31)
def test_full(settings, caplog):
    caplog.set_level(logging.INFO)
    settings = settings.model_copy(update=json.loads(os.environ.get("H4","{}")))
    create_feature_tables(settings)
    load_customers(settings, real_telco_customers(Path("/work/shared/data/telco_customer_churn.csv")), AS_OF_DATE, CUT_OFF)
    t=time.time(); r0=resource.getrusage(resource.RUSAGE_SELF)
    try:
        s = train_model(settings, open_run(settings, "training", CUT_OFF).run_id, seed=20260101)
    finally:
        r1=resource.getrusage(resource.RUSAGE_SELF)
        print("SECONDS", time.time()-t, "CPU", r1.ru_utime-r0.ru_utime, "PEAK MB", r1.ru_maxrss/1024)
        print("\n".join(f"{r.relativeCreated/1000:.1f} {r.name} {r.getMessage()}" for r in caplog.records if r.name.startswith("churn")))
    from churn_ml.models.registry import show_version
    for g in show_version(settings, s.model_version)["gates"]:
        print(g["gate"], g["subject"], g["verdict"], g["observed"], g["threshold_low"], g["threshold_high"], g["detail"])
