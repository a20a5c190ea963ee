{#
    Declared casts. A cast is a mapping with
      source   the raw text column
      column   the typed column (default: the source's name)
      type     integer | numeric | flag | category | text | date | timestamp (UTC, ISO 8601)
      accepts  for flag and category: delivered text -> value, or the list of texts kept as they are
      least, most  for integer and numeric: bounds, both included
      blank_where  condition under which a blank is a null and no reject
    The raw text is read from `delivered_<source>`. A value that does not cast is null in its
    column and listed by `rejects`; a blank is a reject unless `blank_where` holds. Regular
    expressions stand in for pg_input_is_valid, which Postgres 15 lacks.
#}

{% macro cast_value(cast) -%}
    {%- set text = 'btrim(delivered_' ~ cast.source ~ ')' -%}
    {%- if cast.type == 'integer' -%}
        case
            when {{ text }} ~ '^[+-]?[0-9]{1,9}$'
                then {{ within_bounds(cast, text ~ '::integer') }}
        end
    {%- elif cast.type == 'numeric' -%}
        case
            when {{ text }} ~ '^[+-]?([0-9]{1,12}([.][0-9]{0,9})?|[.][0-9]{1,9})$'
                then {{ within_bounds(cast, text ~ '::numeric') }}
        end
    {%- elif cast.type == 'text' -%}
        nullif({{ text }}, '')
    {%- elif cast.type == 'date' -%}
        case
            when {{ text }} ~ '^{{ day_pattern() }}$'
                then case when {{ is_calendar_day(text) }} then {{ text }}::date end
        end
    {%- elif cast.type == 'timestamp' -%}
        case
            when {{ text }} ~ '^{{ day_pattern() }}T{{ time_pattern() }}(Z|[+]00:00)$'
                then case when {{ is_calendar_day(text) }} then {{ text }}::timestamptz end
        end
    {%- else -%}
        case {{ text }}
            {%- for delivered in cast.accepts %}
            {%- set value = cast.accepts[delivered] if cast.accepts is mapping else delivered %}
            when '{{ delivered }}' then {{ "'" ~ value ~ "'" if value is string else value }}
            {%- endfor %}
        end
    {%- endif -%}
{%- endmacro %}

{% macro within_bounds(cast, value) -%}
    {%- if 'least' in cast or 'most' in cast -%}
        case
            when
                {{ value ~ ' >= ' ~ cast.least if 'least' in cast }}
                {{- ' and ' if 'least' in cast and 'most' in cast }}
                {{- value ~ ' <= ' ~ cast.most if 'most' in cast }}
                then {{ value }}
        end
    {%- else -%}
        {{ value }}
    {%- endif -%}
{%- endmacro %}

{% macro day_pattern() -%}
    [12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])
{%- endmacro %}

{% macro time_pattern() -%}
    ([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,6})?
{%- endmacro %}

{# A text that begins like a day is one: days 29 to 31 are looked up in their month. #}
{% macro is_calendar_day(text) -%}
    substr({{ text }}, 9, 2) < '29'
    or substr({{ text }}, 9, 2)::integer <= extract(
        day from (substr({{ text }}, 1, 7) || '-01')::date + interval '1 month - 1 day'
    )
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
        one of {{ cast.accepts | join(', ') }}
    {%- else -%}
        {{ cast.type }}
        {{- ' from ' ~ cast.least if 'least' in cast }}
        {{- ' to ' ~ cast.most if 'most' in cast }}
    {%- endif -%}
    {{- ' or, where ' ~ cast.blank_where ~ ', blank' if cast.blank_where }}
{%- endmacro %}

{# What was refused and what is expected, as one line; null where every value cast. #}
{% macro rejected_columns(casts) -%}
    case
        when num_nulls({{ typed_columns(casts) | trim }}) > 0
            then nullif(concat_ws(
                '; '
                {%- for cast in casts %},
                case
                    when {{ is_rejected(cast) }}
                        then '{{ cast.source }}: expected '
                            || '{{ expected_value(cast) | replace("'", "''") }}'
                end
                {%- endfor %}
            ), '')
    end
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
                            'expected_value', '{{ expected_value(cast) | replace("'", "''") }}'
                        )
                end
                {{- "," if not loop.last }}
                {%- endfor %}
            ], null))
    end
{%- endmacro %}
