{{
    config(
        meta={'visible_runs': 'current'},
        post_hook=["{{ drop_old_runs() }}"],
        indexes=[{'columns': ['run_id', 'expected_revenue_loss_amount']}],
    )
}}

with

scores as (

    select *
    from {{ ref('fct_churn_score') }}
    where
        run_id = {{ run_id() }}
        and is_active

)

select * from scores
