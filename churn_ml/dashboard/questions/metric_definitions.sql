-- What each number means.
select
    metric,
    title,
    mart,
    column_name,
    formula,
    unit,
    format,
    better_is,
    owner
from marts.metric_definitions
order by sort_order
