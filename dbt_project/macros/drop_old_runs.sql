{# Keep this run, every published one and the newest `current_runs_kept` of the others. #}
{% macro drop_old_runs() -%}
    {%- set is_published = 'run_id = any((select ops.published_run_ids())::text[])' -%}
    delete from {{ this }}
    where
        run_id <> {{ run_id() }}
        and not {{ is_published }}
        and run_id not in (
            select run_id
            from {{ ref('dim_scoring_run') }}
            where
                run_id <> {{ run_id() }}
                and not {{ is_published }}
            order by built_at desc, run_id desc
            limit {{ var('current_runs_kept') | int }}
        )
{%- endmacro %}
