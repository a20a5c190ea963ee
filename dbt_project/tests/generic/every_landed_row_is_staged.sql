{#
    Every row of the batches that became known in the last day before the cut-off stands in
    the model once, accepted or rejected. Older batches were tested on their own night; the
    rows of a first load from a table may be known from any time before.
#}
{% test every_landed_row_is_staged(model, entity) %}
    with

    landed as (

        select
            batches.batch_id,
            batches.row_count_landed
        from {{ source('ops', 'landing_batches') }} as batches
        inner join ops.staged_batches as staged
            on batches.batch_id = staged.batch_id
        where
            staged.model = '{{ model.identifier }}'
            and batches.entity = '{{ entity }}'
            and batches.known_at > {{ known_as_of() }} - interval '1 day'
            and batches.known_at <= {{ known_as_of() }}
            and not (batches.is_first_load and batches.file_format = 'table')

    ),

    counted as (

        select
            batch_id,
            count(*) as row_count_staged
        from {{ model }}
        where
            known_at > {{ known_as_of() }} - interval '1 day'
            and known_at <= {{ known_as_of() }}
        group by batch_id

    )

    select
        landed.batch_id,
        landed.row_count_landed,
        counted.row_count_staged
    from landed
    left join counted
        on landed.batch_id = counted.batch_id
    where landed.row_count_landed <> coalesce(counted.row_count_staged, 0)
{% endtest %}
