{#
    Staging keeps only the nights of runs that are, or may come back to be, at work, so that a
    training and a night may interleave and a failed night may go on where it failed; all else
    is rebuilt from raw when it is asked for again.
#}
{% macro drop_finished_nights() -%}
    {%- if is_incremental() -%}
    do $$
    begin
        if exists (
            select
            from {{ this }} as staged
            inner join ({{ nights_at_work() }}) as nights
                on
                    staged.as_of_date = nights.as_of_date
                    and staged.known_as_of = nights.known_as_of
            where
                (staged.as_of_date, staged.known_as_of)
                <> ({{ as_of_date() }}, {{ known_as_of() }})
        ) then
            delete from {{ this }} as staged
            where not exists (
                select
                from ({{ nights_at_work() }}) as nights
                where
                    nights.as_of_date = staged.as_of_date
                    and nights.known_as_of = staged.known_as_of
            );
        else
            truncate {{ this }};
        end if;
    end
    $$
    {%- endif -%}
{%- endmacro %}

{#
    A failed run may be mended and resumed until a newer run of its night has succeeded or a
    later cut-off has been published.
#}
{% macro nights_at_work() -%}
    select
        runs.as_of_date,
        runs.known_as_of
    from ops.pipeline_runs as runs
    where
        runs.status = 'running'
        or (
            runs.status = 'failed' and runs.run_kind not in ('challenger', 'shadow')
            and not exists (
                select
                from ops.pipeline_runs as newer
                where
                    newer.status = 'succeeded'
                    and newer.as_of_date = runs.as_of_date
                    and newer.known_as_of = runs.known_as_of
                    and newer.started_at > runs.started_at
            )
            and not exists (
                select
                from ops.publications as publications
                inner join ops.pipeline_runs as published
                    on publications.run_id = published.run_id
                where published.known_as_of > runs.known_as_of
            )
        )
{%- endmacro %}
