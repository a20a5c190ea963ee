{{ config(incremental_strategy='append') }}

with

calendar as (

    select series.calendar_day::date as date_day
    from generate_series(
        least(date '2010-01-01', date_trunc('year', {{ as_of_date() }})),
        date_trunc('year', {{ as_of_date() }}) + interval '3 years' - interval '1 day',
        interval '1 day'
    ) as series (calendar_day)

),

final as (

    select
        to_char(date_day, 'YYYYMMDD')::integer as date_key,
        date_day,
        extract(year from date_day)::integer as year_number,
        extract(quarter from date_day)::integer as quarter_number,
        to_char(date_day, 'YYYY "Q"Q') as quarter_label,
        to_char(date_day, 'YYYYQ')::integer as quarter_sort,
        extract(month from date_day)::integer as month_number,
        to_char(date_day, 'Mon') as month_label,
        date_trunc('month', date_day)::date as month_start_date,
        to_char(date_day, 'YYYY-MM') as calendar_month,
        to_char(date_day, 'YYYYMM')::integer as calendar_month_sort,
        to_char(date_day, 'IYYY-"W"IW') as iso_week,
        date_trunc('week', date_day)::date as week_start_date,
        to_char(date_day, 'Dy') as weekday_label,
        extract(isodow from date_day)::integer as day_of_week,
        extract(isodow from date_day) >= 6 as is_weekend,
        date_day = (date_trunc('month', date_day) + interval '1 month - 1 day')::date
            as is_month_end
    from calendar
    {% if is_incremental() %}
        where date_day not in (select known.date_day from {{ this }} as known)
    {% endif %}

)

select * from final
