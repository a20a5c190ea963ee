-- The bridge of a run: customer by customer and in its row, opening plus movements is
-- closing to the cent, and the opening is what the previous night's row says.
with

kpis as (

    select *
    from {{ ref('churn_kpis_daily') }}
    where run_id = {{ run_id() }}

),

previous as (

    select
        former.customer_closing_count,
        former.mrr_closing_amount,
        former.currency
    from {{ ref('int_run_bases_comparable') }} as bases
    inner join {{ ref('churn_kpis_daily') }} as former
        on bases.base_run_number = former.scoring_run_key
    where bases.base_role = 'previous'

),

movements as (

    select count(*) as contradictory_count
    from {{ ref('int_mrr_movements') }}
    where
        is_new::integer + is_reactivated::integer + is_lost::integer > 1
        or mrr_expansion_amount < 0
        or mrr_contraction_amount > 0
        or mrr_churn_amount > 0

),

final as (

    select kpis.*
    from kpis
    cross join movements
    left join previous
        on true
    where
        movements.contradictory_count > 0
        or kpis.mrr_opening_amount
        + kpis.mrr_restatement_amount
        + kpis.mrr_currency_amount
        + kpis.mrr_new_amount
        + kpis.mrr_reactivation_amount
        + kpis.mrr_expansion_amount
        + kpis.mrr_contraction_amount
        + kpis.mrr_churn_amount
        <> kpis.mrr_closing_amount
        or kpis.customer_opening_count
        + kpis.customer_restatement_count
        + kpis.customer_new_count
        + kpis.customer_reactivated_count
        - kpis.customer_lost_count
        <> kpis.customer_closing_count
        or kpis.customer_opening_count <> previous.customer_closing_count
        or kpis.mrr_opening_amount <> coalesce(previous.mrr_closing_amount, 0)
        or (previous.currency = kpis.currency) and kpis.customer_opening_count is null

)

select as_of_date from final
