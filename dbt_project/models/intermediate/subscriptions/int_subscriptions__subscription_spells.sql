{{ config(materialized='ephemeral') }}

with

spells as (

    {{ subscription_spells(is_visible_version()) | indent(4) }}

)

select * from spells
