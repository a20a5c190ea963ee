"""Tasks that several DAGs have: a run is opened, checked, built, reported. A DAG gives them their place."""

from measured_tasks import task
from rooms import ASSETS, tell

# The run that `open_run` minted. A template, so that the graph has no edge from there to every task.
RUN = "{{ ti.xcom_pull(task_ids='open_run') }}"
_GATES = {
    "raw": "Are the deliveries there, readable and of the declared shape? A `block` stops here: dbt never "
    "reads a bad one.",
    "features": "Is every customer there once, are population, columns, labels and values as the contract "
    "says? A `block` stops before anything is scored.",
    "marts": "Has every eligible customer a score, do tiers, totals and history add up? A `block` stops it "
    "before BI sees anything; the last good night stays.",
}
_LAYERS = {
    "staging": "Types raw text; what cannot be cast is rejected by name and counted.",
    "intermediate": "Joins and dates what staging typed, cut at the as-of date and the cut-off.",
    "features": "Builds the interface that training and scoring read: population, features, values.",
    "marts": "Turns scores into tiers, money and reasons for BI; nobody sees the rows before `publish`.",
}


@task(retries=0)
def _gate(name, run):
    from churn_ml.quality.gates import run_gate
    from churn_ml.settings import load_settings

    return run_gate(load_settings(), run, name).headline()


@task(task_id="open_run")
def _mint(kind, dag_run=None):
    """Mint the `run_id` under which everything is written, with its cut-off and as-of date."""
    from churn_ml.services.airflow import mint_run
    from churn_ml.settings import load_settings

    return mint_run(load_settings(), kind, dag_run)


@task
def _dbt(layer, run, ti=None, outlet_events=None):
    from churn_ml.services.dbt import build_layer
    from churn_ml.settings import load_settings

    rows = build_layer(load_settings(), run, layer, try_number=ti.try_number).rows
    if ASSETS.get(layer) in ti.task.outlets:
        tell(outlet_events, layer, run, rows=rows)
    return {"rows": rows}


@task(task_id="report")
def _report(run):
    """Write the report of the run: summary, whom to call first, gates, timing. The tab *Report* shows it."""
    from churn_ml.dashboard.report import write_report
    from churn_ml.settings import load_settings

    return write_report(load_settings(), run).headline()


def open_run(kind):
    """Return the task that mints a run of `kind`."""
    return _mint(kind)


def check(name):
    """Return the gate `name` of the run: never repeated, since the same data gives the same verdict."""
    where = "\n\nEach check is a row of `ops.validation_results`; the tab *Data Docs* of the run shows them."
    return _gate.override(task_id=f"gate_{name}", doc_md=_GATES[name] + where)(name, RUN)


def build(layer, **options):
    """Return the dbt layer of the run; `options` are Airflow's, such as inlets and outlets."""
    where = "\n\nEach model and test is a row of `ops.dbt_results`; *dbt docs* says what the columns mean."
    return _dbt.override(task_id=f"dbt_{layer}", doc_md=_LAYERS[layer] + where, **options)(layer, RUN)


def report(**options):
    """Return the task that writes the report of the run."""
    return _report.override(**options)(RUN)
