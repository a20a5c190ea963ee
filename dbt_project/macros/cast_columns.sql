{#
    Declared casts. A cast is a mapping with
      source   the raw text column
      column   the typed column (default: the source's name)
      type     integer | numeric | flag | category
      accepts  for flag and category: delivered text -> value
      blank_where  condition under which a blank is a null and no reject
    The raw text is read from `delivered_<source>`. A value that does not cast is null in its
    column and listed by `rejects`; a blank is a reject unless `blank_where` holds. Regular
    expressions stand in for pg_input_is_valid, which Postgres 15 lacks.
#}

{% macro cast_value(cast) -%}
    {%- set text = 'btrim(delivered_' ~ cast.source ~ ')' -%}
    {%- if cast.type == 'integer' -%}
        case when {{ text }} ~ '^[+-]?[0-9]{1,9}$' then {{ text }}::integer end
    {%- elif cast.type == 'numeric' -%}
        case
            when {{ text }} ~ '^[+-]?([0-9]{1,12}([.][0-9]{0,9})?|[.][0-9]{1,9})$'
                then {{ text }}::numeric
        end
    {%- else -%}
        case {{ text }}
            {%- for delivered, value in cast.accepts.items() %}
            when '{{ delivered }}' then {{ "'" ~ value ~ "'" if value is string else value }}
            {%- endfor %}
        end
    {%- endif -%}
{%- endmacro %}

{% macro cast_columns(casts) -%}
    {%- for cast in casts %}
    {{ cast_value(cast) }} as {{ cast.column | default(cast.source) }}
    {{- "," if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{# The raw text of every cast, under the name the casts read it by. #}
{% macro delivered_columns(casts) -%}
    {%- for cast in casts %}
    {{ cast.source }} as delivered_{{ cast.source }}
    {{- "," if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{# The names of the typed columns. #}
{% macro typed_columns(casts) -%}
    {%- for cast in casts %}
    {{ cast.column | default(cast.source) }}
    {{- "," if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{# True where the cast of one column was refused; the column's typed value is at hand. #}
{% macro is_rejected(cast) -%}
    {{ cast.column | default(cast.source) }} is null
    {%- if cast.blank_where %}
        and not (
            coalesce(btrim(delivered_{{ cast.source }}), '') = ''
            and coalesce({{ cast.blank_where }}, false)
        )
    {%- endif %}
{%- endmacro %}

{# What a cast expects, in words for the supplier of the data. #}
{% macro expected_value(cast) -%}
    {%- if cast.accepts -%}
        one of {{ cast.accepts.keys() | join(', ') }}
    {%- else -%}
        {{ cast.type }}
    {%- endif -%}
    {{- ' or, where ' ~ cast.blank_where ~ ', blank' if cast.blank_where }}
{%- endmacro %}

{# The refused casts of a row as a JSON array, null where there is none. #}
{% macro rejects(casts) -%}
    case
        when
            {%- for cast in casts %}
            {{ "or " if not loop.first }}({{ is_rejected(cast) }})
            {%- endfor %}
            then to_jsonb(array_remove(array[
                {%- for cast in casts %}
                case
                    when {{ is_rejected(cast) }}
                        then jsonb_build_object(
                            'column_name', '{{ cast.source }}',
                            'rejected_value', delivered_{{ cast.source }},
                            'expected_value', '{{ expected_value(cast) }}'
                        )
                end
                {{- "," if not loop.last }}
                {%- endfor %}
            ], null))
    end
{%- endmacro %}
