{{ config(replaces='everything') }}

with

metrics as (

    select
        metric,
        title,
        mart,
        column_name,
        aggregation,
        divisor_column,
        weight_column,
        filter_column,
        filter_value,
        over_dates,
        low_column,
        high_column,
        formula,
        unit,
        format,
        better_is,
        sort_order,
        owner,
        case
            when filter_column is null then column_name
            else
                'case when ' || filter_column || ' = ''' || filter_value
                || ''' then ' || column_name
                || case when column_name like '%\_count' then ' else 0' else '' end
                || ' end'
        end as operand
    from {{ ref('metrics') }}

),

final as (

    select
        metric,
        title,
        mart,
        column_name,
        aggregation,
        divisor_column,
        weight_column,
        filter_column,
        filter_value,
        case aggregation
            when 'sum' then 'sum(' || operand || ')'
            when 'mean' then 'avg(' || operand || ')'
            when 'count' then 'count(' || operand || ')'
            when 'least' then 'min(' || operand || ')'
            when 'greatest' then 'max(' || operand || ')'
            when 'ratio'
                then
                    'cast(sum(' || operand || ') as numeric)'
                    || ' / nullif(sum(' || divisor_column || '), 0)'
            when 'weighted_mean'
                then
                    'sum(' || operand || ' * ' || weight_column || ')'
                    || ' / nullif(sum(case when ' || operand || ' is not null then '
                    || weight_column || ' end), 0)'
        end as sql_expression,
        over_dates,
        low_column,
        high_column,
        formula,
        unit,
        format,
        better_is,
        sort_order,
        owner
    from metrics

)

select * from final
