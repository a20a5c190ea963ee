{{ config(alias='tolerances') }}

with

tolerances as (

    select
        dataset,
        valid_from,
        valid_to,
        mrr_invoice_tolerance_share::numeric(6, 4) as mrr_invoice_tolerance_share
    from {{ ref('tolerances') }}
    where dataset = '{{ var('dataset') }}'

)

select * from tolerances
