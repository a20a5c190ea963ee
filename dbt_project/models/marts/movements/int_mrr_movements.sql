{{ config(materialized='ephemeral', contract={'enforced': false}) }}

with

previous as (

    select
        base_run_number,
        base_as_of_date
    from {{ ref('int_run_bases_comparable') }}
    where base_role = 'previous'

),

published as (

    select
        scores.customer_id,
        scores.is_active,
        scores.monthly_value_amount,
        scores.source_monthly_value_amount,
        scores.source_currency,
        scores.exchange_rate
    from {{ ref('fct_churn_score') }} as scores
    where
        scores.scoring_run_key = (select previous.base_run_number from previous)

),

restated as (

    select
        customer_id,
        is_active,
        monthly_value_amount,
        currency
    from {{ ref('int_' ~ var('dataset') ~ '__values_restated') }}
    where exists (select from previous)

),

tonight as (

    select
        customer_id,
        is_active,
        monthly_value_amount,
        source_monthly_value_amount,
        source_currency,
        exchange_rate
    from {{ ref('fct_churn_score') }}
    where
        run_id = {{ run_id() }}
        and exists (select from previous)

),

attributes as (

    select
        customer_id,
        first_active_date
    from {{ dataset_ref('customer_attributes') }}
    where {{ is_this_night() }}

),

parameters as (

    select currency
    from {{ ref('dated_decision_parameters') }}
    where {{ is_valid_parameter() }}

),

{# What the previous night was told in, then what the seed holds for its day. #}
rates_then as (

    select distinct on (currency)
        currency,
        rate
    from (
        select
            source_currency as currency,
            exchange_rate as rate,
            1 as place
        from published
        union all
        select
            currency,
            1 as rate,
            2 as place
        from parameters
        union all
        select
            rates.currency,
            rates.rate,
            3 as place
        from {{ ref('dated_exchange_rates') }} as rates
        inner join parameters
            on rates.reporting_currency = parameters.currency
        cross join previous
        where {{ is_valid_rate('previous.base_as_of_date') }}
    ) as listed
    order by currency asc, place asc

),

known_then as (

    select
        coalesce(published.customer_id, restated.customer_id) as customer_id,
        coalesce(published.is_active, false) as was_published_active,
        published.customer_id is not null as was_published,
        case when published.is_active then published.monthly_value_amount end
            as published_amount,
        case
            when restated.customer_id is null then coalesce(published.is_active, false)
            else restated.is_active
        end as was_active,
        case
            when restated.customer_id is null then published.source_monthly_value_amount
            else restated.monthly_value_amount
        end as source_amount,
        case
            when restated.customer_id is null then published.source_currency
            else restated.currency
        end as source_currency,
        case
            when restated.customer_id is null then published.monthly_value_amount
            else round(restated.monthly_value_amount * rates_then.rate, 2)
        end as amount
    from published
    full join restated
        on published.customer_id = restated.customer_id
    left join rates_then
        on restated.currency = rates_then.currency

),

states as (

    select
        coalesce(tonight.customer_id, known_then.customer_id) as customer_id,
        coalesce(known_then.was_published_active, false) as was_published_active,
        coalesce(known_then.was_active, false) as was_active,
        coalesce(tonight.is_active, false) as is_active,
        coalesce(known_then.was_published, false)
        or coalesce(attributes.first_active_date <= previous.base_as_of_date, false)
            as was_customer,
        known_then.published_amount,
        case when known_then.was_active then known_then.amount end as amount_then,
        case when tonight.is_active then tonight.monthly_value_amount end as amount_now,
        case
            when known_then.was_active and tonight.is_active
                then case
                    when known_then.source_currency = tonight.source_currency
                        then round(
                            known_then.source_amount * tonight.exchange_rate, 2
                        )
                    else known_then.amount
                end
        end as amount_at_rates_now
    from tonight
    full join known_then
        on tonight.customer_id = known_then.customer_id
    left join attributes
        on tonight.customer_id = attributes.customer_id
    cross join previous

),

moved as (

    select
        customer_id,
        was_published_active,
        was_active,
        is_active,
        is_active and not was_active and not was_customer as is_new,
        is_active and not was_active and was_customer as is_reactivated,
        was_active and not is_active as is_lost,
        coalesce(amount_then, 0) - coalesce(published_amount, 0)
        + case
            when
                was_active and is_active
                and (amount_then is null or amount_now is null)
                then coalesce(amount_now, 0) - coalesce(amount_then, 0)
            else 0
        end as restatement,
        case
            when amount_then is not null and amount_now is not null
                then amount_at_rates_now - amount_then
            else 0
        end as currency_change,
        case
            when amount_then is not null and amount_now is not null
                then amount_now - amount_at_rates_now
            else 0
        end as price_change,
        case when is_active and not was_active then coalesce(amount_now, 0) else 0 end
            as gained,
        case when was_active and not is_active then coalesce(amount_then, 0) else 0 end
            as lost
    from states

),

final as (

    select
        customer_id,
        is_new,
        is_reactivated,
        is_lost,
        was_active::integer - was_published_active::integer
            as customer_restatement_count,
        restatement::numeric(18, 2) as mrr_restatement_amount,
        currency_change::numeric(18, 2) as mrr_currency_amount,
        case when is_new then gained else 0 end::numeric(18, 2) as mrr_new_amount,
        case when is_reactivated then gained else 0 end::numeric(18, 2)
            as mrr_reactivation_amount,
        greatest(price_change, 0)::numeric(18, 2) as mrr_expansion_amount,
        least(price_change, 0)::numeric(18, 2) as mrr_contraction_amount,
        (-lost)::numeric(18, 2) as mrr_churn_amount
    from moved
    where
        is_new
        or is_reactivated
        or is_lost
        or was_active <> was_published_active
        or restatement <> 0
        or currency_change <> 0
        or price_change <> 0

)

select * from final
