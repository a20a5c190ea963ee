"""`task`, in the place of Airflow's own: what each task took becomes a row of ``ops.task_costs``."""

from functools import wraps

from airflow import sdk


def measured(function):
    """Record what `function` took; of a mapping that it returns, `rows_in` and `rows_out` or `rows`."""

    @wraps(function)
    def task_body(*args, **kwargs):
        from churn_ml.settings import load_settings
        from churn_ml.warehouse.task_costs import Task, measured

        ti = sdk.get_current_context()["ti"]
        named = Task(
            ti.task_id, dag_id=ti.dag_id, dag_run_id=ti.run_id, map_index=ti.map_index,
            try_number=ti.try_number,
        )  # fmt: skip
        with measured(load_settings(), named) as counts:
            result = function(*args, **kwargs)
            counts.take(result)
        return result

    task_body.is_measured = True
    return task_body


class MeasuredTask:
    """A decorator of Airflow, as ``@task`` or ``@task.short_circuit``, whose function is measured."""

    def __init__(self, decorator):
        self._decorator = decorator

    def __call__(self, function=None, **options):
        """Decorate `function`, or return what decorates the next one with `options`."""
        if function is not None:
            return self._decorator(measured(function))
        return lambda later: self._decorator(**options)(measured(later))

    def __getattr__(self, name):
        return MeasuredTask(getattr(self._decorator, name))


task = MeasuredTask(sdk.task)
