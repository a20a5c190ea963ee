"""The timetable of a DAG that repeats nights: each where it is asked for, none by itself."""

from typing import ClassVar

from airflow.plugins_manager import AirflowPlugin
from airflow.timetables.interval import CronDataIntervalTimetable


class AskedNights(CronDataIntervalTimetable):
    """Nights with real data intervals, for Airflow's own backfill; the scheduler is given none.

    A backfill asks with ``catchup``; the scheduler does so only for a DAG with ``catchup=True``, which
    the house rules forbid.
    """

    description = "where a night is asked for"

    def next_dagrun_info(self, *, last_automated_data_interval, restriction):
        """Return the next night to a backfill, nothing to the scheduler."""
        if not restriction.catchup:
            return None
        return super().next_dagrun_info(
            last_automated_data_interval=last_automated_data_interval, restriction=restriction
        )


class AskedNightsPlugin(AirflowPlugin):
    """Makes the timetable known to the scheduler and the API server."""

    name = "asked_nights"
    timetables: ClassVar = [AskedNights]
