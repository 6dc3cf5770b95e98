"""MLflow, which shows what the pipeline made. No other package imports mlflow, and this one only inside functions."""
