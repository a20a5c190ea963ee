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

{%- set yes_no = {'Yes': true, 'No': false} -%}
{%- set phone_service = {
    'Yes': 'yes', 'No': 'no', 'No phone service': 'no_phone_service'
} -%}
{%- set internet_service = {
    'Yes': 'yes', 'No': 'no', 'No internet service': 'no_internet_service'
} -%}
{%- set casts = [
    {'source': 'gender', 'type': 'category',
     'accepts': {'Female': 'female', 'Male': 'male'}},
    {'source': 'senior_citizen', 'column': 'is_senior', 'type': 'flag',
     'accepts': {'1': true, '0': false}},
    {'source': 'partner', 'column': 'has_partner', 'type': 'flag', 'accepts': yes_no},
    {'source': 'dependents', 'column': 'has_dependents', 'type': 'flag',
     'accepts': yes_no},
    {'source': 'tenure', 'column': 'tenure_months', 'type': 'integer'},
    {'source': 'phone_service', 'column': 'has_phone_service', 'type': 'flag',
     'accepts': yes_no},
    {'source': 'multiple_lines', 'type': 'category', 'accepts': phone_service},
    {'source': 'internet_service', 'type': 'category',
     'accepts': {'DSL': 'dsl', 'Fiber optic': 'fiber_optic',
                'No': 'no_internet_service'}},
    {'source': 'online_security', 'type': 'category', 'accepts': internet_service},
    {'source': 'online_backup', 'type': 'category', 'accepts': internet_service},
    {'source': 'device_protection', 'type': 'category', 'accepts': internet_service},
    {'source': 'tech_support', 'type': 'category', 'accepts': internet_service},
    {'source': 'streaming_tv', 'type': 'category', 'accepts': internet_service},
    {'source': 'streaming_movies', 'type': 'category', 'accepts': internet_service},
    {'source': 'contract', 'type': 'category',
     'accepts': {'Month-to-month': 'month_to_month', 'One year': 'one_year',
                'Two year': 'two_year'}},
    {'source': 'paperless_billing', 'column': 'is_paperless_billing', 'type': 'flag',
     'accepts': yes_no},
    {'source': 'payment_method', 'type': 'category',
     'accepts': {'Electronic check': 'electronic_check',
                'Mailed check': 'mailed_check',
                'Bank transfer (automatic)': 'bank_transfer_automatic',
                'Credit card (automatic)': 'credit_card_automatic'}},
    {'source': 'monthly_charges', 'column': 'monthly_charges_amount',
     'type': 'numeric'},
    {'source': 'total_charges', 'column': 'total_charges_amount', 'type': 'numeric',
     'blank_where': 'tenure_months = 0'},
    {'source': 'churn', 'column': 'has_churned', 'type': 'flag', 'accepts': yes_no},
] -%}

{{ snapshot_customers('telco', casts) }}
