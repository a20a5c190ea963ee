{{ config(materialized='ephemeral') }}

{{ subscription_spells(is_visible_version()) }}
