"""What every task of every DAG is given: an owner, an end, retries that back off, a word on failure."""

from datetime import timedelta

from airflow import sdk

from churn_ml.services.alerts import record_task_failure


def defaults(*final, hours=2, **options):
    """Return the default arguments of a DAG's tasks.

    `final` names the errors of `churn_ml.errors` that a retry cannot mend; `hours` is the longest a task
    may take; `options` are added.
    """
    at_once = sdk.RetryRule([f"churn_ml.errors.{name}" for name in final], sdk.RetryAction.FAIL)
    return {
        "owner": "churn",
        "on_failure_callback": record_task_failure,
        "execution_timeout": timedelta(hours=hours),
        "retries": 2,
        "retry_delay": timedelta(seconds=20),
        "retry_exponential_backoff": 2,
        "max_retry_delay": timedelta(minutes=10),
        "retry_policy": sdk.ExceptionRetryPolicy([at_once]),
    } | options
