-- depends_on: {{ dataset_ref('customer_features') }}
with

features as (

    {{ feature_contract_rows() }}

)

select * from features
