{#
    Keep this run, the newest `current_runs_kept` published ones and as many of the others.
    A run whose rows go and that is not published is first marked, so that it never will be.
#}
{% macro drop_old_runs() -%}
    {%- set is_published = 'run_id = any((select ops.published_run_ids())::text[])' -%}
    delete from {{ this }}
    where run_id = any((
        select ops.retire_marts(array_agg(run_id))
        from (
            select distinct run_id
            from {{ this }}
            where
                run_id <> {{ run_id() }}
                and run_id not in (
                    select run_id
                    from (
                        select
                            run_id,
                            row_number() over (
                                partition by {{ is_published }}
                                order by as_of_date desc, built_at desc, run_id desc
                            ) as place
                        from {{ ref('dim_scoring_run') }}
                        where run_id <> {{ run_id() }}
                    ) as numbered
                    where place <= {{ var('current_runs_kept') | int }}
                )
        ) as old
    )::text[])
{%- endmacro %}
