{{
    config(
        materialized='incremental',
        incremental_strategy='replace_rows',
        replaces='night',
        may_become_empty=true,
        on_schema_change='append_new_columns',
        indexes=[{'columns': ['as_of_date', 'known_as_of']}],
    )
}}

{{ snapshot_rejects('bank', ref('stg_bank__customers')) }}
