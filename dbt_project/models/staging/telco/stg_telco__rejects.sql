{{
    config(
        materialized='incremental',
        incremental_strategy='replace_rows',
        replaces='night',
        may_become_empty=true,
        on_schema_change='append_new_columns',
        indexes=[{'columns': ['as_of_date', 'known_as_of']}],
    )
}}

with

customers as (

    select
        batch_id,
        row_number,
        customer_id,
        rejects
    from {{ ref('stg_telco__customers') }}
    where
        rejects is not null
        and {{ is_this_night() }}

),

batches as (

    select batch_id
    from {{ source('ops', 'landing_batches') }}
    where
        entity = 'customers'
        and as_of_date = {{ as_of_date() }}

),

blank_keys as (

    select
        _batch_id as batch_id,
        _row_number as row_number,
        customer_id
    from {{ source('telco', 'customers') }}
    where
        _batch_id = any(array(select batches.batch_id from batches))
        and _as_of_date = {{ as_of_date() }}
        and {{ is_visible('_as_of_date') }}
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
