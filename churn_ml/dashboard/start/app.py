"""The dashboard: ``streamlit run churn_ml/dashboard/start/app.py``; ``churn-ml dashboard`` starts it.

It stands apart since Streamlit takes a folder ``pages`` beside its script for an app of its older kind.
"""

from churn_ml.dashboard.shell import show_dashboard

show_dashboard()
