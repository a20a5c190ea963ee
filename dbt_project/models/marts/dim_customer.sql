{{
    config(
        incremental_strategy='append',
        indexes=[{'columns': ['customer_id'], 'unique': true}],
    )
}}

with

population as (

    select customer_id
    from {{ dataset_ref('customer_population') }}
    where {{ is_this_night() }}

),

known as (

    {% if is_incremental() %}
        select
            customer_key,
            customer_id
        from {{ this }}
    {% else %}
        select
            null::integer as customer_key,
            null::text as customer_id
        where false
    {% endif %}

),

highest as (

    select coalesce(max(customer_key), 0) as customer_key
    from known

),

added as (

    select population.customer_id
    from population
    left join known
        on population.customer_id = known.customer_id
    where known.customer_id is null

),

final as (

    select
        (
            highest.customer_key + row_number() over (order by added.customer_id)
        )::integer as customer_key,
        added.customer_id,
        '{{ var('dataset') }}'::text as dataset
    from added
    cross join highest

)

select * from final
