{#
    Incremental strategy `replace_rows`: delete the rows that the model's `replaces`
    condition names, then insert what the model gives. Unlike delete+insert it also
    removes a night's rows when the rebuilt night has none.
#}
{% macro get_incremental_replace_rows_sql(arg_dict) %}
    {%- set columns = get_quoted_csv(arg_dict['dest_columns'] | map(attribute='name')) -%}
    delete from {{ arg_dict['target_relation'] }}
    where {{ rows_of_this_run(config.require('replaces')) }};
    insert into {{ arg_dict['target_relation'] }} ({{ columns }})
    select {{ columns }}
    from {{ arg_dict['temp_relation'] }}
{% endmacro %}

{% macro rows_of_this_run(replaces) -%}
    {%- if replaces == 'night' -%}
        {{ is_this_night() }}
    {%- elif replaces == 'run' -%}
        run_id = {{ run_id() }}
    {%- else -%}
        {{ exceptions.raise_compiler_error(
            "Expected replaces to be 'night' or 'run', found " ~ replaces ~ "."
        ) }}
    {%- endif -%}
{%- endmacro %}
