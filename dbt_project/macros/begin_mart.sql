{#
    Pre-hook of every mart, inside the transaction that fills it: rows of a run that was ever
    published stay as they were audited, and a gate older than the rows does not count. The
    lock on the run's row is held to the end, so marts of one run are filled one by one.
#}
{% macro begin_mart() -%}
    {%- if config.get('materialized') != 'view' and 'run_id' in model.columns -%}
        select ops.begin_marts({{ run_id() }});
    {%- endif -%}
{%- endmacro %}
