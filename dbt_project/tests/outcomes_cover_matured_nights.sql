-- Each customer who had a score in a matured night has one outcome beside that score.
with

bases as (

    select base_run_number as scored_run_key
    from {{ ref('int_run_bases_numbered') }}
    where
        run_id = {{ run_id() }}
        and base_role = 'matured'

),

scores as (

    select
        scoring_run_key as scored_run_key,
        customer_key,
        churn_probability,
        expected_revenue_loss_amount
    from {{ ref('fct_churn_score') }}
    where
        scoring_run_key in (select bases.scored_run_key from bases)
        and churn_probability is not null

),

outcomes as (

    select
        scored_run_key,
        customer_key,
        churn_probability,
        expected_revenue_loss_amount
    from {{ ref('fct_score_outcome') }}
    where run_id = {{ run_id() }}

),

final as (

    select
        scored_run_key,
        customer_key
    from (
        select * from scores
        except
        select * from outcomes
    ) as without_outcome
    union all
    select
        scored_run_key,
        customer_key
    from (
        select * from outcomes
        except
        select * from scores
    ) as without_score

)

select * from final
