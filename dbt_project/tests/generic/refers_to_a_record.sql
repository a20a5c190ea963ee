{#
    Each row names a record of another model, whatever its version; warns, since the record
    may come later. One look-up by index per row, so nothing else of the other model is read.
#}
{% test refers_to_a_record(model, column_name, to, field) %}
{{ config(severity='warn') }}
    with

    named as (

        select {{ column_name }}
        from {{ model }}

    )

    select named.{{ column_name }}
    from named
    where
        not exists (
            select
            from {{ to }} as records
            where records.{{ field }} = named.{{ column_name }}
            offset 0
        )
{% endtest %}
