"""MLflow: a view on what the pipeline made. The only package that imports mlflow, and always inside functions."""
