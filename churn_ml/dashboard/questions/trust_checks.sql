-- The last attempt of every check of one run; failed ones first, blocks first of them.
with

attempts as (

    select distinct on (gate, tool, suite, check_name, table_name, column_name)
        gate,
        tool,
        suite,
        check_name,
        table_name,
        severity,
        verdict,
        observed,
        expected,
        failing_count,
        owner,
        reason,
        recorded_at
    from marts.run_checks
    where scoring_run_key = %(scoring_run_key)s
    order by
        gate asc, tool asc, suite asc, check_name asc, table_name asc,
        column_name asc, recorded_at desc

)

select *
from attempts
order by verdict = 'pass', severity, recorded_at, check_name
