{{
    config(
        materialized='incremental',
        incremental_strategy='replace_rows',
        replaces='night',
        on_schema_change='append_new_columns',
        pre_hook=["{{ drop_finished_nights() }}"],
        post_hook=["analyze {{ this }}"],
    )
}}

{%- set one_zero = {'1': true, '0': false} -%}
{%- set casts = [
    {'source': 'credit_score', 'type': 'integer', 'least': 0},
    {'source': 'geography', 'column': 'region', 'type': 'category',
     'accepts': {'France': 'france', 'Germany': 'germany', 'Spain': 'spain'}},
    {'source': 'gender', 'type': 'category',
     'accepts': {'Female': 'female', 'Male': 'male'}},
    {'source': 'age', 'column': 'age_years', 'type': 'integer', 'least': 0,
     'most': 150},
    {'source': 'tenure', 'column': 'tenure_years', 'type': 'integer', 'least': 0},
    {'source': 'balance', 'column': 'balance_amount', 'type': 'numeric'},
    {'source': 'num_of_products', 'column': 'product_count', 'type': 'integer',
     'least': 0},
    {'source': 'has_cr_card', 'column': 'has_credit_card', 'type': 'flag',
     'accepts': one_zero},
    {'source': 'is_active_member', 'type': 'flag', 'accepts': one_zero},
    {'source': 'estimated_salary', 'column': 'estimated_salary_amount',
     'type': 'numeric', 'least': 0},
    {'source': 'exited', 'column': 'has_exited', 'type': 'flag', 'accepts': one_zero},
] -%}

{{ snapshot_customers('bank', casts) }}
