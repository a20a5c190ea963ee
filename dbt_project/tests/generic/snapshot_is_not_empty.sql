{# The night has customers: without any, nothing was landed or staged for it. #}
{% test snapshot_is_not_empty(model) %}
    select 1 as fault
    where not exists (select from {{ model }} where {{ is_this_night() }})
{% endtest %}
