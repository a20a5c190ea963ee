{#
    Staging keeps only the nights of runs that are still at work, so that a training and a
    night may interleave; all else is rebuilt from raw when it is asked for again.
#}
{% macro drop_finished_nights() -%}
    {%- if is_incremental() -%}
    do $$
    begin
        if exists (
            select
            from ops.pipeline_runs as runs
            where
                runs.status = 'running'
                and (runs.as_of_date, runs.known_as_of)
                <> ({{ as_of_date() }}, {{ known_as_of() }})
        ) then
            delete from {{ this }} as staged
            where not exists (
                select
                from ops.pipeline_runs as runs
                where
                    runs.status = 'running'
                    and runs.as_of_date = staged.as_of_date
                    and runs.known_as_of = staged.known_as_of
            );
        else
            truncate {{ this }};
        end if;
    end
    $$
    {%- endif -%}
{%- endmacro %}
