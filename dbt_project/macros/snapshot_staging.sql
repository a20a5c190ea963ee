{#
    Staging of a snapshot dataset, written once: typed rows of the run's snapshot, and what was
    refused of it. source_name names the declared source with the table `customers`.
#}

{# The run's batches, and their rows that were known at its cut-off. #}
{% macro snapshot_batches() -%}
    select batch_id
    from {{ source('ops', 'landing_batches') }}
    where
        entity = 'customers'
        and as_of_date = {{ as_of_date() }}
{%- endmacro %}

{% macro is_of_snapshot() -%}
    _batch_id = any(array(select batches.batch_id from batches))
        and _as_of_date = {{ as_of_date() }}
        and {{ is_visible('_as_of_date') }}
{%- endmacro %}

{#
    One row per customer: the newest delivery of each key, by known time, then batch, then
    place in the file; the casts (see `cast_value`) with what they refused in `rejects`.
#}
{% macro snapshot_customers(source_name, casts) -%}
    with

    batches as (

        {{ snapshot_batches() | indent(4) }}

    ),

    delivered as (

        select
            customer_id,
            _batch_id,
            _row_number,
            _known_at,
            {{- delivered_columns(casts) | indent(8) }}
        from {{ source(source_name, 'customers') }}
        where
            {{ is_of_snapshot() | indent(4) }}
            and btrim(customer_id) <> ''

    ),

    newest as (

        select distinct on (customer_id)
            *,
            {{- cast_columns(casts) | indent(8) }}
        from delivered
        order by customer_id asc, _known_at desc, _batch_id desc, _row_number desc

    ),

    final as (

        select
            customer_id,
            {{ as_of_date() }} as as_of_date,
            {{ known_as_of() }} as known_as_of,
            {{- typed_columns(casts) | indent(8) }},
            {{ rejects(casts) | indent(12) }} as rejects,
            _batch_id as batch_id,
            _row_number as row_number,
            _known_at as known_at
        from newest

    )

    select * from final
{%- endmacro %}

{# One row per value that `customers` refused, and one per row without a customer key. #}
{% macro snapshot_rejects(source_name, customers) -%}
    with

    customers as (

        select
            batch_id,
            row_number,
            customer_id,
            rejects
        from {{ customers }}
        where
            rejects is not null
            and {{ is_this_night() }}

    ),

    batches as (

        {{ snapshot_batches() | indent(4) }}

    ),

    blank_keys as (

        select
            _batch_id as batch_id,
            _row_number as row_number,
            customer_id
        from {{ source(source_name, 'customers') }}
        where
            {{ is_of_snapshot() | indent(4) }}
            and coalesce(btrim(customer_id), '') = ''

    ),

    refused as (

        select
            customers.batch_id,
            customers.row_number,
            customers.customer_id,
            reject.column_name,
            reject.rejected_value,
            reject.expected_value
        from customers
        cross join
            lateral jsonb_to_recordset(customers.rejects) as reject (
                column_name text, rejected_value text, expected_value text
            )
        union all
        select
            batch_id,
            row_number,
            customer_id,
            'customer_id' as column_name,
            customer_id as rejected_value,
            'a customer key that is not blank' as expected_value
        from blank_keys

    ),

    final as (

        select
            batch_id,
            row_number,
            customer_id,
            column_name,
            rejected_value,
            expected_value,
            {{ as_of_date() }} as as_of_date,
            {{ known_as_of() }} as known_as_of
        from refused

    )

    select * from final
{%- endmacro %}
