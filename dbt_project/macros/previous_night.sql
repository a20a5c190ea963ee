{#
    The day and the cut-off of the night before that the run's marts are built on (see
    ops.run_bases) as literals, for models that look records up by them; nulls where the run has no
    such night, or has not been scored yet.
#}
{% macro previous_night() -%}
    {%- set found = [] -%}
    {%- if execute -%}
        {%- set query -%}
            select bases.base_as_of_date::text, runs.known_as_of::text
            from ops.run_bases as bases
            inner join ops.pipeline_runs as runs
                on bases.base_run_id = runs.run_id
            where
                bases.run_id = current_setting('churn.run_id', true)
                and bases.base_role = 'previous'
        {%- endset -%}
        {%- set found = run_query(query).rows -%}
    {%- endif -%}
    {%- set day = "'" ~ found[0][0] ~ "'" if found else 'null' -%}
    {%- set cut_off = "'" ~ found[0][1] ~ "'" if found else 'null' -%}
    {{ return({
        'day_end': "(" ~ day ~ "::date + 1)::timestamp at time zone 'UTC'",
        'known_as_of': cut_off ~ '::timestamptz',
    }) }}
{%- endmacro %}
